"""JSON that cannot be read as rows, or only with a loss: which lines, and what stands there."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.file_bytes import first_character, refuse_old_line_ends
from qwenkit.data.file_kinds import open_content
from qwenkit.errors import DataError

_SHOWN_LINES = 5
_SHOWN_CHARACTERS = 40
_CHECKED_OBJECTS = 1000
_START_CHARACTERS = 1 << 20
_BETWEEN_OBJECTS = re.compile(r"[\s,\[]*")
_INT_RANGE = range(-(1 << 63), 1 << 64)
_TYPE_NAMES = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    dict: "an object",
    list: "a list",
}


def explain_json(path: Path) -> None:
    """Look for what a JSON reader refused, and raise an error that says where it is."""
    if first_character(path) == "[":
        rows = read_array(path)
        refuse_bad_entries(path, rows)
        refuse_unfit_values(path, enumerate(rows, start=1), unit="entry")
        return
    refuse_old_line_ends(path)
    refuse_bad_lines(path)
    lines = ((number, json.loads(line)) for number, line in _read_lines(path))
    refuse_unfit_values(path, lines, unit="line")


def refuse_bad_lines(path: Path) -> None:
    """Refuse lines that are not one JSON object each; the first few are shown, all are counted."""
    shown = safe_text(str(path))
    problems, count, lines = [], 0, 0
    for number, line in _read_lines(path):
        lines += 1
        problem = _find_problem(line)
        if problem is None:
            continue
        count += 1
        if count <= _SHOWN_LINES:
            problems.append(f"  line {number:,}{problem}")
    if not lines:
        raise DataError(f"{shown} has no rows: its lines are all blank.")
    if count:
        more = [f"  and {count - _SHOWN_LINES:,} more"] if count > _SHOWN_LINES else []
        head = f"{shown}: {count:,} of {lines:,} lines {'is' if count == 1 else 'are'} not a JSON object"
        advice = 'A row is {"text": "...", "label": "..."} in a line of its own. Mend or delete these lines.'
        raise DataError("\n".join([f"{head}:", *problems, *more, advice]))


def refuse_unfit_values(path: Path, rows: Iterable[tuple[int, dict[str, Any]]], *, unit: str) -> None:
    """Refuse columns that hold objects or lists beside other things, and numbers that no column can hold.

    Args:
        rows: Each with its number.
        unit: What the numbers count: "line" or "entry".
    """
    shown = safe_text(str(path))
    first: dict[str, dict[str, int]] = {}
    for number, row in rows:
        for key, value in row.items():
            if isinstance(value, int) and value not in _INT_RANGE:
                raise DataError(
                    f'{shown}, {unit} {number:,}: "{safe_text(key)}" is a number of {len(str(value))} '
                    "digits, more than 64 bits hold. Write it as text, in quotes."
                )
            if value is not None:
                first.setdefault(key, {}).setdefault(_TYPE_NAMES[type(value)], number)
    for key, kinds in first.items():
        if len(kinds) > 1:
            found = ", but ".join(f"{kind} in {unit} {number:,}" for kind, number in kinds.items())
            raise DataError(f'{shown}: "{safe_text(key)}" is {found}. A column holds one kind.')


def read_array(path: Path) -> list[Any]:
    """Read an array slowly but exactly.

    Raises:
        DataError: It is no JSON; the message says where.
    """
    shown = safe_text(str(path))
    with open_content(path) as file:
        text = file.read().decode("utf-8-sig")
    try:
        return list(json.loads(text, parse_constant=_refuse_constant))
    except json.JSONDecodeError as error:
        is_at_end = error.pos >= len(text.rstrip()) - 1 and error.msg != "Extra data"
        is_cut = is_at_end or error.msg.startswith("Unterminated")
        cut = " Was the file cut off?" if is_cut else ""
        where = f"line {error.lineno:,}, column {error.colno:,}"
        raise DataError(
            f"{shown} is not JSON: {where}: {_explain(error)}{_quote(text, error.pos)}.{cut}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{shown} is not JSON: {_reason(error)}.") from error


def refuse_bad_entries(path: Path, rows: list[Any]) -> None:
    """Refuse an array that holds anything but objects."""
    shown = safe_text(str(path))
    for place, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            kind = _TYPE_NAMES.get(type(row), "null")
            raise DataError(
                f"{shown}: entry {place:,} of {len(rows):,} is {kind}, where every row must be an object: "
                '[{"text": "...", "label": "..."}, ...].'
            )


def refuse_lossy(path: Path, frame: pl.DataFrame) -> None:
    """Refuse what polars reads without a word, but not as it is written.

    It turns objects and lists among texts into text, half a surrogate pair (\\ud83d) into NUL, and of a key
    given twice it takes the first. Whole files are searched only where the frame shows traces of these.
    """
    refuse_repeated_keys(path)
    texts = frame.select(pl.col(pl.String))
    has_nul = (
        texts.select(pl.any_horizontal(pl.all().str.contains("\0", literal=True).any())).item()
        if texts.width
        else False
    )
    if has_nul:
        refuse_half_characters(path)
    refuse_nested_among_texts(path, texts)


def refuse_repeated_keys(path: Path) -> None:
    """Refuse objects that give a key twice, in the first thousand: what writes such objects writes many."""
    shown = safe_text(str(path))
    for place, pairs in enumerate(islice(_read_first_objects(path), _CHECKED_OBJECTS), start=1):
        twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        if twice:
            raise DataError(
                f'{shown}: row {place:,} gives "{safe_text(twice[0])}" twice. Which one counts? '
                "Take the other out."
            )


def refuse_half_characters(path: Path) -> None:
    """Refuse escapes such as \\ud83d that are half a character; they cannot be written as UTF-8."""
    if first_character(path) == "[":
        for place, row in enumerate(read_array(path), start=1):
            refuse_half_character(row, f"{safe_text(str(path))}, entry {place:,}")
        return
    for number, line in _read_lines(path):
        # Not by the text of the escape: \\\\ud83d is a backslash and five letters.
        if "\\ud" in line.lower():
            refuse_half_character(json.loads(line), f"{safe_text(str(path))}, line {number:,}")


def refuse_half_character(row: Any, place: str) -> None:
    """Refuse a row with half a character anywhere in it.

    Args:
        place: Where the row is, for the message.
    """
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(str(error.object)[error.start])
        raise DataError(
            f"{place}: \\u{code:04x} is half of a character (a surrogate without its other half), which "
            "UTF-8 cannot hold. Was the text cut there? Take it out."
        ) from error


def refuse_nested_among_texts(path: Path, texts: pl.DataFrame) -> None:
    """Refuse objects and lists in a column of texts; a text that only looks like one is a text.

    Args:
        texts: The text columns of what was read, in the order of the file.
    """
    shown = safe_text(str(path))
    looks = pl.any_horizontal(pl.all().str.contains(r"^[\[{]").fill_null(False))
    rows = set(texts.select(looks.arg_true()).to_series().to_list()) if texts.width else set()
    if not rows or first_character(path) == "[":
        return
    for row, (number, line) in enumerate(_read_lines(path)):
        if row not in rows:
            continue
        for key, value in json.loads(line).items():
            if key in texts.columns and isinstance(value, dict | list):
                raise DataError(
                    f'{shown}, line {number:,}: "{safe_text(key)}" is {_TYPE_NAMES[type(value)]}, '
                    "but text in other lines. A column holds one kind."
                )


def refuse_wrapped_rows(path: Path, frame: pl.DataFrame) -> None:
    """Refuse one object around all rows, such as {"data": [...]}: it would be read as a single odd row."""
    shown = safe_text(str(path))
    wrapped = [
        name
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)
    ]
    if frame.height == 1 and wrapped and pl.String not in frame.dtypes:
        key = safe_text(wrapped[0])
        raise DataError(
            f'{shown} is one object, with the rows in "{key}"; expected an array of rows, or a row '
            f"a line. Take them out: `jq '.\"{key}\"' old.json > new.json`."
        )


def _find_problem(line: str) -> str | None:
    """Say what keeps a line from being a JSON object, to be put behind "line 7"; None where it is one."""
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return f", column {error.colno:,}: {_explain(error)}{_quote(line, error.pos)}"
    except (ValueError, RecursionError) as error:
        return f": {_reason(error)}"
    if isinstance(value, dict):
        return None
    return f": {_TYPE_NAMES.get(type(value), 'null')} where an object is expected{_quote(line, 0)}"


def _explain(error: json.JSONDecodeError) -> str:
    return error.msg.replace("Unterminated string starting at", "a text that does not end")


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


def _quote(text: str, place: int) -> str:
    rest = text[place : place + 2 * _SHOWN_CHARACTERS].strip()
    return f", found {safe_text(rest, limit=_SHOWN_CHARACTERS)}" if rest else ""


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines that are not blank, with their numbers from 1 on."""
    with open_content(path) as file:
        for number, line in enumerate(file, start=1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            if text.strip():
                yield number, text


def _read_first_objects(path: Path) -> Iterator[Iterable[tuple[str, Any]]]:
    """Give key and value pairs of the objects at the start, whether in lines or in an array."""
    with open_content(path) as file:
        start = file.read(_START_CHARACTERS).decode("utf-8-sig", errors="ignore")
    # An object becomes a tuple of pairs, which an array never does.
    decoder = json.JSONDecoder(object_pairs_hook=tuple)
    place = 0
    while True:
        between = _BETWEEN_OBJECTS.match(start, place)
        try:
            value, place = decoder.raw_decode(start, between.end() if between else place)
        except (ValueError, RecursionError):
            return
        if isinstance(value, tuple):
            yield value
