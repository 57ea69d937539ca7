"""Files in, frames out: CSV, JSON lines and Parquet, with an error that says where a broken one breaks."""

import codecs
import csv
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.data.damage import explain_damage, first_character, refuse_bad_utf8, refuse_utf16
from qwenkit.data.labels import as_text
from qwenkit.errors import DataError

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def list_data_files(folder: Path) -> list[Path]:
    """List a folder's data files of one kind, sorted by path; hidden files and folders do not count.

    A .json file is taken only where no other kind is present: beside data it is mostly a description.

    Raises:
        DataError: None is there, or several kinds are (then the same rows could come in twice).
    """
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix.lower() in DATA_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    kinds = sorted({path.suffix.lower() for path in files})
    if len(kinds) > 1 and ".json" in kinds:
        kinds.remove(".json")
    if not kinds:
        raise DataError(f"{folder} holds no data files ({', '.join(DATA_SUFFIXES)}).")
    if len(kinds) > 1:
        raise DataError(f"{folder} holds {' and '.join(kinds)} files. Keep one kind, or name one file.")
    return [path for path in files if path.suffix.lower() == kinds[0]]


def read_file(path: Path) -> pl.DataFrame:
    """Read one data file whole; its suffix says how.

    CSV columns all stay text as written ("007" is no number). Elsewhere types are the file's own.

    Raises:
        DataError: Missing, empty, without rows, not UTF-8, or malformed; the message says where.
    """
    shown = safe_text(str(path))
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{shown} is empty (0 bytes).")
        frame = _read(path)
    except (OSError, PolarsError) as error:
        if isinstance(error, OSError) and not path.is_file():
            raise DataError(f"{shown} does not exist.") from None
        raise DataError(f"{shown} cannot be read: {explain_damage(path, error)}") from error
    if frame.height == 0:
        raise DataError(f"{shown} has a header but no rows." if frame.width else f"{shown} has no rows.")
    return frame


def _read(path: Path) -> pl.DataFrame:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return pl.read_parquet(path, glob=False)
    refuse_utf16(path)
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, separator="\t" if suffix == ".tsv" else ",")
    if first_character(path) == "[":
        return pl.read_json(path, infer_schema_length=None)
    # Types are inferred from all lines: a number in line 5000 of a text column must not become null.
    return pl.read_ndjson(_without_bom(path), infer_schema_length=None)


def _read_csv(path: Path, *, separator: str) -> pl.DataFrame:
    """Read with polars, and what polars refuses with Python's csv: it accepts a quote inside a bare field."""
    try:
        frame = pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
    except PolarsError:
        frame = _read_csv_by_row(path, separator=separator)
    if any("\N{REPLACEMENT CHARACTER}" in name for name in frame.columns):
        # polars checks the rows, not the header.
        refuse_bad_utf8(path)
    return frame


def _read_csv_by_row(path: Path, *, separator: str) -> pl.DataFrame:
    """Read with Python's csv, slowly but exactly; an empty field is null, as in polars."""
    refuse_bad_utf8(path)
    shown = safe_text(str(path))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        # Process-wide, and 131,072 characters by default: a long document is no error.
        usual_limit = csv.field_size_limit(1 << 30)
        try:
            header = next(reader)
            rows = list(_checked_rows(reader, len(header), shown))
        except csv.Error as error:
            raise DataError(f"{shown} is not valid CSV near line {reader.line_num}: {error}.") from error
        finally:
            csv.field_size_limit(usual_limit)
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return pl.DataFrame(
        [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    )


def _checked_rows(reader: Iterator[list[str]], width: int, shown: str) -> Iterator[list[str | None]]:
    for row in reader:
        if len(row) > width:
            line = reader.line_num  # type: ignore[attr-defined]
            raise DataError(
                f"{shown}, line {line}: {len(row)} fields, but the header names {width}. "
                "A text that holds the separator must stand in double quotes."
            )
        yield [*(value or None for value in row), *[None] * (width - len(row))]


def _without_bom(path: Path) -> Path | bytes:
    with path.open("rb") as file:
        has_bom = file.read(3) == codecs.BOM_UTF8
    return path.read_bytes()[3:] if has_bom else path


def read_texts(path: str | Path, *, text_column: str) -> list[str]:
    """Read texts to predict: a data file's text column, or a .txt file or stdin ("-") with a text a line.

    Lines without a visible character are no texts.

    Raises:
        DataError: The file or the column is missing, or a row has no text.
    """
    if str(path) == "-":
        return _split_lines(sys.stdin.buffer.read(), "stdin")
    path = Path(path)
    shown = safe_text(str(path))
    if path.suffix.lower() == ".txt":
        if not path.is_file():
            raise DataError(f"{shown} does not exist.")
        return _split_lines(path.read_bytes(), shown)
    if path.suffix.lower() not in DATA_SUFFIXES:
        raise DataError(f"{shown} is no .txt, {', '.join(DATA_SUFFIXES)} file.")
    frame = read_file(path)
    if text_column not in frame.columns:
        found = ", ".join(map(safe_text, frame.columns))
        raise DataError(f'text column "{safe_text(text_column)}" is not in {shown}; it has: {found}.')
    texts = as_text(frame[text_column], column=text_column, setting="--text-column")
    if texts.null_count():
        row = texts.is_null().arg_max()
        raise DataError(f"{shown} has {texts.null_count():,} rows without a text, the first is row {row}.")
    return texts.to_list()


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write records as .csv, .jsonl or .parquet, whichever the suffix says.

    Raises:
        DataError: Another suffix.
    """
    frame = pl.DataFrame(records, infer_schema_length=None)
    writers: dict[str, Callable[[Path], Any]] = {
        ".csv": frame.write_csv,
        ".jsonl": frame.write_ndjson,
        ".parquet": frame.write_parquet,
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise DataError(f"{safe_text(str(path))} must end in {', '.join(writers)}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place and then renamed: half a file would look like all of it.
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        writer(staged)
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _split_lines(content: bytes, shown: str) -> list[str]:
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{shown} is not UTF-8: byte {error.start:,} cannot be decoded.") from error
    return [line.removesuffix("\r") for line in lines if line.strip()]
