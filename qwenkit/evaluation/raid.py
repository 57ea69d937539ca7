"""The RAID leaderboard's protocol: thresholds from unattacked human texts, TPR and AUROC of each split.

An implementation of our own, equal to that of the leaderboard (raid-bench 0.2) wherever that gives a result
at all; `make test-raid` holds one against the other. Where that one sorts every split anew, this one computes
once what a row adds to any split, and then only sums.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from qwenkit.console import safe_text
from qwenkit.errors import DataError

COLUMNS = ("domain", "attack", "model", "decoding", "repetition_penalty")
"""What a split is named by, in the order in which the leaderboard lists the splits."""
HUMAN, UNATTACKED, ALL = "human", "none", "all"
TARGET_FPRS = (0.05, 0.01)
EPSILON = 0.0005
MAX_ITERATIONS = 50


def normalise_ranks(scores: np.ndarray) -> np.ndarray:
    """Turn scores into their ranks over [0, 1], float64, equal ones sharing the mean of theirs.

    The leaderboard looks for its thresholds in steps of a half and less: scores crowded near 0 or 1 would
    all fall between two steps. Ranks keep the order, so nothing else changes.
    """
    if len(scores) < 2:
        return np.full(len(scores), 0.5)
    _, value_ids, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    midranks = last - (counts - 1) / 2
    return np.asarray(((midranks - 1) / (len(scores) - 1))[value_ids], dtype=np.float64)


def run_protocol(
    rows: pl.DataFrame,
    *,
    target_fprs: Sequence[float] = TARGET_FPRS,
    per_domain: bool = True,
    epsilon: float = EPSILON,
    require_complete: bool = True,
) -> dict[str, Any]:
    """Evaluate scored RAID rows as the leaderboard does.

    Args:
        rows: id, score (higher is more machine-like; null where there is none), domain, attack, model,
            decoding and repetition_penalty; model is "human" for human texts.
        per_domain: Choose a threshold for each domain.
        require_complete: Leave out splits in which a score is missing.

    Returns:
        scores (a list of splits), thresholds and fpr, as in the leaderboard's results.json.

    Raises:
        DataError: A domain has no scored, unattacked human text to choose a threshold on.
    """
    rows = rows.with_columns(pl.col("score").cast(pl.Float64).fill_nan(None))
    thresholds, fprs = choose_thresholds(
        rows, target_fprs=target_fprs, per_domain=per_domain, epsilon=epsilon
    )
    scores = score_splits(rows, thresholds, require_complete=require_complete)
    withdraw_failed(scores, fprs, epsilon=epsilon)
    return {"scores": scores, "thresholds": thresholds, "fpr": fprs}


def choose_thresholds(
    rows: pl.DataFrame, *, target_fprs: Sequence[float], per_domain: bool, epsilon: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose thresholds by target FPR (and domain); the second dictionary holds the FPR that each has."""
    humans = rows.filter(
        (pl.col("model") == HUMAN) & (pl.col("attack") == UNATTACKED) & pl.col("score").is_not_null()
    )
    places = rows["domain"].unique(maintain_order=True).to_list() if per_domain else [None]
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for target in target_fprs:
        by_domain = {}
        for domain in places:
            own = humans if domain is None else humans.filter(pl.col("domain") == domain)
            by_domain[domain] = search_threshold(
                own["score"].to_numpy(), target_fpr=target, epsilon=epsilon, name=domain
            )
        for place, values in enumerate(found):
            values[str(target)] = (
                {domain: pair[place] for domain, pair in by_domain.items()}
                if per_domain
                else by_domain[None][place]
            )
    return found


def search_threshold(
    human_scores: np.ndarray, *, target_fpr: float, epsilon: float, name: str | None = None
) -> tuple[float, float]:
    """Search for a threshold as the leaderboard does: from the mean, in steps that are halved when overshot.

    After 50 steps the best of those tried counts: the least FPR at or below the target, but above 0, else the
    least above it.

    Returns:
        The threshold, and its FPR.

    Raises:
        DataError: There is no human text, or every threshold tried flags none of them.
    """
    where = "" if name is None else f' of the domain "{safe_text(name, limit=60)}"'
    if not len(human_scores):
        raise DataError(
            f"RAID's protocol needs scores of unattacked human texts{where}: score all rows of the file."
        )
    ascending = np.sort(human_scores)
    # The plain sum, in the order of the rows, is what the leaderboard starts from.
    threshold = sum(human_scores.tolist()) / len(human_scores)
    tried: list[tuple[float, float]] = []
    step, previous = 0.5, None
    while abs((fpr := _measure_fpr(ascending, threshold)) - target_fpr) > epsilon:
        tried.append((threshold, fpr))
        distance = target_fpr - fpr
        if previous and (distance < 0) != (previous < 0):
            step *= -0.5
        elif previous and abs(distance) - abs(previous) > 0.01:
            step *= -1
        threshold += step
        previous = distance
        if len(tried) >= MAX_ITERATIONS:
            threshold = _choose_best_tried(tried, target_fpr, where)
            return threshold, _measure_fpr(ascending, threshold)
    return threshold, fpr


def score_splits(
    rows: pl.DataFrame, thresholds: Mapping[str, Any], *, require_complete: bool
) -> list[dict[str, Any]]:
    """Measure every split of machine texts: TPR at each threshold, AUROC against the humans of its domain."""
    humans, machine = rows.filter(pl.col("model") == HUMAN), rows.filter(pl.col("model") != HUMAN)
    order = {name: machine[name].unique(maintain_order=True).to_list() for name in COLUMNS}
    prepared = _count_wins(machine, humans, thresholds)
    incomplete = {ALL: humans["score"].null_count() > 0}
    with_scores = {ALL: humans["score"].count() > 0}
    for (domain,), own in humans.group_by("domain"):
        incomplete[domain] = own["score"].null_count() > 0
        with_scores[domain] = own["score"].count() > 0
    records = {}
    for is_all in product((False, True), repeat=len(COLUMNS)):
        named = [name for name, everything in zip(COLUMNS, is_all, strict=True) if not everything]
        grouped = prepared.drop_nulls(named)
        for split in _sum_splits(grouped, named, thresholds, is_over_domains=is_all[0]).iter_rows(named=True):
            place = {name: split.get(name, ALL) for name in COLUMNS}
            if not with_scores.get(place["domain"]) or not split["scored"]:
                continue
            if require_complete and (split["scored"] < split["rows"] or incomplete[place["domain"]]):
                continue
            records[tuple(place.values())] = _describe_split(place, split, thresholds)
    ranks = [{value: rank for rank, value in enumerate([*order[name], ALL])} for name in COLUMNS]
    ordered = sorted(records, key=lambda key: [rank[value] for rank, value in zip(ranks, key, strict=True)])
    return [records[key] for key in ordered]


def withdraw_failed(scores: list[dict[str, Any]], fprs: Mapping[str, Any], *, epsilon: float) -> None:
    """Set the rates of domains whose threshold misses its target to None, and then those over all domains."""
    withdrawn = set()
    for record in scores:
        if record["domain"] == ALL:
            continue
        for target in record["accuracy"]:
            achieved = fprs[target][record["domain"]] if isinstance(fprs[target], dict) else fprs[target]
            if achieved - float(target) > epsilon:
                record["accuracy"][target] = None
                withdrawn.add(target)
    for record in scores:
        if record["domain"] == ALL:
            record["accuracy"] |= dict.fromkeys(withdrawn)


def describe_results(metadata: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Put results.json together; the hashes that only the leaderboard can make are left to it."""
    optional = ("website", "paper_link", "huggingface_link", "github_link", "additional_metadata")
    return {
        **dict.fromkeys(("date_released", "detector_name", "contact_info", *optional)),
        **metadata,
        "score_agg": {
            "all": _find_overall(found["scores"], ALL),
            "no_adversarial": _find_overall(found["scores"], UNATTACKED),
        },
        **found,
    }


def _find_overall(scores: Sequence[Mapping[str, Any]], attack: str) -> Mapping[str, Any]:
    wanted = dict.fromkeys(COLUMNS, ALL) | {"attack": attack}
    for record in scores:
        if all(record[name] == value for name, value in wanted.items()):
            return record
    return {"_note": "Some rows have no score, so there is none over all of them."}


def _measure_fpr(ascending: np.ndarray, threshold: float) -> float:
    # 1 - accuracy, as the leaderboard computes it: the last bit differs from the share of flagged texts.
    return 1 - float(np.searchsorted(ascending, threshold, side="left") / len(ascending))


def _choose_best_tried(tried: Sequence[tuple[float, float]], target_fpr: float, where: str) -> float:
    distances = [(target_fpr - fpr, threshold) for threshold, fpr in tried if fpr > 0.0]
    if not distances:
        raise DataError(
            f"no threshold that RAID's search tries flags any human text{where}: their scores are all but "
            "equal. Give rank-normalised scores."
        )
    kept = [pair for pair in distances if pair[0] >= 0]
    return (min(kept) if kept else max(distances))[1]


def _count_wins(machine: pl.DataFrame, humans: pl.DataFrame, thresholds: Mapping[str, Any]) -> pl.DataFrame:
    """Compute once what each row adds to any split: humans that it beats, and thresholds that it reaches."""
    scores = machine["score"].to_numpy()
    domains = machine["domain"].to_numpy()
    columns = {
        "wins_all": _share_beaten(scores, humans["score"]),
        "wins_domain": np.full(len(scores), np.nan),
    }
    flags = {target: np.zeros(len(scores), dtype=bool) for target in thresholds}
    for domain in machine["domain"].unique().to_list():
        rows = domains == domain
        own = humans.filter(pl.col("domain") == domain)["score"]
        columns["wins_domain"][rows] = _share_beaten(scores[rows], own)
        for target, chosen in thresholds.items():
            threshold = chosen[domain] if isinstance(chosen, Mapping) else chosen
            flags[target][rows] = scores[rows] >= threshold
    return machine.select(*COLUMNS, "score").with_columns(
        [pl.Series(name, values) for name, values in columns.items()]
        + [pl.Series(f"flag_{target}", values) for target, values in flags.items()]
    )


def _share_beaten(scores: np.ndarray, human_scores: pl.Series) -> np.ndarray:
    """Share of the humans below each score, ties counted half; the mean over a split is its AUROC."""
    ascending = np.sort(human_scores.drop_nulls().to_numpy())
    if not len(ascending):
        return np.full(len(scores), np.nan)
    below = np.searchsorted(ascending, scores, side="left")
    return (below + np.searchsorted(ascending, scores, side="right")) / (2 * len(ascending))


def _sum_splits(
    rows: pl.DataFrame, named: Sequence[str], thresholds: Mapping[str, Any], *, is_over_domains: bool
) -> pl.DataFrame:
    is_scored = pl.col("score").is_not_null()
    sums = [
        pl.len().alias("rows"),
        is_scored.sum().alias("scored"),
        pl.col("wins_all" if is_over_domains else "wins_domain").filter(is_scored).mean().alias("auroc"),
        *(pl.col(f"flag_{target}").filter(is_scored).sum().alias(f"found_{target}") for target in thresholds),
    ]
    return rows.group_by(named).agg(sums) if named else rows.select(sums)


def _describe_split(
    place: Mapping[str, str], split: Mapping[str, Any], thresholds: Mapping[str, Any]
) -> dict[str, Any]:
    rates: dict[str, Any] = {}
    for target in thresholds:
        found = int(split[f"found_{target}"])
        rates[target] = {"tp": found, "fn": split["scored"] - found, "accuracy": found / split["scored"]}
    names = ("domain", "model", "decoding", "repetition_penalty", "attack")
    return {**{name: place[name] for name in names}, "accuracy": rates, "auroc": float(split["auroc"])}
