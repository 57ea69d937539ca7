"""Texts to predict in, predictions out: data files, a text a line, or stdin."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.cleaning import VISIBLE
from qwenkit.data.file_bytes import check_text_file, describe_bad_byte, refuse_wide_text
from qwenkit.data.file_kinds import ACCEPTED, CODECS, kind_of, open_content, suffixes_of
from qwenkit.data.labels import as_text, list_columns
from qwenkit.data.readers import read_file
from qwenkit.errors import BusyError, DataError

_TEXT_SUFFIXES = (".txt", *(f".txt{suffix}" for suffix in CODECS))
_SHOWN_ROWS = 5
_WRITERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
    ".parquet": pl.DataFrame.write_parquet,
}


def read_texts(path: str | Path, *, text_column: str) -> list[str]:
    """Read texts to predict: a data file's text column, or a .txt file or stdin ("-") with a text a line.

    Lines without a visible character are no texts.

    Raises:
        DataError: The file or the column is missing or broken, or a row of a data file has no text.
    """
    if str(path) == "-":
        return split_lines(sys.stdin.buffer.read(), "stdin")
    path = Path(path)
    shown = safe_text(str(path))
    if not path.is_file():
        raise DataError(f"{shown} does not exist, or is no file.")
    if suffixes_of(path) in _TEXT_SUFFIXES:
        check_text_file(path)
        with open_content(path) as file:
            return split_lines(file.read(), shown)
    if kind_of(path) is None:
        raise DataError(f"{shown} is no .txt, {ACCEPTED} file.")
    frame = read_file(path)
    if text_column not in frame.columns:
        raise DataError(
            f'text column "{safe_text(text_column)}" is not in {shown}; it has: '
            f"{list_columns(frame.columns)}. Set --text-column."
        )
    texts = as_text(frame[text_column], column=text_column, setting="--text-column")
    refuse_blank_texts(texts, shown)
    return texts.to_list()


def refuse_blank_texts(texts: pl.Series, shown: str) -> None:
    """Refuse rows without a text: left out they would shift every prediction behind them against its row."""
    rows = (~texts.str.contains(VISIBLE).fill_null(False)).arg_true().to_list()
    if rows:
        first = ", ".join(f"{row:,}" for row in rows[:_SHOWN_ROWS])
        more = f" and {len(rows) - _SHOWN_ROWS:,} more" if len(rows) > _SHOWN_ROWS else ""
        which = "row" if len(rows) == 1 else "rows"
        raise DataError(
            f"{shown} has rows without a text to label: {which} {first}{more} (from 0 on). Fill or "
            "remove them."
        )


def split_lines(content: bytes, shown: str) -> list[str]:
    """Take a text a line; lines may end in LF, CR LF or CR.

    Raises:
        DataError: It is not UTF-8, with the byte and the line.
    """
    refuse_wide_text(shown, content)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        message = describe_bad_byte(content[error.start], error.start, line, reason=error.reason)
        raise DataError(f"{shown} is not UTF-8: {message}") from error
    text = text.removeprefix("\ufeff")
    lines = text.split("\n" if "\n" in text else "\r")
    texts = pl.Series([line.removesuffix("\r") for line in lines], dtype=pl.String)
    return texts.filter(texts.str.contains(VISIBLE)).to_list()


def check_destination(path: Path, *, source: str | Path | None, force: bool) -> None:
    """Refuse before the texts are scored where write_records() could not write, and make the folder.

    Args:
        source: What the texts are read from; it is never overwritten.

    Raises:
        DataError: A suffix that says of no kind what it is.
        BusyError: Something lies there, and `force` is off or it is the source or a folder.
    """
    shown = safe_text(str(path))
    if path.suffix.lower() not in _WRITERS:
        raise DataError(f"{shown} must end in {', '.join(_WRITERS)}.")
    if path.is_dir():
        raise BusyError(f"{shown} is a folder, where a file is to be written: name another place.")
    if path.exists():
        if source is not None and Path(source).exists() and path.samefile(source):
            raise BusyError(f"{shown} is what the texts are read from: name another file.")
        if not force:
            raise BusyError(f"{shown} exists: name another file, or overwrite it with --force.")
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = _stage(path)
    staged.touch()
    staged.unlink()


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write records as .csv, .jsonl or .parquet, whichever the suffix of a checked destination says."""
    write = _WRITERS[path.suffix.lower()]
    staged = _stage(path)
    try:
        write(pl.DataFrame(records, infer_schema_length=None), staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _stage(path: Path) -> Path:
    """Name a place beside it, to be renamed in the end: half a file would look like all of it."""
    return path.with_name(f".{path.name}.{os.getpid()}")
