"""What is wrong with a file that a reader refused, and where: looked up only then."""

from collections import Counter
from pathlib import Path
from typing import Any

from qwenkit.console import safe_text
from qwenkit.data.file_bytes import name_other_kind, refuse_bad_utf8
from qwenkit.data.file_kinds import kind_of
from qwenkit.data.json_damage import explain_json
from qwenkit.errors import DataError

_SHOWN_CHARACTERS = 200
_PARQUET_MARKS = (b"PAR1", b"PARE")


def explain_damage(path: Path, error: Exception) -> str:
    """Say what is wrong with a file that a reader refused, by looking at it again.

    Returns:
        The reader's own reason, where nothing better is found.

    Raises:
        DataError: Something better is found.
    """
    kind = kind_of(path)
    if kind == ".parquet":
        explain_parquet(path)
    else:
        refuse_bad_utf8(path)
    if kind in (".jsonl", ".ndjson", ".json"):
        explain_json(path)
    # It may quote a whole document.
    reason = safe_text(str(error).strip().split("\n")[0].rstrip("."), limit=_SHOWN_CHARACTERS)
    return f"{reason}. It seems damaged: fetch it again" if kind == ".parquet" else reason


def explain_parquet(path: Path) -> None:
    """Look for what a Parquet reader refused: ends that are cut off, texts that are no UTF-8."""
    refuse_cut_parquet(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        for name in file.schema_arrow.names:
            refuse_bad_utf8_column(path, file.read([name]).column(0), name)
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return


def refuse_cut_parquet(path: Path) -> None:
    """Refuse a file without the marks that Parquet begins and ends with."""
    shown = safe_text(str(path))
    with path.open("rb") as file:
        start = file.read(512)
        file.seek(max(path.stat().st_size - 4, 0))
        end = file.read(4)
    if not start.startswith(_PARQUET_MARKS):
        advice = f"It is {other}." if (other := name_other_kind(start)) else "Is its suffix right?"
        raise DataError(f"{shown} is no Parquet file: it does not begin with PAR1. {advice}")
    if end not in _PARQUET_MARKS:
        raise DataError(
            f"{shown} is no whole Parquet file: it does not end with PAR1. Was it cut off? Fetch it again."
        )


def refuse_repeated_columns(path: Path, names: list[str]) -> None:
    """Refuse two columns of one name."""
    shown = safe_text(str(path))
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f'{shown} has {Counter(names)[twice[0]]} columns named "{safe_text(twice[0])}". '
            "Which one counts? Rename the others."
        )


def refuse_bad_utf8_column(path: Path, column: Any, name: str) -> None:
    """Refuse a text column that holds bytes that are no UTF-8; the first such row is named."""
    shown = safe_text(str(path))
    import pyarrow as pa

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return
    for row, value in enumerate(column.cast(pa.large_binary()).to_pylist()):
        try:
            (value or b"").decode()
        except UnicodeDecodeError as error:
            place = f'"{safe_text(name)}" of row {row:,} (from 0 on)'
            raise DataError(
                f"{shown}: {place} is not UTF-8: byte {error.start:,} of "
                f"it (0x{value[error.start]:02X}) cannot be decoded. Write the file again from text."
            ) from error
