"""CSV rows, all as text: read by polars, or by Python's csv, and the lines that neither can read."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.data.file_bytes import check_text_file, has_old_line_ends, refuse_bad_utf8
from qwenkit.data.file_kinds import open_content
from qwenkit.errors import DataError

_SHOWN_LINES = 5
_SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


def read_csv(path: Path, *, separator: str) -> pl.DataFrame:
    """Read all columns as text; lines may end in LF, CR LF or CR.

    Raises:
        DataError: Names the lines that do not fit, or the bytes that are no UTF-8; or as `check_text_file`.
    """
    quotes = QuoteCheck(separator)
    check_text_file(path, look=quotes.look)
    refuse_odd_header(path, separator=separator)
    if not quotes.are_in_place:
        refuse_bad_utf8(path)
        return _read_by_row(path, separator=separator)
    eol = "\r" if has_old_line_ends(path) else "\n"
    try:
        return pl.read_csv(path, separator=separator, infer_schema=False, glob=False, eol_char=eol)
    except PolarsError:
        # It does not say which line it is: the slow way does.
        refuse_bad_utf8(path)
        return _read_by_row(path, separator=separator)


class QuoteCheck:
    """Whether every quote of a CSV file stands around a field, or doubled inside one.

    Where one does not, polars may refuse it, which is no error inside a bare field, or leave the quotes out
    and even make one row of two ("a "b",x), which nobody would see: such a file is read the slow way.
    """

    def __init__(self, separator: str) -> None:
        edges = np.zeros(256, dtype=bool)
        edges[list(f'{separator}"\r\n'.encode())] = True
        self._edges = edges
        self._n_quotes = 0
        # The byte before those to come; behind it, one whose successor is not known yet.
        self._kept = b""
        self.are_in_place = True

    def look(self, chunk: bytes) -> None:
        """Look at the next piece of the file; an empty one is its end."""
        if not self._kept:
            chunk, self._kept = chunk.removeprefix(codecs.BOM_UTF8), b"\n"
        content = np.frombuffer(self._kept + (chunk or b"\n"), dtype=np.uint8)
        places = 1 + np.flatnonzero(content[1:-1] == ord('"'))
        # Of a field's quotes the first, third ... opens it or ends a doubled one; the others have to be
        # followed by such a one, or by the end of the field.
        is_first = (self._n_quotes + np.arange(len(places))) % 2 == 0
        beside = np.where(is_first, content[places - 1], content[places + 1])
        self.are_in_place &= bool(self._edges[beside].all())
        self._n_quotes += len(places)
        self._kept = content[-2:].tobytes()
        if not chunk and self._n_quotes % 2:
            self.are_in_place = False


def refuse_odd_header(path: Path, *, separator: str) -> None:
    """Refuse a header that is not UTF-8, names a column twice, or stands apart by another separator."""
    with _open_rows(path, separator=separator, errors="replace") as reader:
        names: list[str] = next((row for row in reader if row), [])
    if any("\N{REPLACEMENT CHARACTER}" in name for name in names):
        # polars checks the rows, not the header.
        refuse_bad_utf8(path)
    refuse_repeated_names(path, names)
    refuse_other_separator(path, names, separator=separator)


def refuse_repeated_names(path: Path, names: list[str]) -> None:
    """Refuse two columns of one name; columns without a name, as trailing commas make them, may be many."""
    shown = safe_text(str(path))
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        places = [str(place) for place, name in enumerate(names, start=1) if name == twice[0]]
        raise DataError(
            f'{shown}: columns {" and ".join(places)} are both named "{safe_text(twice[0])}". Which '
            "one counts? Rename the others."
        )


def refuse_other_separator(path: Path, names: list[str], *, separator: str) -> None:
    """Refuse a header of a single name that another separator would cut into several."""
    shown = safe_text(str(path))
    found = [mark for mark in _SEPARATOR_NAMES if len(names) == 1 and mark != separator and mark in names[0]]
    if found:
        raise DataError(
            f'{shown} has a single column, "{safe_text(names[0], limit=60)}": its fields seem to stand apart '
            f"by {_SEPARATOR_NAMES[found[0]]}. Expected {_SEPARATOR_NAMES[separator]} (.csv has commas, .tsv "
            "has tabs)."
        )


def _read_by_row(path: Path, *, separator: str) -> pl.DataFrame:
    """Read with Python's csv, slowly but exactly; an empty field is null, as in polars."""
    shown = safe_text(str(path))
    start = 1
    rows: list[list[str | None]] = []
    too_long: list[tuple[int, int]] = []
    header: list[str] = []
    with _open_rows(path, separator=separator) as reader:
        try:
            for row in reader:
                if not header:
                    header = row
                elif len(row) > len(header):
                    too_long.append((start, len(row)))
                else:
                    rows.append([*(value or None for value in row), *[None] * (len(header) - len(row))])
                start = reader.line_num + 1
        except csv.Error as error:
            refuse_broken_quotes(path, error, first_line=start, last_line=reader.line_num)
            raise DataError(f"{shown} is not valid CSV: {error}.") from error
    refuse_long_rows(path, too_long, width=len(header))
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    return pl.DataFrame(
        [pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)]
    )


def refuse_broken_quotes(path: Path, error: csv.Error, *, first_line: int, last_line: int) -> None:
    """Say in which lines a quoted field goes wrong: it begins in the first and is noticed in the last."""
    shown = safe_text(str(path))
    if "end of data" in str(error):
        raise DataError(
            f"{shown} is not valid CSV: a quote opened in the row that begins in line {first_line:,} is "
            'never closed. Close it; a quote inside a quoted text is written twice ("").'
        ) from error
    where = f"line {last_line:,}" if first_line == last_line else f"lines {first_line:,} to {last_line:,}"
    raise DataError(
        f"{shown} is not valid CSV: {where}: text follows a closing quote. A quote inside a quoted text is "
        'written twice ("").'
    ) from error


def refuse_long_rows(path: Path, too_long: list[tuple[int, int]], *, width: int) -> None:
    """Refuse rows of more fields than the header names; shorter ones end in nulls, which are accounted for.

    Args:
        too_long: Line and number of fields of each.
    """
    shown = safe_text(str(path))
    if not too_long:
        return
    first = ", ".join(f"line {line:,} ({fields} fields)" for line, fields in too_long[:_SHOWN_LINES])
    more = f" and {len(too_long) - _SHOWN_LINES:,} more" if len(too_long) > _SHOWN_LINES else ""
    raise DataError(
        f"{shown} has rows of more fields than the {width} that the header names: {first}{more}. "
        "A text that holds the separator must stand in double quotes."
    )


@contextmanager
def _open_rows(path: Path, *, separator: str, errors: str = "strict") -> Iterator[csv.reader]:  # type: ignore[valid-type]
    with open_content(path) as file:
        # Line ends inside quotes stay as they are: no translation.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="")
        # Process-wide, and 131,072 characters by default: a long document is no error.
        usual_limit = csv.field_size_limit(1 << 30)
        try:
            yield csv.reader(text, delimiter=separator, strict=errors == "strict")
        finally:
            csv.field_size_limit(usual_limit)
            text.detach()
