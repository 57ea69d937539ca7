"""Rows dealt out by their shares: groups whole, every domain and label alike, by content and not by place."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import floor, lcm

import numpy as np
import polars as pl

_HASHED_ROWS = 20_000


def assign_splits(rows: pl.DataFrame, shares: Mapping[str, float], *, seed: int) -> pl.Series:
    """Deal rows out to splits, stratified by domain and label; rows of one group stay together.

    A row's place follows from the texts and the seed, not from where it stands in the file: keyed hashes
    order groups and single rows. Groups are dealt first, the largest first, each to the split that its
    domains and labels owe most. Then single rows fill every domain and label up to its shares.

    Args:
        rows: Columns text, label_id, domain (text, nulls allowed) and group (int).
        shares: Relative size of each split wanted; they need not sum to one.

    Returns:
        Name of the split of each row, in order, shape (rows,).
    """
    stratum = ["label_id", "domain"]
    rows = rows.select(*stratum, "group", digest=hash_texts(rows["text"], seed=seed))
    rows = rows.with_columns(pl.col("domain").fill_null(""))
    strata = rows.select(stratum).unique().sort(stratum).with_row_index("stratum")
    rows = rows.join(strata, on=stratum, how="left", maintain_order="left")
    rows = rows.with_columns(size=pl.len().over("group"), group_digest=pl.col("digest").min().over("group"))
    names = list(shares)
    dealt, owed = _deal_groups(rows.filter(pl.col("size") > 1), list(shares.values()), n_strata=strata.height)
    singles = rows.filter(pl.col("size") == 1).select("group", "stratum", "digest").sort("stratum", "digest")
    sizes = np.bincount(singles["stratum"].to_numpy(), minlength=strata.height).tolist()
    # Sorted by stratum, so the places can be laid out one run after the other.
    counts = np.asarray(allocate(sizes, list(shares.values()), owed), dtype=np.int64)
    parts = np.repeat(np.tile(np.arange(len(names)), len(sizes)), counts.ravel())
    places = pl.concat([singles.select("group", part=pl.Series(parts, dtype=pl.Int64)), dealt])
    parts = (
        rows.select("group").join(places, on="group", how="left", maintain_order="left")["part"].to_numpy()
    )
    return pl.Series(np.asarray(names)[parts], dtype=pl.String)


def _deal_groups(
    rows: pl.DataFrame, shares: Sequence[float], *, n_strata: int
) -> tuple[pl.DataFrame, list[list[Fraction]]]:
    """Deal whole groups to the splits that are owed most.

    The largest of all would otherwise come last, when no split has room for them. What a split is owed grows
    with every group by its share of it, so groups of any size are spread over the splits by their shares:
    within the strata of the group, and overall where a stratum has too few groups for that.

    Returns:
        group and part (place among the shares); rows owed to each part when all are dealt, (strata, parts).
    """
    parts = [Fraction(str(share)) for share in shares]
    # In whole numbers, exact and fast: a row is `whole` units, of which part k deserves units[k].
    scale = lcm(*(part.denominator for part in parts))
    units = [int(part * scale) for part in parts]
    whole = sum(units)
    owed = [[0] * len(parts) for _ in range(n_strata)]
    overall = [0] * len(parts)
    counts = rows.group_by("group", "size", "group_digest", "stratum").len()
    groups = (
        counts.sort("stratum")
        .group_by("group", "size", "group_digest", maintain_order=True)
        .agg("stratum", "len")
        .sort("size", "group_digest", descending=[True, False])
    )
    chosen = []
    for size, strata, numbers in groups.select("size", "stratum", "len").iter_rows():
        for stratum, number in zip(strata, numbers, strict=True):
            owed[stratum] = [debt + number * unit for debt, unit in zip(owed[stratum], units, strict=True)]
        overall = [debt + size * unit for debt, unit in zip(overall, units, strict=True)]
        debts = [sum(owed[stratum][part] for stratum in strata) + overall[part] for part in range(len(parts))]
        part = debts.index(max(debts))
        chosen.append(part)
        overall[part] -= size * whole
        for stratum, number in zip(strata, numbers, strict=True):
            owed[stratum][part] -= number * whole
    places = groups.select("group", part=pl.Series(chosen, dtype=pl.Int64))
    return places, [[Fraction(debt, whole) for debt in line] for line in owed]


def allocate(
    sizes: Sequence[int], shares: Sequence[float], owed: Sequence[Sequence[Fraction]] | None = None
) -> list[list[int]]:
    """Cut each stratum into parts: every count is its exact quota rounded down or up.

    What rounding took from a part is owed to it in the strata that follow, so the totals come out right too,
    even where every stratum is a single row.

    Args:
        owed: Rows by which each part is short in each stratum already, shape (strata, parts), negative where
            it has too many. Quotas make up for them as far as the stratum's rows go.

    Returns:
        Shape (strata, parts); each line sums to the stratum's size.
    """
    # Exact fractions: 0.29 * 100 must not round down to 28.
    parts = [Fraction(str(share)) for share in shares]
    whole = sum(parts)
    lost = [Fraction(0)] * len(parts)
    counts = []
    for stratum, size in enumerate(sizes):
        quotas = [size * part / whole for part in parts]
        if owed is not None:
            quotas = _make_up([quota + debt for quota, debt in zip(quotas, owed[stratum], strict=True)], size)
        line = [floor(quota) for quota in quotas]
        lost = [debt + quota - count for debt, quota, count in zip(lost, quotas, line, strict=True)]
        by_debt = sorted(range(len(parts)), key=lambda part: -lost[part])
        can_round_up = [part for part in by_debt if quotas[part] > line[part]]
        for part in can_round_up[: size - sum(line)]:
            line[part] += 1
            lost[part] -= 1
        counts.append(line)
    return counts


def _make_up(quotas: Sequence[Fraction], size: int) -> list[Fraction]:
    """Give nothing to who has too much already, and the others less by the same factor."""
    positive = [max(quota, Fraction(0)) for quota in quotas]
    total = sum(positive)
    return [quota * size / total for quota in positive] if total else list(positive)


def hash_texts(texts: pl.Series, *, seed: int) -> pl.Series:
    """Hash each text with the seed as key: 16 bytes that stay the same over machines and versions.

    polars' own hash is faster, but changes between its versions.
    """
    key = str(seed).encode()
    digests = [
        blake2b(text.encode(), key=key, digest_size=16).digest()
        for start in range(0, len(texts), _HASHED_ROWS)
        for text in texts.slice(start, _HASHED_ROWS)
    ]
    return pl.Series(digests, dtype=pl.Binary)
