"""Files of one set laid under each other: columns joined by name, types where nothing is lost by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.errors import DataError

_SHOWN_NOTES = 5
# What has one text form: 7 and "7" are the same id.
_WRITABLE = {"text", "a number", "true or false", "a date"}


@dataclass(frozen=True)
class Drift:
    """How the files of a set differ.

    Attributes:
        lacking: For each column that some files lack, which and what they have instead.
        mixed: For each column of several kinds, the kinds and where they are; such a column is read as text.
    """

    lacking: Mapping[str, str] = field(default_factory=dict)
    mixed: Mapping[str, str] = field(default_factory=dict)

    def join(self, other: "Drift") -> "Drift":
        """Put what was found in two splits together."""
        return Drift({**self.lacking, **other.lacking}, {**self.mixed, **other.mixed})

    def describe(self) -> list[str]:
        """Say it in a few lines."""
        lines = [f"{found}: null there" for found in self.lacking.values()]
        lines += [f"{found}: read as text" for found in self.mixed.values()]
        more = [f"{len(lines) - _SHOWN_NOTES:,} more columns differ between files"]
        return lines[:_SHOWN_NOTES] + (more if len(lines) > _SHOWN_NOTES else [])


def join_shards(frames: Mapping[Path, pl.DataFrame]) -> tuple[pl.DataFrame, Drift]:
    """Lay the rows of several files under each other; a column that a file lacks is null there.

    Raises:
        DataError: A column holds lists or objects in one file and something else in another.
    """
    if len(frames) == 1:
        return next(iter(frames.values())), Drift()
    columns = list(dict.fromkeys(name for frame in frames.values() for name in frame.columns))
    lacking: dict[str, str] = {}
    mixed: dict[str, str] = {}
    for name in columns:
        if absent := [path for path, frame in frames.items() if name not in frame.columns]:
            lacking[name] = _describe_lack(name, absent, frames)
        kinds = _find_kinds(name, frames)
        if len(kinds) > 1:
            mixed[name] = _describe_kinds(name, kinds)
            refuse_unfit_kinds(kinds, mixed[name])
    as_text = [pl.col(name).cast(pl.String) for name in mixed]
    parts = [
        frame.with_columns(column for column in as_text if column.meta.output_name() in frame.columns)
        for frame in frames.values()
    ]
    return _stack(parts, next(iter(frames))), Drift(lacking, mixed)


def refuse_unfit_kinds(kinds: Mapping[str, Path], found: str) -> None:
    """Refuse kinds of values that no column holds together.

    Args:
        kinds: The first file of each.
        found: The same in words.
    """
    if not kinds.keys() <= _WRITABLE:
        raise DataError(f"{found}. Expected one kind in all files: write them again alike.")


def refuse_lacking(drift: Drift, columns: Mapping[str, str]) -> None:
    """Refuse files without the text or the label: their rows would all be dropped as null.

    Args:
        columns: The setting that names each column needed.
    """
    for name, setting in columns.items():
        if name in drift.lacking:
            raise DataError(f"{drift.lacking[name]}. Every file needs it: rename it there, or set {setting}.")


def refuse_mixed_labels(drift: Drift, column: str) -> None:
    """Refuse labels that are ids in one file and names in another: nothing says which id is which name."""
    if column in drift.mixed:
        raise DataError(
            f"{drift.mixed[column]}. Say in model.label_mapping which value is which class: "
            "{0: Human_Written, 1: AI_Generated}."
        )


def _find_kinds(name: str, frames: Mapping[Path, pl.DataFrame]) -> dict[str, Path]:
    """Give each kind of values of a column with the first file that holds it; a column of nulls has none."""
    kinds: dict[str, Path] = {}
    for path, frame in frames.items():
        kind = _kind(frame.schema[name]) if name in frame.columns else None
        if kind is not None:
            kinds.setdefault(kind, path)
    return kinds


def _kind(dtype: pl.DataType) -> str | None:
    if dtype == pl.Null:
        return None
    if dtype == pl.Boolean:
        return "true or false"
    if dtype.is_numeric():
        return "a number"
    if dtype.is_temporal():
        return "a date"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    nested = {pl.List: "a list", pl.Array: "a list", pl.Struct: "an object", pl.Binary: "bytes"}
    return nested.get(dtype.base_type(), str(dtype))


def _describe_lack(name: str, absent: Sequence[Path], frames: Mapping[Path, pl.DataFrame]) -> str:
    shown = ", ".join(safe_text(path.name) for path in absent[:_SHOWN_NOTES])
    more = f" and {len(absent) - _SHOWN_NOTES:,} more" if len(absent) > _SHOWN_NOTES else ""
    rows = sum(frames[path].height for path in absent)
    has = ", ".join(safe_text(column, limit=40) for column in frames[absent[0]].columns[:20])
    return f'no column "{safe_text(name)}" in {shown}{more} ({rows:,} rows; it has: {has})'


def _describe_kinds(name: str, kinds: Mapping[str, Path]) -> str:
    found = ", but ".join(f"{kind} in {safe_text(path.name)}" for kind, path in kinds.items())
    return f'the column "{safe_text(name)}" is {found}'


def _stack(parts: Sequence[pl.DataFrame], first: Path) -> pl.DataFrame:
    try:
        return pl.concat(parts, how="diagonal_relaxed")
    except PolarsError as error:
        shown = safe_text(str(first.parent))
        raise DataError(f"the files of {shown} have columns that do not fit together: {error}.") from error
