"""Which rows must stay together: copies, near-duplicates, and what came from one source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from qwenkit.config.schema_model import NearDuplicates
from qwenkit.console import safe_text
from qwenkit.data.components import join_labels
from qwenkit.data.duplicates import NearDuplicateRule, find_clusters
from qwenkit.data.rows import collect_columns

# RAID's names: the human text that a machine text continues, and the text that an attack was made from.
SOURCE_COLUMNS = ("source_id", "adv_source_id")
# In RAID both hold values of this one; elsewhere it may count rows, and share nothing with a source's number.
ROW_ID_COLUMN = "id"

# A corpus' name under such a heading would make one group of half the set; true ids are rarer than this.
COMMONEST_ID_SHARE, COMMONEST_ID_ROWS = 0.01, 100

LARGE_SHARE, LARGE_ROWS = 0.01, 100


@dataclass(frozen=True)
class GroupSummary:
    """How the kept rows fall into groups.

    Attributes:
        groups: Of any size, those of a single row included.
        rows_in_company: Rows that share their group with another.
        columns: Columns that joined rows, besides the texts themselves.
    """

    rows: int
    groups: int
    rows_in_company: int
    largest: int
    columns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Lay it out as audit.json has it."""
        return {**vars(self), "columns": list(self.columns)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "GroupSummary":
        """Read what `to_json` wrote."""
        return cls(**{**content, "columns": tuple(content["columns"])})

    @property
    def is_largest_too_large(self) -> bool:
        """Tell whether one group is so large that it decides what the splits hold."""
        return self.largest > max(LARGE_ROWS, LARGE_SHARE * self.rows)


def group_rows(
    marked: pl.DataFrame,
    sources: Mapping[str, pl.DataFrame],
    *,
    columns: Sequence[str] | None,
    near_duplicates: NearDuplicates,
) -> tuple[pl.DataFrame, GroupSummary, list[str]]:
    """Give every kept row its group.

    Args:
        marked: What `find_dropped` gives; row_id is the row's place.
        sources: The frames that it was made from.
        columns: Columns whose equal values join rows; None takes RAID's where they are there.

    Returns:
        `marked` with `group`: the smallest row_id of the group, null for dropped rows; a summary; notes.

    Raises:
        DataError: A column that is named is not there.
    """
    is_usable = pl.col("reason").is_null() | (pl.col("reason") == "duplicate")
    usable = marked.filter(is_usable)
    # Dropped copies count: which one was kept must not decide what their ids join.
    labels = join_labels(np.arange(marked.height), usable["row_id"].to_numpy(), usable["copy_of"].to_numpy())
    kept = marked.filter(pl.col("reason").is_null()).select("row_id", "text")
    rows = kept["row_id"].to_numpy()
    if near_duplicates.enabled:
        rule = NearDuplicateRule(
            threshold=near_duplicates.threshold,
            shingle_words=near_duplicates.shingle_words,
            permutations=near_duplicates.permutations,
        )
        labels = join_labels(labels, rows, rows[find_clusters(kept["text"], rule)])
    used, notes = [], []
    for names in _choose_columns(sources, columns):
        ids = _list_ids(usable, sources, names)
        shown = " and ".join(map(safe_text, names))
        if columns is None and _is_too_common(ids, usable.height):
            notes.append(f"{shown} groups no rows: one value stands in too many to be a source's id")
            continue
        used += names
        labels = join_labels(labels, ids["row_id"].to_numpy(), ids["first"].to_numpy())
    groups = pl.DataFrame({"row_id": rows, "label": labels[rows]}).with_columns(
        group=pl.col("row_id").min().over("label")
    )
    sizes = groups.group_by("group").len()["len"]
    summary = GroupSummary(
        rows=groups.height,
        groups=len(sizes),
        rows_in_company=int(sizes.filter(sizes > 1).sum()),
        largest=int(sizes.max() or 0),  # type: ignore[arg-type]
        columns=tuple(used),
    )
    found = groups.select("row_id", "group")
    return marked.join(found, on="row_id", how="left", maintain_order="left"), summary, notes


def describe_groups(summary: GroupSummary) -> tuple[list[str], list[str]]:
    """Say what was grouped: notes and warnings."""
    if not summary.rows_in_company:
        return [], []
    by = " and ".join(
        ["near-duplicates", *([f"equal {', '.join(summary.columns)}"] if summary.columns else [])]
    )
    notes = [
        f"{summary.rows_in_company:,} of {summary.rows:,} rows share a group with others ({by}); "
        f"{summary.groups:,} groups, the largest of {summary.largest:,} rows"
    ]
    if not summary.is_largest_too_large:
        return notes, []
    share = summary.largest / summary.rows
    warning = (
        f"one group holds {summary.largest:,} rows ({share:.0%}), linked by shared boilerplate or a common "
        "source: it cannot be split. If these are no copies, raise dataset.near_duplicates.threshold."
    )
    return notes, [warning]


def _choose_columns(sources: Mapping[str, pl.DataFrame], wanted: Sequence[str] | None) -> list[list[str]]:
    """List the columns to join by; those in one list share their values."""
    if wanted is not None:
        return [[name] for name in wanted]
    present = {column for frame in sources.values() for column in frame.columns}
    found = [name for name in SOURCE_COLUMNS if name in present]
    if "adv_source_id" in found and ROW_ID_COLUMN in present:
        return [[*found, ROW_ID_COLUMN]]
    return [[name] for name in found]


def _list_ids(
    usable: pl.DataFrame, sources: Mapping[str, pl.DataFrame], names: Sequence[str]
) -> pl.DataFrame:
    """List every row with its values, and for each value the first row that has it: row_id, id, first."""
    values = collect_columns(sources, names, kind="group", setting="dataset.group_columns")[usable["row_id"]]
    ids = pl.concat([usable.select("row_id", id=values[name]) for name in names])
    ids = ids.filter(pl.col("id").str.strip_chars() != "").unique()
    return ids.with_columns(first=pl.col("row_id").min().over("id"))


def _is_too_common(ids: pl.DataFrame, rows: int) -> bool:
    counts = ids.group_by("id").len()["len"]
    return bool(len(counts)) and counts.max() > max(COMMONEST_ID_ROWS, COMMONEST_ID_SHARE * rows)  # type: ignore
