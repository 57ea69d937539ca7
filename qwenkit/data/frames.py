"""Rows in memory become polars frames, with their splits where they have some."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.console import safe_text
from qwenkit.data.shards import Drift
from qwenkit.errors import DataError

UNSPLIT = "all"

# The three roles, each with the names that data sets in the wild give it.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}

_HASHED_ROWS = 20_000


@dataclass(frozen=True)
class RawData:
    """Rows as they came, before any cleaning.

    Attributes:
        splits: By the source's own split names; {"all": frame} for data that came in one piece.
        notes: What a person should know about how it was read.
        left_out: Rows that were read and not taken, by split, where there are any.
        drift: How the files of a folder differ; nothing where there is one.
    """

    splits: Mapping[str, pl.DataFrame]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)


def split_by_column(frame: pl.DataFrame) -> RawData:
    """Take a set apart by its column `split` if every value there names a split; else it is in one piece."""
    if "split" not in frame.columns or frame.schema["split"] != pl.String:
        return RawData({UNSPLIT: frame})
    values = frame["split"].unique(maintain_order=True).to_list()
    roles = {value: role for role, names in SPLIT_NAMES.items() for value in values if value in names}
    if len(roles) < len(values) or "train" not in roles.values():
        return RawData({UNSPLIT: frame}, tuple(_explain_unused(frame["split"], roles)))
    role = pl.col("split").replace_strict(roles)
    splits = {name: frame.filter(role == name) for name in SPLIT_NAMES if name in roles.values()}
    return RawData(splits, ('split as the column "split" says',))


def _explain_unused(values: pl.Series, roles: Mapping[str, str]) -> Iterator[str]:
    """Say why a column that does name splits is not followed."""
    if not roles:
        return
    other = next((value for value in values.unique(maintain_order=True) if value not in roles), None)
    missing = f'rows with "{safe_text(other, limit=40)}"' if other else "rows without a value"
    why = "no row of train" if len(roles) == values.n_unique() else missing
    yield f'the column "split" is not followed, for it has {why}: all rows are taken as one set'


def to_raw(data: Any) -> RawData:
    """Accept rows in memory: a mapping of split name to rows (a DatasetDict too), or one set of rows."""
    if isinstance(data, RawData):
        return data
    if isinstance(data, Mapping) and data and all(_is_rows(rows) for rows in data.values()):
        return RawData({str(name): to_frame(rows) for name, rows in data.items()})
    return split_by_column(to_frame(data))


def to_frame(data: Any) -> pl.DataFrame:
    """Turn one set of rows into a polars frame.

    Args:
        data: polars, pandas, pyarrow, a datasets.Dataset (class labels become their names), a list of
            dicts (one a row) or a dict of lists (one a column).

    Raises:
        DataError: It is something else, or its rows do not fit together.
    """
    try:
        if isinstance(data, pl.LazyFrame):
            return data.collect()
        if isinstance(data, pl.DataFrame):
            return data
        if _is_from(data, "datasets", "Dataset"):
            return _name_classes(data.to_polars(), data.features)
        if _is_from(data, "pandas", "DataFrame"):
            return pl.from_pandas(data)
        if _is_from(data, "pyarrow", "Table"):
            return pl.DataFrame(data)
        if isinstance(data, Mapping):
            return pl.DataFrame(dict(data))
        if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
            return pl.DataFrame(list(data), infer_schema_length=None)
    except (PolarsError, TypeError, ValueError, UnicodeEncodeError) as error:
        raise DataError(
            f"the {type(data).__name__} given as rows does not fit into columns: {error}"
        ) from error
    raise DataError(
        "rows are expected as a DataFrame, a datasets.Dataset, a pyarrow.Table, a list of dicts or a dict of "
        f"lists; found {'nothing' if isinstance(data, Sequence) and not data else type(data).__name__}."
    )


def frame_identity(frame: pl.DataFrame) -> str:
    """Hash column names, types and values: the same for equal content, however it lies in memory.

    Python's ASCII form of the rows is what is hashed. Arrow buffers differ by slicing and by what lies under
    a null, JSON makes NaN and null one, and polars' own hash changes between versions.

    Raises:
        DataError: A column holds Python objects, which have no content to hash.
    """
    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        raise DataError(f"the column {safe_text(objects[0])} holds Python objects, not values.")
    digest = hashlib.sha256(ascii(list(frame.schema.items())).encode())
    for rows in frame.iter_slices(_HASHED_ROWS):
        digest.update(ascii(rows.rows()).encode())
    return digest.hexdigest()


def _is_rows(data: Any) -> bool:
    """Tell a set of rows from a single column: a column is a plain list, an array or a Series."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(row, Mapping) for row in data)
    return isinstance(data, (Mapping, pl.DataFrame, pl.LazyFrame)) or any(
        _is_from(data, *kind)
        for kind in (("datasets", "Dataset"), ("pandas", "DataFrame"), ("pyarrow", "Table"))
    )


def _is_from(data: Any, package: str, class_name: str) -> bool:
    """Tell a library's class without importing the library."""
    return any(
        base.__module__.split(".")[0] == package and base.__name__ == class_name
        for base in type(data).__mro__
    )


def _name_classes(frame: pl.DataFrame, features: Mapping[str, Any]) -> pl.DataFrame:
    """Replace the integers of class-label columns by their names; -1 (no label, as in GLUE) by null."""
    named = {
        column: dict(enumerate(feature.names))
        for column, feature in features.items()
        if _is_from(feature, "datasets", "ClassLabel")
    }
    return frame.with_columns(
        pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)
        for column, names in named.items()
    )
