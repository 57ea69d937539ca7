"""Whether a file's bytes are the UTF-8 text that its name promises, and where they are not."""

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from qwenkit.console import safe_text
from qwenkit.data.file_kinds import codec_of, kind_of, open_content
from qwenkit.errors import DataError

_CHUNK_BYTES = 1 << 20
_START_BYTES = 1 << 16

# Text shrinks to a third or a tenth. What grows beyond both limits was made to fill a memory.
MOST_EXPANSION = 200
HARMLESS_BYTES = 64 << 20

_ARCHIVES = {b"\x1f\x8b": ("gzip", ".gz"), b"\x28\xb5\x2f\xfd": ("zstd", ".zst")}
_OTHER_KINDS = {
    b"PAR1": "a Parquet file: name it .parquet",
    b"version https://git-lfs": "a Git LFS pointer in place of the file: run `git lfs pull`",
    b"<!DOCTYPE html": "a web page, perhaps an error of the download: fetch it again",
    b"<html": "a web page, perhaps an error of the download: fetch it again",
    b"PK\x03\x04": "a ZIP archive or an Excel file: unpack it, or save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file: save the sheet as CSV (UTF-8)",
    b"ARROW1": "an Arrow file: write it as Parquet",
    b"SQLite format 3\0": "an SQLite data base: export the table as CSV",
}
# The longer marks first: UTF-32 in this order of bytes begins like UTF-16.
_UTF_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def check_text_file(path: Path, *, look: Callable[[bytes], None] | None = None) -> None:
    """Read a text file through once before a parser does, and refuse what no parser would explain.

    Args:
        look: Shown all content on the way, in pieces, and an empty one at the end.

    Raises:
        DataError: Another kind of file by its first bytes, a damaged or endless archive, or NUL bytes.
    """
    refuse_other_kind(path)
    refuse_wide_text(safe_text(str(path)), read_start(path))
    size = 0
    for chunk in _read_chunks(path):
        refuse_nul(path, chunk, before=size)
        size += len(chunk)
        refuse_bomb(path, size)
        if look is not None:
            look(chunk)


def read_start(path: Path) -> bytes:
    """Read the first bytes of the content, unpacked."""
    with open_content(path) as file:
        return file.read(_START_BYTES)


def first_character(path: Path) -> str:
    """Give the first visible character of a text file; empty where there is none at its start."""
    start = read_start(path)
    return start.removeprefix(codecs.BOM_UTF8).lstrip()[:1].decode("ascii", "replace")


def has_old_line_ends(path: Path) -> bool:
    """Tell whether the first line ends in a carriage return alone, as on a Mac of the last century."""
    first_end = re.search(rb"\r\n?|\n", read_start(path))
    return first_end is not None and first_end.group() == b"\r"


def refuse_old_line_ends(path: Path) -> None:
    """Refuse lines that end in a carriage return alone."""
    shown = safe_text(str(path))
    if has_old_line_ends(path):
        raise DataError(
            f"{shown} has lines that end in CR alone, as on old Macs, where LF is expected. "
            "Convert it: `tr '\\r' '\\n' < old > new`."
        )


def refuse_other_kind(path: Path) -> None:
    """Refuse a file whose first bytes are those of another kind than its name says.

    polars would unpack an archive under any name, and read a Parquet file as a CSV of one odd column.
    """
    shown, codec = safe_text(str(path)), codec_of(path)
    with path.open("rb") as file:
        start = file.read(32)
    found = next((names for mark, names in _ARCHIVES.items() if start.startswith(mark)), None)
    if codec and (found is None or found[0] != codec):
        what = f"a {found[0]} archive" if found else "no archive at all"
        raise DataError(f"{shown} is {what} by its first bytes, not {codec}. Give it the right suffix.")
    if found and not codec:
        raise DataError(
            f"{shown} is a {found[0]} archive by its first bytes. Name it {path.suffix}{found[1]}."
        )
    other = name_other_kind(read_start(path))
    if other:
        raise DataError(f"{shown} holds no {kind_of(path) or 'text'}; by its first bytes it is {other}.")


def name_other_kind(start: bytes) -> str | None:
    """Say what a file is by its first bytes, and what to do with it; None for what may be text."""
    if start[257:262] == b"ustar":
        return "a tar archive: unpack it"
    if any(start.startswith(mark) for mark in _ARCHIVES):
        return "an archive in an archive: unpack it"
    return next((what for mark, what in _OTHER_KINDS.items() if start.startswith(mark)), None)


def refuse_wide_text(shown: str, start: bytes) -> None:
    """Refuse UTF-16 and UTF-32 that say so in their first bytes.

    Args:
        shown: What it is, for the message.
    """
    found = next((name for mark, name in _UTF_MARKS.items() if start.startswith(mark)), None)
    if found:
        raise DataError(f"{shown} is {found}, not UTF-8. {advise_conversion(found)}")


def refuse_nul(path: Path, chunk: bytes, *, before: int) -> None:
    """Refuse NUL bytes: text has none, while UTF-16 without a mark and files with holes are full of them.

    Args:
        chunk: Any part of the content.
        before: Bytes of the content that came before it.
    """
    place = chunk.find(0)
    if place < 0:
        return
    shown = safe_text(str(path))
    near = chunk[place : place + 400]
    if near[::2].count(0) > len(near) / 3 and near[1::2].count(0) < len(near) / 20:
        # Every second byte: Latin letters in UTF-16 without a mark.
        encoding = "UTF-16LE" if (before + place) % 2 else "UTF-16BE"
        raise DataError(f"{shown} looks like UTF-16, not UTF-8. {advise_conversion(encoding)}")
    where = f"byte {before + place:,} (line {_find_line(path, before + place):,})"
    raise DataError(
        f"{shown} holds a NUL byte, which no text has, at {where}. Was it cut off or copied badly? Fetch it "
        "again, or take the NUL bytes out: `tr -d '\\000' < old > new`."
    )


def refuse_bomb(path: Path, size: int) -> None:
    """Refuse an archive that unpacks to far more than text can, before it fills the memory.

    Args:
        size: Bytes that it gave so far.
    """
    shown = safe_text(str(path))
    packed = path.stat().st_size
    if size > HARMLESS_BYTES and size > MOST_EXPANSION * packed:
        raise DataError(
            f"{shown} unpacks to more than {MOST_EXPANSION} times its {packed:,} bytes, as no real "
            "text does. If it is right, unpack it yourself and name the unpacked file."
        )


def refuse_bad_utf8(path: Path) -> None:
    """Refuse bytes that are no UTF-8.

    Raises:
        DataError: It names the first such byte by its offset in the (unpacked) content, and its line.
    """
    shown = safe_text(str(path))
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for chunk in _read_chunks(path):
        # The decoder keeps up to three bytes of a character that the last chunk cut in two.
        kept = decoder.getstate()[0]
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            place = offset - len(kept) + error.start
            line = _find_line(path, place)
            message = describe_bad_byte((kept + chunk)[error.start], place, line, reason=error.reason)
            raise DataError(f"{shown} is not UTF-8: {message}") from error
        offset += len(chunk)


def describe_bad_byte(value: int, offset: int, line: int, *, reason: str) -> str:
    """Say where text stops being UTF-8, and how to make it UTF-8."""
    where = f"byte {offset:,} (0x{value:02X}, in line {line:,})"
    if "end of data" in reason:
        return f"{where} begins a character, and the file ends inside it. It was cut off: fetch it again."
    return f"{where} cannot be decoded. {advise_conversion('WINDOWS-1252')}"


def advise_conversion(encoding: str) -> str:
    """Name the command that makes UTF-8 of another encoding."""
    condition = "If it is Windows-1252 (Latin-1), convert" if encoding == "WINDOWS-1252" else "Convert"
    return f"{condition} it: `iconv -f {encoding} -t UTF-8 old > new`."


def _read_chunks(path: Path) -> Iterator[bytes]:
    """Give the content in pieces, and an empty one at the end."""
    with open_content(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
    yield b""


def _find_line(path: Path, offset: int) -> int:
    """Count in which line, from 1 on, a byte of the content lies."""
    line = 1
    with open_content(path) as file:
        while offset > 0 and (chunk := file.read(min(_CHUNK_BYTES, offset))):
            line += chunk.count(b"\n")
            offset -= len(chunk)
    return line
