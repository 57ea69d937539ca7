"""Rows of a split to ids: all of them, in order, with their types, whatever holds them."""

import datasets
import polars as pl
import pytest
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console
from qwenkit.errors import DataError
from qwenkit.tokens import encoding
from qwenkit.tokens.batches import ROWS_PER_BATCH
from qwenkit.tokens.encoding import encode_dataset, encode_texts
from tests.tokens.conftest import TRAIN_TEXTS
from tests.tokens.encoded import encode_one, encode_rows, make_rows


def test_empty_text_in_a_split_is_refused_by_its_row_id(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = ["the river"] * (ROWS_PER_BATCH + 3)
    texts[-1] = ""
    with pytest.raises(DataError, match=rf"row {10 * (ROWS_PER_BATCH + 2)} has no text"):
        encode_rows(make_rows(texts), tokenizer)


def test_missing_column_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="lack row_id; they have domain, text, label_id"):
        encode_rows(make_rows(["a"]).drop("row_id"), tokenizer)


def test_split_has_the_ids_of_encode_texts_in_the_order_given(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [f"{text} {index}" for index in range(300) for text in ("the river", "a", "старый город")]
    rows = make_rows(texts)
    encoded = encode_rows(rows, tokenizer, num_workers=3)
    assert encoded["input_ids"][:] == encode_texts(texts, tokenizer=tokenizer, max_length=16)
    assert encoded["row_id"][:] == rows["row_id"].to_list()
    assert encoded["labels"][:] == rows["label_id"].to_list()
    assert encoded["length"][:] == [len(ids) for ids in encoded["input_ids"][:]]


def test_columns_have_their_types(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode_rows(make_rows(["the river", "a"]), tokenizer)
    assert {name: str(feature) for name, feature in encoded.features.items()} == {
        "row_id": "Value('int64')",
        "input_ids": "List(Value('int32'))",
        "length": "Value('int32')",
        "full_length": "Value('int32')",
        "labels": "Value('int64')",
    }


def test_length_before_the_cut_is_kept(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "the river ran through the old town, and the people there were proud of it"
    whole = len(encode_one(text, tokenizer))
    assert whole > 16
    encoded = encode_rows(make_rows([text, "a"]), tokenizer, max_length=16)
    assert encoded["length"][:] == [16, 1]
    assert encoded["full_length"][:] == [whole, 1]
    uncut = encode_rows(make_rows([text, "a"]), tokenizer, max_length=16, truncation=False)
    assert uncut["length"][:] == [whole, 1]


def test_result_does_not_depend_on_workers_or_on_the_kind_of_rows(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = make_rows([f"{text} {index}" for index in range(30) for text in TRAIN_TEXTS])
    dataset = datasets.Dataset(rows.to_arrow())
    variants = [
        encode_rows(rows, tokenizer, num_workers=1),
        encode_rows(rows, tokenizer, num_workers=4),
        encode_rows(dataset, tokenizer),
        encode_rows(dataset.with_format("numpy"), tokenizer),
        encode_rows(dataset.select(range(len(rows))[::-1]).select(range(len(rows))[::-1]), tokenizer),
    ]
    assert len({variant._fingerprint for variant in variants}) == 1
    assert all(variant.to_dict() == variants[0].to_dict() for variant in variants)


def test_fingerprint_changes_with_ids_labels_and_order(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = make_rows(["the river", "a", "the town"])
    variants = [
        encode_rows(rows, tokenizer),
        encode_rows(rows.with_columns(label_id=1 - pl.col("label_id")), tokenizer),
        encode_rows(rows.reverse(), tokenizer),
        encode_rows(rows.with_columns(text=pl.lit("a")), tokenizer),
        encode_rows(rows, tokenizer, max_length=1),
    ]
    assert len({variant._fingerprint for variant in variants}) == len(variants)


def test_split_without_rows_is_encoded_to_none(tokenizer: PreTrainedTokenizerFast) -> None:
    encoded = encode_rows(make_rows(["a"]).head(0), tokenizer)
    assert len(encoded) == 0
    assert encoded.column_names == ["row_id", "input_ids", "length", "full_length", "labels"]


def test_progress_counts_all_rows_and_the_environment_is_as_before(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    class CountingConsole(Console):
        def progress(self, description, total, unit):  # type: ignore[no-untyped-def]
            assert (description, total, unit) == ("tokenizing", 1100, "rows")
            return _CountingBar(counted)

    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    rows = make_rows(["the river"] * 1100)
    encode_dataset(rows, tokenizer=tokenizer, max_length=16, console=CountingConsole())
    assert sum(counted) == 1100
    assert "TOKENIZERS_PARALLELISM" not in encoding.os.environ


class _CountingBar:
    def __init__(self, counted: list[int]) -> None:
        self.counted = counted

    def __enter__(self) -> "_CountingBar":
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close."""

    def advance(self, n: int = 1, **fields: object) -> None:
        self.counted.append(n)
