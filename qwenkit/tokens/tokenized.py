"""Tokenized splits on disk: an Arrow folder for each, read by memory mapping, their tokenizer beside them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import polars as pl
from transformers import PreTrainedTokenizerFast

from qwenkit.config.schema_model import Tokenization
from qwenkit.console import Console
from qwenkit.errors import ArtifactError
from qwenkit.tokens.encoding import encode_dataset
from qwenkit.tokens.lengths import show_lengths, summarize_lengths
from qwenkit.tokens.tokenizer import load_tokenizer

TOKENIZER_FOLDER = "tokenizer"
SPLIT_ORDER = ("train", "validation", "test")


def write_tokenized(
    folder: Path,
    splits: Mapping[str, "pl.DataFrame | datasets.Dataset"],
    *,
    tokenizer: PreTrainedTokenizerFast,
    settings: Tokenization,
    console: Console,
) -> dict[str, Any]:
    """Encode every split into a folder that is given, with the tokenizer beside them, and show the lengths.

    Equal rows and tokenizer give equal files.

    Args:
        splits: Columns row_id, text, label_id, and any others.

    Returns:
        The lengths of each split in numbers, for the manifest.

    Raises:
        DataError: A column is missing or a text is empty.
    """
    summaries = {}
    for name, rows in splits.items():
        encoded = encode_dataset(
            rows,
            tokenizer=tokenizer,
            max_length=settings.max_length,
            truncation=settings.truncation,
            num_workers=settings.num_workers,
            console=console,
            description=f"tokenizing {name}",
        )
        with _without_library_bars():
            encoded.save_to_disk(folder / name)
        summaries[name] = summarize_lengths(
            encoded.with_format("numpy")["full_length"][:],
            max_length=settings.max_length,
            truncation=settings.truncation,
        )
    tokenizer.save_pretrained(folder / TOKENIZER_FOLDER)
    show_lengths(console, summaries)
    return {name: summary.as_counts() for name, summary in summaries.items()}


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
    names.sort(key=lambda name: SPLIT_ORDER.index(name) if name in SPLIT_ORDER else len(SPLIT_ORDER))
    try:
        return {name: datasets.load_from_disk(folder / name) for name in names}
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ArtifactError(f"{folder} cannot be read ({reason}): run `qwenkit tokenize --force`.") from error


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
