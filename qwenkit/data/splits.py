"""Which rows train, validate and test: given splits are kept, missing ones are cut, always the same way."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from math import floor

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
    marked: pl.DataFrame, ratios: Mapping[str, float], *, seed: int
) -> tuple[pl.DataFrame, list[str]]:
    """Give every kept row its final split; splits that the source lacks are cut from what it has.

    Args:
        marked: Columns row_id, split, reason (null where kept), text, label_id, domain, group.
        ratios: Share of each of the three splits.

    Returns:
        `marked` with the column destination, null for dropped rows; notes.
    """
    present = set(marked["split"].unique())
    missing = [split for split in SPLITS if split not in present]
    is_kept = pl.col("reason").is_null()
    placed = marked.with_columns(destination=pl.when(is_kept).then("split"))
    if not missing:
        return placed, []
    is_whole = UNSPLIT in present
    is_cut = is_kept & (pl.col("split") == (UNSPLIT if is_whole else "train"))
    shares = {split: ratios[split] for split in SPLITS if split == "train" or split in missing}
    to_cut = marked.filter(is_cut)
    dealt = to_cut.select("row_id", dealt=assign_splits(to_cut, shares, seed=seed))
    placed = (
        placed.join(dealt, on="row_id", how="left", maintain_order="left")
        .with_columns(destination=pl.coalesce("dealt", "destination"))
        .drop("dealt")
    )
    start = "the data come in one piece" if is_whole else f"no {' and no '.join(missing)} in the data"
    parts = ", ".join(f"{split} {share / sum(shares.values()):.3g}" for split, share in shares.items())
    strata = "label" if marked["domain"].null_count() == marked.height else "domain and label"
    what = "cut" if is_whole else "train is cut"
    return placed, [f"{start}: {what} into {parts}, stratified by {strata}, seed {seed}"]


def assign_splits(rows: pl.DataFrame, shares: Mapping[str, float], *, seed: int) -> pl.Series:
    """Deal rows out to splits, stratified by domain and label; rows of one group stay together.

    A group's place follows from its text and the seed, not from where it stands in the file: a keyed hash
    orders the groups of a stratum, and `allocate` says where the order is cut.

    Args:
        rows: Columns text, label_id, domain (text, nulls allowed) and group (int), one domain a group.
        shares: Relative size of each split wanted; they need not sum to one.

    Returns:
        Name of the split of each row, in order, shape (rows,).
    """
    stratum = ["label_id", "domain"]
    groups = rows.group_by("group", maintain_order=True).agg(
        pl.col("text").first(),
        # Copies may differ in label where they were not dropped; the smallest does not depend on their order.
        pl.col("label_id").min(),
        pl.col("domain").fill_null("").first(),
    )
    digests = hash_texts(groups["text"], seed=seed)
    groups = groups.select("group", *stratum, digest=digests).sort(*stratum, "digest")
    sizes = groups.group_by(stratum, maintain_order=True).len()["len"].to_list()
    # Sorted by stratum, so the names can be laid out one run after the other.
    counts = np.asarray(allocate(sizes, list(shares.values())), dtype=np.int64)
    names = np.repeat(np.tile(np.asarray(list(shares)), len(sizes)), counts.ravel())
    places = groups.select("group", split=pl.Series(names, dtype=pl.String))
    return rows.select("group").join(places, on="group", how="left", maintain_order="left")["split"]


def allocate(sizes: Sequence[int], shares: Sequence[float]) -> list[list[int]]:
    """Cut each stratum into parts: every count is its exact quota rounded down or up.

    What rounding took from a part is owed to it in the strata that follow, so the totals come out right too,
    even where every stratum is a single row.

    Returns:
        Shape (strata, parts); each line sums to the stratum's size.
    """
    # Exact fractions: 0.29 * 100 must not round down to 28.
    parts = [Fraction(str(share)) for share in shares]
    whole = sum(parts)
    owed = [Fraction(0)] * len(parts)
    counts = []
    for size in sizes:
        quotas = [size * part / whole for part in parts]
        line = [floor(quota) for quota in quotas]
        owed = [debt + quota - count for debt, quota, count in zip(owed, quotas, line, strict=True)]
        by_debt = sorted(range(len(parts)), key=lambda part: -owed[part])
        can_round_up = [part for part in by_debt if quotas[part] > line[part]]
        for part in can_round_up[: size - sum(line)]:
            line[part] += 1
            owed[part] -= 1
        counts.append(line)
    return counts


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
