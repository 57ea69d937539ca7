"""Which rows train, validate and test: given splits are kept, missing ones are cut, always the same way."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import floor, lcm

import numpy as np
import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.frames import SPLIT_NAMES, SPLITS, UNSPLIT
from qwenkit.errors import ConfigError, DataError

# Of copies in two splits the evaluation keeps its own: scores stay comparable with others' on the same test
# rows, and what a model is tested on is what it has not seen. Train has the most rows to lose.
PRECEDENCE = {"test": 0, "validation": 1, "train": 2, UNSPLIT: 2}

_HASHED_ROWS = 20_000


def choose_splits(
    splits: Mapping[str, pl.DataFrame], names: Mapping[str, str]
) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """Find which of a source's splits train, validate and test.

    Args:
        splits: By the source's own names, or {"all": frame}.
        names: For each role the name in the config; a usual other one ("val", "dev") serves in its place.

    Returns:
        Frames by role in the order train, validation, test, without the roles that the source lacks;
        {"all": frame} for a source in one piece, or whose only split has the name of no role. And notes.

    Raises:
        ConfigError: Two roles have one name.
        DataError: There are splits, but none to train on.
    """
    if len(set(names.values())) < len(names):
        raise ConfigError(f"dataset.*_split name one split twice: {', '.join(names.values())}.")
    if len(splits) == 1:
        name, frame = next(iter(splits.items()))
        if name == UNSPLIT or (name not in names.values() and not _is_role(name)):
            return {UNSPLIT: frame}, []
    chosen: dict[str, str] = {}
    for role in SPLITS:
        usual = [name for name in SPLIT_NAMES[role] if name not in names.values()]
        found = next((name for name in [names[role], *usual] if name in splits), None)
        if found:
            chosen[role] = found
    available = ", ".join(safe_text(name) for name in splits)
    if "train" not in chosen:
        wanted = safe_text(names["train"])
        raise DataError(f'split "{wanted}" is not in the data; it has: {available}. Set dataset.train_split.')
    notes = [
        f'"{safe_text(name)}" is used as {role}: there is no "{safe_text(names[role])}"'
        for role, name in chosen.items()
        if name != names[role]
    ]
    unused = [name for name in splits if name not in chosen.values()]
    if unused:
        sizes = ", ".join(f"{safe_text(name)} ({splits[name].height:,} rows)" for name in unused)
        notes.append(f"splits not used: {sizes}")
    return {role: splits[name] for role, name in chosen.items()}, notes


def place_rows(
    marked: pl.DataFrame, ratios: Mapping[str, float], *, seed: int, is_recut: bool = False
) -> tuple[pl.DataFrame, list[str]]:
    """Give every kept row its final split; splits that the source lacks are cut from what it has.

    Args:
        marked: Columns row_id, split, reason (null where kept), held (null where not held out), text,
            label_id, domain, group.
        ratios: Share of each of the three splits.
        is_recut: Throw the given splits together and cut all three anew.

    Returns:
        `marked` with the column destination, null for dropped rows and those held out; notes.
    """
    present = {UNSPLIT} if is_recut else set(marked["split"].unique())
    missing = [split for split in SPLITS if split not in present]
    is_kept = pl.col("reason").is_null() & pl.col("held").is_null()
    placed = marked.with_columns(destination=pl.when(is_kept).then("split"))
    if not missing:
        return placed, []
    is_whole = UNSPLIT in present
    is_cut = is_kept if is_whole else is_kept & (pl.col("split") == "train")
    shares = {split: ratios[split] for split in SPLITS if split == "train" or split in missing}
    to_cut = marked.filter(is_cut)
    dealt = to_cut.select("row_id", dealt=assign_splits(to_cut, shares, seed=seed))
    placed = (
        placed.join(dealt, on="row_id", how="left", maintain_order="left")
        .with_columns(destination=pl.coalesce("dealt", "destination"))
        .drop("dealt")
    )
    start = "the data come in one piece" if is_whole else f"no {' and no '.join(missing)} in the data"
    start = "the given splits are thrown together" if is_recut else start
    parts = ", ".join(f"{split} {share / sum(shares.values()):.3g}" for split, share in shares.items())
    strata = "label" if marked["domain"].null_count() == marked.height else "domain and label"
    what = "cut" if is_whole else "train is cut"
    return placed, [f"{start}: {what} into {parts}, stratified by {strata}, seed {seed}"]


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


def _is_role(name: str) -> bool:
    return any(name in names for names in SPLIT_NAMES.values())
