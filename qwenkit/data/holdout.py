"""Whole generators or domains that training never sees, kept as test splits of their own."""

import re
from collections.abc import Mapping, Sequence

import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.labels import list_values
from qwenkit.data.rows import collect_columns
from qwenkit.errors import DataError

PREFIX = "test_holdout_"


def name_split(column: str) -> str:
    """Name the split that holds what is kept out by a column; it becomes a file's name."""
    return PREFIX + (re.sub(r"[^\w.+-]+", "_", column).strip("._") or "column")


def mark_held_out(
    marked: pl.DataFrame, sources: Mapping[str, pl.DataFrame], holdout: Mapping[str, Sequence[str]]
) -> pl.DataFrame:
    """Find the rows to keep out of train and validation.

    Args:
        marked: What `find_dropped` gives; row_id is the row's place.
        holdout: Values by column. A row that two columns name belongs to the first.

    Returns:
        `marked` with `held`: the split that the row goes to, null for all others.

    Raises:
        DataError: A column is missing, or has no such value.
    """
    held = pl.lit(None, dtype=pl.String)
    if not holdout:
        return marked.with_columns(held=held)
    columns = collect_columns(sources, list(holdout), kind="holdout", setting="dataset.holdout")
    for column, values in holdout.items():
        _require_values(columns[column], column, values)
        # Of copies any may have been kept: what one of them says goes for all.
        is_named = columns[column].is_in(list(values)).fill_null(False)
        held = pl.coalesce(held, pl.when(is_named).then(pl.lit(name_split(column))))
    marked = marked.with_columns(held=held)
    is_copy = pl.col("reason").is_null() | (pl.col("reason") == "duplicate")
    shared = pl.when(is_copy).then(pl.col("held").min().over("copy_of", is_copy))
    return marked.with_columns(held=pl.coalesce(shared, "held"))


def place_held_out(placed: pl.DataFrame) -> pl.DataFrame:
    """Send the rows that are held out to their splits, once all others have theirs.

    Where other rows of its group are in train or validation, a row is dropped instead (`held_out`): a test of
    the unseen must not hold what was seen.

    Args:
        placed: Columns reason, group, held, destination (null so far where held is set).
    """
    is_held = pl.col("held").is_not_null() & pl.col("reason").is_null()
    is_seen = pl.col("destination").is_in(["train", "validation"]).fill_null(False).any().over("group")
    return placed.with_columns(
        reason=pl.when(is_held & is_seen).then(pl.lit("held_out")).otherwise("reason"),
        destination=pl.when(is_held & ~is_seen).then("held").otherwise("destination"),
    )


def complete_classes(splits: Mapping[str, pl.DataFrame], split: str) -> pl.DataFrame:
    """Give a held-out split with test's rows of the classes that it lacks; any other split as it is."""
    frame = splits[split]
    if not split.startswith(PREFIX):
        return frame
    others = splits["test"].filter(~pl.col("label_id").is_in(frame["label_id"].unique().to_list()))
    return pl.concat([frame, others], how="diagonal_relaxed").sort("row_id")


def _require_values(values: pl.Series, column: str, wanted: Sequence[str]) -> None:
    counts = dict(values.drop_nulls().value_counts(sort=True).rows())
    missing = [value for value in wanted if value not in counts]
    if missing:
        names = ", ".join(f'"{safe_text(value, limit=40)}"' for value in missing)
        found = f"{safe_text(column)} has no {names}; it has: {list_values(counts)}"
        raise DataError(f"dataset.holdout: {found}.")
