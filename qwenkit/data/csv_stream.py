"""CSV files of any size, some megabytes of whole records at a time.

Blocks are cut here, where a record ends, and polars reads each of them. pyarrow's streaming reader loses the
line feed of a CR LF inside a quoted text where one of its blocks ends between the two.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, cast

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.errors import DataError

BLOCK_BYTES = 8 * 2**20
# No record is as long: a quote that is never closed would otherwise take in the rest of the file.
LONGEST_RECORD_BYTES = 256 * 2**20
LONGEST_HEADER_BYTES = 2**20


def read_header(path: Path) -> list[str]:
    """Read the names of the columns.

    Raises:
        DataError: The file is missing, empty, or its first line is no text.
    """
    shown = safe_text(str(path))
    record = b""
    with _open(path) as (file, _):
        # The name of a column may hold a line feed too.
        while line := file.readline(LONGEST_HEADER_BYTES):
            record += line
            if record.count(b'"') % 2 == 0 or len(record) > LONGEST_HEADER_BYTES:
                break
    if not record:
        raise DataError(f"{shown} is empty.")
    try:
        return next(csv.reader(io.StringIO(record.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{shown} does not begin with the names of columns: {error}.") from error


def stream_csv(
    path: Path,
    *,
    columns: Sequence[str],
    on_read: Callable[[int], None] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pl.DataFrame]:
    """Read some columns of a CSV file (RFC 4180, UTF-8), block by block, in the file's order.

    Args:
        path: Plain or .gz.
        columns: Names from its header.
        on_read: Told how many bytes of the file were read since it was told last.
        block_bytes: Text read at a time; memory is a small multiple of it, however long the file is.

    Yields:
        The columns as text, in the order asked for; an empty field is null.

    Raises:
        DataError: The file is missing, broken off, not UTF-8 or no CSV; the message says where.
    """
    names = read_header(path)
    schema = dict.fromkeys(names, pl.String)
    places = [names.index(column) for column in columns]
    with _open(path) as (file, raw):
        start = told = 0
        for block in _cut_blocks(file, path, block_bytes):
            try:
                frame = pl.read_csv(block, has_header=start == 0, schema=schema, columns=places)
            except PolarsError as error:
                raise DataError(_explain(path, block, start, error)) from error
            start += len(block)
            if on_read is not None:
                on_read(raw.tell() - told)
                told = raw.tell()
            yield frame.select(columns)


def _cut_blocks(file: IO[bytes], path: Path, block_bytes: int) -> Iterator[bytes]:
    """Cut after the last line feed before which the quotes are even, for only there a record ends."""
    rest = b""
    read_bytes = 0
    while block := file.read(block_bytes):
        read_bytes += len(block)
        block = rest + block
        end = _find_record_end(block)
        rest = block[end:]
        if len(rest) > LONGEST_RECORD_BYTES:
            raise _no_end(path, read_bytes - len(rest), len(rest))
        if end:
            yield block[:end]
    if rest.count(b'"') % 2:
        raise _no_end(path, read_bytes - len(rest), len(rest))
    if rest:
        yield rest


def _no_end(path: Path, start: int, length: int) -> DataError:
    return DataError(
        f"{safe_text(str(path))} is not valid CSV: the record that begins at byte {start:,} does not end in "
        f"the {length:,} bytes that follow. Is a quote missing?"
    )


def _find_record_end(block: bytes) -> int:
    quotes, stop = block.count(b'"'), len(block)
    while (place := block.rfind(b"\n", 0, stop)) >= 0:
        quotes -= block.count(b'"', place, stop)
        if quotes % 2 == 0:
            return place + 1
        stop = place
    return 0


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open for the text and, beneath a .gz, for the place in the file itself."""
    shown = safe_text(str(path))
    try:
        with ExitStack() as stack:
            raw: IO[bytes] = stack.enter_context(path.open("rb"))
            if path.suffix.lower() == ".gz":
                yield cast(IO[bytes], stack.enter_context(gzip.open(raw))), raw
            else:
                yield raw, raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shown} is no whole gzip file: {error}.") from error
    except FileNotFoundError:
        raise DataError(f"{shown} does not exist.") from None
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error}.") from error


def _explain(path: Path, block: bytes, start: int, error: PolarsError) -> str:
    shown = safe_text(str(path))
    try:
        block.decode()
    except UnicodeDecodeError as bad:
        return f"{shown} is not UTF-8: byte {start + bad.start:,} cannot be decoded."
    reason = safe_text(str(error).strip().split("\n")[0], limit=200)
    return f"{shown} is not valid CSV between bytes {start:,} and {start + len(block):,}: {reason}"
