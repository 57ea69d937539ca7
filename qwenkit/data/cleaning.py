"""Which rows are dropped, and why: one reason a row, so that in = kept + dropped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

NOT_SAMPLED = "not_sampled"
"""Left out since max_rows, or the limit of a split, is smaller than what there is."""

# Checked in this order; a row is counted under the first that fits. The last three depend on the splits.
REASONS = (
    "null",
    "empty",
    "unknown_label",
    "conflicting_label",
    "duplicate",
    "leak",
    "held_out",
    NOT_SAMPLED,
)

# One visible character: no space of any script, no control, no format (zero-width) or other ignorable one,
# and no blank Braille cell, which Unicode counts as a symbol.
VISIBLE = r"[^\s\p{Cc}\p{Cf}\p{DI}\x{2800}]"

# Precedence and row id make one sortable integer.
_ROW_ID_RANGE = 1 << 40


@dataclass(frozen=True)
class SplitAccount:
    """What became of the rows of one split: rows_in = kept + the sum of dropped."""

    rows_in: int
    kept: int
    dropped: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Lay it out as audit.json has it."""
        return {"in": self.rows_in, "kept": self.kept, "dropped": dict(self.dropped)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "SplitAccount":
        """Read what `to_json` wrote."""
        return cls(content["in"], content["kept"], content["dropped"])


def find_dropped(rows: pl.DataFrame, *, deduplicate: bool) -> pl.DataFrame:
    """Give every row the reason for which it is dropped, or null where it is kept.

    Two texts are the same if every character is (as in the original's MD5): "a" and "a " differ. Over all
    splits together, a text with two labels goes altogether, for no copy of it can be trusted; of copies with
    one label the first in order of `precedence` stays. Near-duplicates are not looked at here.

    Args:
        rows: Columns row_id, split, precedence (of the split: lower is kept), text, label (text), label_id
            (null where unknown), domain; any order.
        deduplicate: False keeps all copies inside the split that has precedence, whatever their labels; those
            in other splits still go, so that no text is ever in two.

    Returns:
        `rows` in their order, with `reason`, `copy_of` (row_id of the copy that has precedence), `is_overlap`
            (dropped, because another split holds the same text and label). All copies of a text get one
            domain, the smallest, so that nothing later depends on which copy stayed.
    """
    rows = rows.with_columns(
        reason=pl.when(pl.col("text").is_null() | pl.col("label").is_null())
        .then(pl.lit("null"))
        .when(~pl.col("text").str.contains(VISIBLE))
        .then(pl.lit("empty"))
        .when(pl.col("label_id").is_null())
        .then(pl.lit("unknown_label"))
    )
    place = pl.col("precedence").cast(pl.Int64) * _ROW_ID_RANGE + pl.col("row_id")
    # To group by all texts would hold all of them twice. polars' hash is good for this one look: texts whose
    # hash stands once are no copies; the rest are compared in full.
    usable = rows.filter(pl.col("reason").is_null()).select("row_id", hash=pl.col("text").hash())
    maybe_copies = usable.filter(pl.col("hash").is_duplicated())["row_id"]
    copies = rows.filter(pl.col("row_id").is_in(maybe_copies.implode())).select(
        "row_id",
        first_place=place.min().over("text"),
        is_conflict=(pl.col("label_id").min() != pl.col("label_id").max()).over("text"),
        domain=pl.col("domain").min().over("text"),
    )
    found = rows.select("row_id").join(copies, on="row_id", how="left", maintain_order="left")
    is_alone = found["first_place"].is_null()
    rows = rows.with_columns(
        is_conflict=found["is_conflict"].fill_null(False),
        first_place=pl.when(is_alone).then(place).otherwise(found["first_place"]),
        domain=pl.when(is_alone).then("domain").otherwise(found["domain"]),
    )
    is_elsewhere = pl.col("precedence") != pl.col("first_place") // _ROW_ID_RANGE
    is_copy = place != pl.col("first_place") if deduplicate else is_elsewhere
    is_conflict = pl.col("is_conflict") if deduplicate else pl.col("is_conflict") & is_elsewhere
    rows = rows.with_columns(
        reason=pl.coalesce(
            "reason",
            pl.when(is_conflict).then(pl.lit("conflicting_label")),
            pl.when(is_copy).then(pl.lit("duplicate")),
        )
    )
    return rows.with_columns(
        copy_of=pl.col("first_place") % _ROW_ID_RANGE,
        is_overlap=pl.col("reason").eq_missing("duplicate") & is_elsewhere,
    ).drop("is_conflict", "first_place")


def count_rows(marked: pl.DataFrame) -> dict[str, SplitAccount]:
    """Account for the rows of each split as it came, from the reason of each; every reason is listed."""
    kept = pl.col("reason").is_null()
    sizes = marked.group_by("split", maintain_order=True).agg(pl.len(), kept=kept.sum())
    dropped = dict.fromkeys(sizes["split"], dict.fromkeys(REASONS, 0))
    for split, reason, count in marked.filter(~kept).group_by("split", "reason").len().rows():
        dropped[split] = dropped[split] | {reason: count}
    return {split: SplitAccount(rows_in, left, dropped[split]) for split, rows_in, left in sizes.rows()}


def describe_overlap(marked: pl.DataFrame) -> list[str]:
    """Say how many rows of a split went because another split, which has precedence, holds the same text."""
    counts = marked.filter("is_overlap").group_by("split", maintain_order=True).len().rows()
    return [
        f"{count:,} duplicates in {split} are copies of rows in another split, which keeps them"
        for split, count in counts
    ]
