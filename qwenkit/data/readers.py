"""Files in, frames out: CSV, JSON lines and Parquet, with an error that says where a broken one breaks."""

import codecs
from collections import Counter
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from qwenkit.artifacts import read_manifest
from qwenkit.console import safe_text
from qwenkit.data.csv_rows import read_csv
from qwenkit.data.damage import explain_damage, refuse_repeated_columns
from qwenkit.data.file_bytes import check_text_file, first_character
from qwenkit.data.file_kinds import ACCEPTED, kind_of, open_content, stem_of
from qwenkit.data.json_damage import refuse_lossy, refuse_wrapped_rows
from qwenkit.data.labels import list_columns
from qwenkit.errors import ArtifactError, DataError
from qwenkit.runs import METRICS_NAME, SUMMARY_NAME

_ROWS_PER_BATCH = 20_000


def list_data_files(folder: Path) -> list[Path]:
    """List a folder's data files of one kind, sorted by path; hidden files and folders do not count.

    A .json file is taken only where no other kind is present: beside data it is mostly a description. What
    qwenkit wrote into a folder below, as output/ in the folder of the data, is passed over.

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
    below = {path: {part for part in path.parents if folder in part.parents} for path in files}
    outputs = set(filter(_is_output, set().union(*below.values())))
    files = [path for path in files if not outputs & below[path]]
    kinds = sorted({kind_of(path) or "" for path in files})
    if len(kinds) > 1 and ".json" in kinds:
        kinds.remove(".json")
    shown = safe_text(str(folder))
    refuse_no_files(shown, kinds)
    refuse_mixed_kinds(shown, kinds)
    chosen = [path for path in files if kind_of(path) == kinds[0]]
    refuse_packed_copies(shown, chosen)
    return chosen


def _is_output(folder: Path) -> bool:
    """Tell whether qwenkit wrote this folder: an artifact has a manifest, a run its log and summary."""
    if (folder / METRICS_NAME).is_file() and (folder / SUMMARY_NAME).is_file():
        return True
    try:
        return read_manifest(folder) is not None
    except ArtifactError:
        # Others write manifests too.
        return False


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


def read_file(path: Path, *, may_be_empty: bool = False) -> pl.DataFrame:
    """Read one data file whole; its suffix says how.

    CSV columns all stay text as written ("007" is no number). Elsewhere types are the file's own.

    Args:
        may_be_empty: A header without rows will do, as it is one file of many.

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
    if not may_be_empty:
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
        return _read_parquet(path)
    if kind in (".csv", ".tsv"):
        return read_csv(path, separator="\t" if kind == ".tsv" else ",")
    check_text_file(path)
    frame = _read_json(path)
    refuse_lossy(path, frame)
    refuse_wrapped_rows(path, frame)
    return frame


def _read_parquet(path: Path) -> pl.DataFrame:
    """Read through pyarrow: on some damaged files polars ends the whole process instead of raising.

    Checksums of pages are looked at where the file has some, and so is every text: pyarrow would hand on
    bytes that are no UTF-8. A batch at a time, so that no second copy of all text is in memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = []
    try:
        # Read ahead, the file's own bytes would stay in memory until the end.
        with pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
            # polars panics, and prints a trace, where metadata or names are no UTF-8: the first are left out,
            # the second are decoded here, which raises.
            schema = file.schema_arrow.remove_metadata()
            refuse_repeated_columns(path, schema.names)
            parts.append(pl.DataFrame(schema.empty_table()))
            for batch in file.iter_batches(_ROWS_PER_BATCH):
                batch.validate(full=True)
                parts.append(pl.DataFrame(batch.replace_schema_metadata(None)))
    except (pa.ArrowException, UnicodeDecodeError, PanicException) as error:
        raise OSError(str(error)) from error
    return pl.concat(parts)


def _read_json(path: Path) -> pl.DataFrame:
    if first_character(path) == "[":
        return pl.read_json(path, infer_schema_length=None)
    # Types are inferred from all lines: a number in line 5000 of a text column must not become null.
    return pl.read_ndjson(_without_bom(path), infer_schema_length=None)


def _without_bom(path: Path) -> Path | bytes:
    with open_content(path) as file:
        has_bom = file.read(3) == codecs.BOM_UTF8
        return file.read() if has_bom else path
