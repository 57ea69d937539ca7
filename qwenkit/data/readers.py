"""Files in, frames out: CSV, JSON lines and Parquet, with an error that says where a broken one breaks."""

import codecs
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.data.csv_rows import read_csv
from qwenkit.data.damage import explain_damage
from qwenkit.data.file_bytes import check_text_file, first_character
from qwenkit.data.file_kinds import ACCEPTED, kind_of, open_content, stem_of
from qwenkit.data.json_damage import refuse_lossy, refuse_wrapped_rows
from qwenkit.data.labels import as_text, list_columns
from qwenkit.errors import DataError


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
        and kind_of(path) is not None
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    kinds = sorted({kind_of(path) or "" for path in files})
    if len(kinds) > 1 and ".json" in kinds:
        kinds.remove(".json")
    shown = safe_text(str(folder))
    refuse_no_files(shown, kinds)
    refuse_mixed_kinds(shown, kinds)
    chosen = [path for path in files if kind_of(path) == kinds[0]]
    refuse_packed_copies(shown, chosen)
    return chosen


def refuse_no_files(shown: str, kinds: list[str]) -> None:
    """Refuse a folder without a data file."""
    if not kinds:
        raise DataError(f"{shown} holds no data files ({ACCEPTED}).")


def refuse_mixed_kinds(shown: str, kinds: list[str]) -> None:
    """Refuse a folder of several kinds: the same rows could come in twice."""
    if len(kinds) > 1:
        raise DataError(f"{shown} holds {' and '.join(kinds)} files. Keep one kind, or name one file.")


def refuse_packed_copies(shown: str, files: list[Path]) -> None:
    """Refuse a folder that holds a file both packed and unpacked."""
    twice = [
        stem for stem, count in Counter(path.with_name(stem_of(path)) for path in files).items() if count > 1
    ]
    if twice:
        names = " and ".join(
            safe_text(path.name) for path in files if path.with_name(stem_of(path)) == twice[0]
        )
        raise DataError(f"{shown} holds {names}, the same rows twice. Keep one of them.")


def read_file(path: Path) -> pl.DataFrame:
    """Read one data file whole; its suffix says how.

    CSV columns all stay text as written ("007" is no number). Elsewhere types are the file's own.

    Raises:
        DataError: Missing, empty, without rows, not UTF-8, or malformed; the message says where.
    """
    shown = safe_text(str(path))
    refuse_bad_name(path)
    try:
        refuse_empty(path)
        frame = _read(path)
    except (OSError, PolarsError) as error:
        if isinstance(error, OSError) and not path.is_file():
            raise DataError(f"{shown} does not exist.") from None
        raise DataError(f"{shown} cannot be read: {explain_damage(path, error)}.") from error
    refuse_no_rows(path, frame)
    return frame


def refuse_empty(path: Path) -> None:
    """Refuse a file of no bytes: most often a download or a copy that never began."""
    if path.stat().st_size == 0:
        raise DataError(f"{safe_text(str(path))} is empty (0 bytes). Fetch it again.")


def refuse_no_rows(path: Path, frame: pl.DataFrame) -> None:
    """Refuse a file that is whole, but holds no row."""
    if frame.height == 0:
        columns = f"names the columns {list_columns(frame.columns)}, but" if frame.width else "is whole, but"
        raise DataError(f"{safe_text(str(path))} {columns} has no rows. Is it the right file?")


def refuse_bad_name(path: Path) -> None:
    """Refuse a name that is no UTF-8: polars cannot open it, and no manifest could hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{safe_text(str(path))} has a name that is not UTF-8. Rename it.") from error


def _read(path: Path) -> pl.DataFrame:
    kind = kind_of(path)
    if kind == ".parquet":
        return pl.read_parquet(path, glob=False)
    check_text_file(path)
    if kind in (".csv", ".tsv"):
        return read_csv(path, separator="\t" if kind == ".tsv" else ",")
    frame = _read_json(path)
    refuse_lossy(path, frame)
    refuse_wrapped_rows(path, frame)
    return frame


def _read_json(path: Path) -> pl.DataFrame:
    if first_character(path) == "[":
        return pl.read_json(path, infer_schema_length=None)
    # Types are inferred from all lines: a number in line 5000 of a text column must not become null.
    return pl.read_ndjson(_without_bom(path), infer_schema_length=None)


def _without_bom(path: Path) -> Path | bytes:
    with open_content(path) as file:
        has_bom = file.read(3) == codecs.BOM_UTF8
        return file.read() if has_bom else path


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
    if kind_of(path) is None:
        raise DataError(f"{shown} is no .txt, {ACCEPTED} file.")
    frame = read_file(path)
    if text_column not in frame.columns:
        raise DataError(
            f'text column "{safe_text(text_column)}" is not in {shown}; it has: '
            f"{list_columns(frame.columns)}. Set --text-column."
        )
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
