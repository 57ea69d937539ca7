"""Tokenized splits on disk: an Arrow folder for each, read by memory mapping, their tokenizer beside them."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from qwenkit.config.schema_model import Tokenization
from qwenkit.console import Console
from qwenkit.errors import ArtifactError
from qwenkit.stages import SPLITS
from qwenkit.tokens.batches import ENCODED_SCHEMA
from qwenkit.tokens.encoding import Rows, RowsFingerprint, open_encoder
from qwenkit.tokens.lengths import show_lengths, summarize_lengths
from qwenkit.tokens.tokenizer import load_tokenizer

TOKENIZER_FOLDER = "tokenizer"


def write_tokenized(
    folder: Path,
    splits: Mapping[str, Rows],
    *,
    tokenizer: PreTrainedTokenizerFast,
    settings: Tokenization,
    console: Console,
) -> dict[str, Any]:
    """Encode every split into a folder that is given, with the tokenizer beside them, and show the lengths.

    Equal rows and tokenizer give equal files.

    Args:
        splits: Columns row_id, text, label_id, and any others; a Parquet file is never in memory as a whole.

    Returns:
        For the manifest: the lengths of each split in numbers, and under "encoder" what encoded, and why.

    Raises:
        DataError: A column is missing or a text is empty.
        ResourceError: A process was killed.
    """
    summaries = {}
    with open_encoder(
        list(splits.values()),
        tokenizer=tokenizer,
        limit=settings.max_length if settings.truncation else None,
        num_workers=settings.num_workers,
    ) as encoder:
        console.info(f"with {encoder.choice.name}: {encoder.choice.reason}")
        for name, rows in splits.items():
            batches = encoder.encode(rows, console=console, description=f"tokenizing {name}")
            full_lengths = _write_split(folder / name, batches)
            summaries[name] = summarize_lengths(
                full_lengths, max_length=settings.max_length, truncation=settings.truncation
            )
    tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
    show_lengths(console, summaries)
    lengths = {name: summary.as_counts() for name, summary in summaries.items()}
    return {**lengths, "encoder": {"name": encoder.choice.name, "reason": encoder.choice.reason}}


def _write_split(folder: Path, batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    """Write batches as they come into a folder that datasets reads.

    Returns:
        Tokens of every row before the cut, int32, shape (rows,).
    """
    fingerprint = RowsFingerprint()
    full_lengths = [np.empty(0, dtype=np.int32)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = folder.with_name(f"{folder.name}.arrow")
    with pa.OSFile(str(written), "wb") as file, pa.ipc.new_stream(file, ENCODED_SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)
            fingerprint.add(batch)
            # A view would keep the whole batch in memory.
            full_lengths.append(batch.column("full_length").to_numpy().copy())
    # datasets writes one row, and beside it what it wants to find there; then all rows take the place of one.
    all_rows = pa.ipc.open_stream(pa.memory_map(str(written)))
    first = pa.Table.from_batches(islice(all_rows, 1), ENCODED_SCHEMA).slice(0, 1)
    with _without_library_bars():
        datasets.Dataset(first, fingerprint=fingerprint.finish()).save_to_disk(folder)
    for data_file in folder.glob("*.arrow"):
        written.replace(data_file)
    written.unlink(missing_ok=True)
    return np.concatenate(full_lengths)


def read_tokenized(folder: Path) -> dict[str, datasets.Dataset]:
    """Open the encoded splits by name, without reading their rows.

    Returns:
        Columns row_id, input_ids, length, full_length, labels.

    Raises:
        ArtifactError: No split is there, or one cannot be read.
    """
    names = sorted(path.parent.name for path in folder.glob("*/dataset_info.json"))
    if not names:
        raise ArtifactError(f"{folder} holds no tokenized splits: run `qwenkit tokenize` first.")
    names.sort(key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))
    try:
        return {name: datasets.load_from_disk(folder / name) for name in names}
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ArtifactError(f"{folder} cannot be read ({reason}): run `qwenkit tokenize --force`.") from error


def read_numbers(dataset: datasets.Dataset, name: str) -> np.ndarray:
    """Read a column of numbers, shape (rows,), at once.

    numpy and sum() would take such a column row by row, which is 15 seconds for a million.
    """
    return np.asarray(dataset.with_format("numpy")[name][:])


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer that the splits in this folder were encoded with."""
    return load_tokenizer(folder / TOKENIZER_FOLDER)


@contextmanager
def _without_library_bars() -> Iterator[None]:
    """Silence the bars of datasets, which know nothing of --quiet and --json."""
    were_shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()
