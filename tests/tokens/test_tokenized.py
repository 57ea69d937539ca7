"""Tokenized splits on disk: equal input gives equal files, and they come back as they were."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import PreTrainedTokenizerFast

from qwenkit.config.schema_model import Tokenization
from qwenkit.console import Console
from qwenkit.data.parquet import write_parquet
from qwenkit.errors import ArtifactError
from qwenkit.tokens.batches import iterate_batches
from qwenkit.tokens.encoding import encode_dataset
from qwenkit.tokens.tokenized import read_tokenized, read_tokenizer, write_tokenized
from qwenkit.tokens.tokenizer import tokenizer_identity

SETTINGS = Tokenization(max_length=8)


def make_splits() -> dict[str, pl.DataFrame]:
    texts = {"test": ["a", "the town"], "train": ["the river ran through the old town", "b", "c"]}
    return {
        name: pl.DataFrame(
            {
                "row_id": range(len(values)),
                "text": values,
                "label_id": [index % 2 for index in range(len(values))],
            }
        )
        for name, values in {**texts, "validation": ["d"]}.items()
    }


def write(folder: Path, tokenizer: PreTrainedTokenizerFast, console: Console) -> dict[str, dict]:
    return write_tokenized(folder, make_splits(), tokenizer=tokenizer, settings=SETTINGS, console=console)


def hash_files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_splits_come_back_in_order_as_they_were_encoded(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    write(tmp_path, tokenizer, Console(quiet=True))
    read = read_tokenized(tmp_path)
    assert list(read) == ["train", "validation", "test"]
    for name, rows in make_splits().items():
        encoded = encode_dataset(rows, tokenizer=tokenizer, max_length=8, console=Console(quiet=True))
        assert read[name].to_dict() == encoded.to_dict()
        assert read[name].features == encoded.features
        assert read[name].cache_files, "not memory-mapped"
    assert tokenizer_identity(read_tokenizer(tmp_path)) == tokenizer_identity(tokenizer)


def test_equal_input_gives_equal_files(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write(tmp_path / "first", tokenizer, Console(quiet=True))
    write(tmp_path / "second", tokenizer, Console(quiet=True))
    assert hash_files(tmp_path / "first") == hash_files(tmp_path / "second")


def test_splits_in_parquet_files_are_encoded_as_those_in_memory(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    texts = [f"the river {number} ran" for number in range(22_000)]
    rows = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label_id": [0] * len(texts)})
    splits, files = {"train": rows}, {"train": tmp_path / "train.parquet"}
    write_parquet(files["train"], rows)
    options = {"tokenizer": tokenizer, "settings": SETTINGS, "console": Console(quiet=True)}
    counts = write_tokenized(tmp_path / "files", files, **options)  # type: ignore[arg-type]
    assert counts["train"] == write_tokenized(tmp_path / "frames", splits, **options)["train"]  # type: ignore[arg-type]
    read, expected = read_tokenized(tmp_path / "files"), read_tokenized(tmp_path / "frames")
    assert read["train"].to_dict() == expected["train"].to_dict()
    assert read["train"]._fingerprint == expected["train"]._fingerprint


def test_damaged_parquet_file_is_named_and_nothing_is_written_from_it(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    file = tmp_path / "train.parquet"
    texts = [f"the river {number} ran" for number in range(2_000)]
    write_parquet(file, pl.DataFrame({"row_id": range(2_000), "text": texts, "label_id": [0] * 2_000}))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"train\.parquet cannot be read.*qwenkit prepare --force"):
        write_tokenized(
            tmp_path / "out",
            {"train": file},
            tokenizer=tokenizer,
            settings=SETTINGS,
            console=Console(quiet=True),
        )


def test_counts_tell_the_truncated_rows_of_each_split(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    counts = write(tmp_path, tokenizer, Console(quiet=True))
    assert counts.pop("encoder")["name"] == "tokenizers"
    assert {name: split["rows"] for name, split in counts.items()} == {"train": 3, "validation": 1, "test": 2}
    assert {name: split["truncated"] for name, split in counts.items()} == {
        "train": 1,
        "validation": 0,
        "test": 0,
    }


def test_lengths_and_histogram_are_shown_and_no_bar_of_the_library(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, tokenizer, Console())
    out, err = capfd.readouterr()
    assert "Lengths in tokens" in out
    assert "over 8" in out
    assert err == ""


def test_folder_without_splits_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="qwenkit tokenize"):
        read_tokenized(tmp_path)


def test_split_with_a_damaged_file_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    write(tmp_path, tokenizer, Console(quiet=True))
    arrow = next((tmp_path / "train").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:40])
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_tokenized(tmp_path)


def test_batches_of_a_file_of_long_documents_have_few_rows(tmp_path: Path) -> None:
    texts = ["x" * 400_000, *["short"] * 600, *["y" * 300_000] * 9]
    rows = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label_id": [0] * len(texts)})
    write_parquet(tmp_path / "train.parquet", rows)
    batches = list(iterate_batches(tmp_path / "train.parquet"))
    assert pl.concat(map(pl.DataFrame, batches)).equals(rows)
    # A megabyte, and the row that crosses it.
    assert max(batch.nbytes for batch in batches) < 1_400_000
    assert max(batch.num_rows for batch in batches) > 300


def test_file_is_not_kept_in_memory_while_it_is_read(tmp_path: Path) -> None:
    text = np.random.default_rng(0).integers(97, 123, 40_000_000, dtype=np.uint8).tobytes().decode()
    texts = [text[start : start + 4_000] for start in range(0, len(text), 4_000)]
    rows = pl.DataFrame({"row_id": range(len(texts)), "text": texts, "label_id": [0] * len(texts)})
    pq.write_table(rows.to_arrow(), tmp_path / "train.parquet", row_group_size=500)
    pool, highest = pa.default_memory_pool(), 0
    before = pool.bytes_allocated()
    for _ in iterate_batches(tmp_path / "train.parquet"):
        highest = max(highest, pool.bytes_allocated() - before)
    assert highest < (tmp_path / "train.parquet").stat().st_size / 2
