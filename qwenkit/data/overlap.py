"""What the given splits share, and what is done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any, Literal

import polars as pl

from qwenkit.stages import SPLITS

Leakage = Literal["report", "drop_from_train", "drop_from_eval", "resplit"]

# Who keeps its rows where a group stands in several splits.
_FIRST_KEPT: Mapping[str, Sequence[str]] = {
    "drop_from_train": ("test", "validation", "train"),
    "drop_from_eval": ("train", "validation", "test"),
}
WARNED_SHARE = 0.01


@dataclass(frozen=True)
class Overlap:
    """What one split shares with another.

    Attributes:
        split, other: Whose rows are counted, and what they are held against.
        rows: Clean rows of the split.
        exact: Rows, as they came, whose very text is in the other split too. Cleaning left it to one of them.
        near: Clean rows with a row of their group in the other split.
        domains: The same three numbers by domain; empty where the data have none.
    """

    split: str
    other: str
    rows: int
    exact: int
    near: int
    domains: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def near_share(self) -> float:
        return self.near / self.rows if self.rows else 0.0

    def to_json(self) -> dict[str, Any]:
        """Lay it out as overlap.json has it."""
        return {**asdict(self), "near_share": round(self.near_share, 6)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Overlap":
        """Read what `to_json` wrote."""
        return cls(**{name: value for name, value in content.items() if name != "near_share"})


def measure_overlap(grouped: pl.DataFrame) -> tuple[Overlap, ...]:
    """Count what every two given splits share, both ways; nothing where the data came in one piece.

    Args:
        grouped: Columns split, reason, copy_of, group, domain.
    """
    splits = [name for name in SPLITS if name in set(grouped["split"].unique())]
    reason = pl.col("reason")
    usable = grouped.filter(reason.is_null() | (reason == "duplicate"))
    stands_in = [
        (pl.col("split") == split).any().over(key).alias(f"{kind}_{split}")
        for split in splits
        for kind, key in (("exact", "copy_of"), ("near", "group"))
    ]
    usable = usable.select("split", "domain", reason.is_null().alias("is_kept"), *stands_in)
    # over() counts dropped rows, whose group is null, as one group.
    near = {split: pl.col("is_kept") & pl.col(f"near_{split}") for split in splits}
    found = []
    for split, other in permutations(splits, 2):
        counts = [
            pl.col("is_kept").sum().alias("rows"),
            pl.col(f"exact_{other}").sum().alias("exact"),
            near[other].sum().alias("near"),
        ]
        own = usable.filter(pl.col("split") == split)
        by_domain = own.drop_nulls("domain").group_by("domain").agg(counts).sort("domain")
        domains = {row.pop("domain"): row for row in by_domain.to_dicts()}
        found.append(
            Overlap(split=split, other=other, **own.select(counts).row(0, named=True), domains=domains)
        )
    return tuple(found)


def drop_leaks(grouped: pl.DataFrame, policy: Leakage) -> pl.DataFrame:
    """Drop rows whose group another given split holds too, where the policy says so, as `leak`."""
    if policy not in _FIRST_KEPT:
        return grouped
    order = {split: place for place, split in enumerate(_FIRST_KEPT[policy])}
    place = pl.col("split").replace_strict(order, default=0, return_dtype=pl.Int64)
    is_kept = pl.col("reason").is_null() & pl.col("held").is_null()
    is_leak = is_kept & (place > place.filter(is_kept).min().over("group"))
    return grouped.with_columns(reason=pl.when(is_leak).then(pl.lit("leak")).otherwise("reason"))


def describe_leaks(overlaps: Sequence[Overlap], policy: Leakage) -> tuple[list[str], list[str]]:
    """Say what leaks into the evaluation: notes and warnings."""
    notes: list[str] = []
    warnings: list[str] = []
    for each in overlaps:
        if each.other != "train" or not each.near:
            continue
        share = f"{each.near:,} of {each.rows:,} {each.split} rows ({each.near_share:.1%})"
        fact = f"{share} have a near-duplicate in train"
        if policy == "report":
            advice = (
                "scores there are too good. Set dataset.leakage to drop_from_train, drop_from_eval or resplit"
            )
            (warnings if each.near_share > WARNED_SHARE else notes).append(f"{fact}: {advice}.")
        else:
            done = (
                "all splits are cut anew"
                if policy == "resplit"
                else f"dropped as {policy.removeprefix('drop_')} says"
            )
            notes.append(f"as the splits came, {fact}; {done}")
    return notes, warnings


def find_leaks(grouped: pl.DataFrame) -> pl.DataFrame:
    """Mark the rows outside train whose group train holds: what a model saw something like of.

    Args:
        grouped: Columns destination and group; null in both for dropped rows.

    Returns:
        The same with `leaks_from_train`.
    """
    in_train = pl.col("destination").eq_missing("train")
    leaks = pl.col("destination").is_not_null() & ~in_train & in_train.any().over("group")
    return grouped.with_columns(leaks_from_train=leaks)
