"""What is wrong with a file that cannot be read, and where: looked up only after a reader refused it."""

import codecs
import json
from pathlib import Path

from qwenkit.console import safe_text
from qwenkit.errors import DataError

_CHUNK_BYTES = 1 << 20


def explain_damage(path: Path, error: Exception) -> str:
    """Say what is wrong with a file that a reader refused, and where, by looking at it again."""
    reason = str(error).strip().split("\n")[0]
    if path.suffix.lower() == ".parquet":
        return f"it is no whole Parquet file ({reason})."
    refuse_bad_utf8(path)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json") and first_character(path) != "[":
        line_number, problem = _find_bad_line(path)
        if line_number:
            return f"line {line_number} is not a JSON object ({problem})."
    return f"{reason}."


def _find_bad_line(path: Path) -> tuple[int, str]:
    """Find the first line that is not one JSON object; (0, "") where all are."""
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line, parse_constant=_refuse_constant)
            except ValueError as error:
                return number, str(error)
            if not isinstance(value, dict):
                return number, f"found {type(value).__name__}"
    return 0, ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise DataError(f"{safe_text(str(path))} is UTF-16, not UTF-8. Save it as UTF-8.")


def refuse_bad_utf8(path: Path) -> None:
    offset = find_bad_utf8(path)
    if offset is not None:
        raise DataError(f"{safe_text(str(path))} is not UTF-8: byte {offset:,} cannot be decoded.")


def find_bad_utf8(path: Path) -> int | None:
    """Return the offset of the first byte that is not UTF-8, or None."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    with path.open("rb") as file:
        while True:
            chunk = file.read(_CHUNK_BYTES)
            # The decoder keeps up to three bytes of a character that the last chunk cut in two.
            kept = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return offset - kept + error.start
            if not chunk:
                return None
            offset += len(chunk)


def first_character(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(4096)
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1].decode("ascii", "replace")
