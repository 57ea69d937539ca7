"""Which rows train, validate and test: given splits are kept, missing ones are cut, always the same way."""

from collections.abc import Mapping, Sequence

import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.dealing import assign_splits
from qwenkit.data.frames import SPLIT_NAMES, UNSPLIT
from qwenkit.errors import ConfigError, DataError
from qwenkit.stages import SPLITS

# Of copies in two splits the evaluation keeps its own: scores stay comparable with others' on the same test
# rows, and what a model is tested on is what it has not seen. Train has the most rows to lose.
PRECEDENCE = {"test": 0, "validation": 1, "train": 2, UNSPLIT: 2}


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
    chosen = find_roles(list(splits), names)
    notes = [
        f'"{safe_text(name)}" is used as {role}: there is no "{safe_text(names[role])}"'
        for role, name in chosen.items()
        if role != UNSPLIT and name != names[role]
    ]
    unused = [name for name in splits if name not in chosen.values()]
    if unused:
        sizes = ", ".join(f"{safe_text(name)} ({splits[name].height:,} rows)" for name in unused)
        notes.append(f"splits not used: {sizes}")
    return {role: splits[name] for role, name in chosen.items()}, notes


def find_roles(available: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """Find the name under which a source has train, validation and test, as `choose_splits` tells.

    Returns:
        The source's names by role; {"all": name} for a source in one piece.

    Raises:
        ConfigError: Two roles have one name.
        DataError: There are splits, but none to train on.
    """
    if len(set(names.values())) < len(names):
        raise ConfigError(f"dataset.*_split name one split twice: {', '.join(names.values())}.")
    if len(available) == 1:
        name = available[0]
        if name == UNSPLIT or (name not in names.values() and not _is_role(name)):
            return {UNSPLIT: name}
    chosen: dict[str, str] = {}
    for role in SPLITS:
        usual = [name for name in SPLIT_NAMES[role] if name not in names.values()]
        found = next((name for name in [names[role], *usual] if name in available), None)
        if found:
            chosen[role] = found
    refuse_no_train(chosen, wanted=names["train"], available=available)
    return chosen


def refuse_no_train(chosen: Mapping[str, str], *, wanted: str, available: Sequence[str]) -> None:
    """Refuse splits none of which is there to train on."""
    if "train" not in chosen:
        shown = ", ".join(map(safe_text, available))
        raise DataError(
            f'split "{safe_text(wanted)}" is not in the data; it has: {shown}. Set dataset.train_split.'
        )


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


def _is_role(name: str) -> bool:
    return any(name in names for names in SPLIT_NAMES.values())
