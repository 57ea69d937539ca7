"""Choosing thresholds on validation, where the test cannot see it, and fitting the temperature there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from scipy.optimize import minimize_scalar
from scipy.special import betaincinv

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.evaluation.tables import format_percent
from qwenkit.metrics import check_scores, cross_entropy, find_positive_id, log_odds
from qwenkit.modeling.bundle import read_bundle
from qwenkit.modeling.operating_point import OperatingPoint, name_operating_point

GROUP_COLUMN = "group"
TARGET_FPRS = (0.05, 0.01, 0.001)
# A target below this is offered only where it allows several false positives on validation.
RARE_FPR = 0.01
TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What validation says about a model's scores: how to temper them, and where to cut."""

    temperature: float
    points: dict[str, OperatingPoint]


def calibrate(
    logits: np.ndarray,
    label_ids: np.ndarray,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    groups: np.ndarray | None = None,
    target_fprs: Sequence[float] = TARGET_FPRS,
) -> Calibration:
    """Fit the temperature and choose the operating points on validation rows.

    Args:
        logits: Of the validation rows, shape (rows, classes).
        label_ids: Their classes, shape (rows,).
        groups: Group of near-duplicates of each row, shape (rows,); None takes rows for independent.
        target_fprs: 0.1 % and the like are left out where validation has too few negatives for them.

    Returns:
        Without operating points where there are more than two classes, or one of the two has no row.
    """
    logits, label_ids = check_scores(logits, label_ids, n_classes=len(labels))
    temperature = fit_temperature(logits, label_ids)
    if len(labels) != 2 or len(np.unique(label_ids)) < 2:
        return Calibration(temperature=temperature, points={})
    positive_id = find_positive_id(labels, positive_label)
    scores = log_odds(logits, positive_id, temperature=temperature)
    chosen = [
        choose_operating_point(scores, label_ids == positive_id, target_fpr=target, groups=groups)
        for target in target_fprs
    ]
    kept = [point for point in chosen if point.target_fpr >= RARE_FPR or point.is_well_supported]
    return Calibration(temperature=temperature, points={point.name: point for point in kept})


def fit_temperature(logits: np.ndarray, label_ids: np.ndarray) -> float:
    """Find the temperature that makes the true classes likeliest.

    Where every row is right the loss only falls as the logits grow, so nothing says how sure the model may
    be: it stays 1. The ranking and the likeliest class of a row never change.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if not len(logits) or (logits.argmax(axis=1) == label_ids).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return cross_entropy(logits / np.exp(log_temperature), label_ids)

    # Convex in 1 / temperature, so there is one minimum on any monotone scale of it.
    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def choose_operating_point(
    scores: np.ndarray, is_positive: np.ndarray, *, target_fpr: float, groups: np.ndarray | None = None
) -> OperatingPoint:
    """Choose the threshold for a target FPR and say what it promises.

    Args:
        scores: Log-odds of the positive class, shape (rows,).
        is_positive: Truth, shape (rows,); both classes must be there.
        groups: Group of each row; a group counts as one text in how sure the promise is.
    """
    negatives, positives = scores[~is_positive], scores[is_positive]
    threshold = choose_threshold(negatives, positives, target_share=target_fpr)
    cleared = choose_threshold(-positives, -negatives, target_share=target_fpr)
    n_groups = len(negatives) if groups is None else len(np.unique(groups[~is_positive]))
    independent = n_groups / len(negatives)
    flagged = negatives >= (np.inf if threshold is None else threshold)
    point = OperatingPoint(
        target_fpr=target_fpr,
        threshold=threshold,
        clearance=None if cleared is None else -cleared,
        fpr=float(flagged.mean()),
        fpr_interval=promise_rate(flagged.sum() * independent, len(negatives) * independent),
        tpr=float((positives >= (np.inf if threshold is None else threshold)).mean()),
        coverage=0.0,
        negatives=len(negatives),
    )
    return point.model_copy(update={"coverage": float(1 - point.abstain(scores).mean())})


def choose_threshold(kept_out: np.ndarray, wanted: np.ndarray, *, target_share: float) -> float | None:
    """Find the threshold that at most a share of the scores to be kept out reach.

    It is the lowest of those scores that may be let in, not the lowest value above the first that may not:
    between the two lies luck. The expected share on new texts is then at most the target, where the looser
    one would exceed it (with 3,000 negatives and a target of 0.1 % by a third). Equal scores are let in
    together or not at all, so ties only lower the share.

    Args:
        kept_out: Scores of the class that must not reach the threshold, shape (rows,).
        wanted: Scores of the other class. They matter only where not one may be let in: the threshold is then
            the lowest of them above all that is kept out.

    Returns:
        None where nothing may be let in.
    """
    values, counts = np.unique(kept_out, return_counts=True)
    let_in = np.cumsum(counts[::-1])[::-1]
    allowed = values[let_in / len(kept_out) <= target_share]
    if len(allowed):
        return float(allowed[0])
    above = wanted[wanted > values[-1]]
    return float(above.min()) if len(above) else None


def promise_rate(flagged: float, negatives: float) -> tuple[float, float]:
    """Bound the rate at which new negatives reach a threshold placed at the k-th highest one, 95 %.

    The rate is then distributed as Beta(k, n + 1 - k), whatever the distribution of the scores; with ties it
    is lower. Source: order statistics, e.g. David and Nagaraja 2003, section 7.2.
    """
    if flagged == 0:
        return 0.0, float(betaincinv(1, negatives, 0.95))
    low, high = betaincinv(flagged, negatives + 1 - flagged, np.array([0.025, 0.975]))
    return float(low), float(high)


def find_operating_point(
    target_fpr: float,
    stored: Mapping[str, OperatingPoint],
    *,
    labels: Sequence[str],
    positive_label: str,
    predictions_path: Path | None,
) -> OperatingPoint:
    """Take a stored operating point, or choose one on the stored validation predictions; no model is needed.

    Args:
        stored: The points in qwenkit.json, by name.
        predictions_path: The validation predictions beside the trained model, where they are at hand. Its own
            temperature counts: an export may have it in the weights.

    Raises:
        ConfigError: There are more than two classes.
        ArtifactError: It is not stored, and there are no validation predictions to choose it on.
    """
    name = name_operating_point(target_fpr)
    if name in stored:
        return stored[name]
    if len(labels) != 2:
        raise ConfigError(f"an operating point needs two classes; this model has {len(labels)}.")
    if predictions_path is None or not predictions_path.is_file():
        known = ", ".join(stored) or "none"
        raise ArtifactError(
            f"the model has no operating point {name} (it has: {known}), and its validation predictions are "
            "not at hand to choose one on: name the run that it was trained in."
        )
    predictions = pl.read_parquet(predictions_path)
    positive_id = find_positive_id(labels, positive_label)
    logits = predictions.select([f"logit_{label}" for label in labels]).to_numpy()
    is_positive = predictions["label_id"].to_numpy() == positive_id
    if is_positive.all() or not is_positive.any():
        raise ArtifactError(
            f"{predictions_path} has rows of one class only: no threshold can be chosen on them."
        )
    temperature = read_bundle(predictions_path.parent).temperature
    scores = log_odds(logits, positive_id, temperature=temperature)
    groups = predictions[GROUP_COLUMN].to_numpy() if GROUP_COLUMN in predictions.columns else None
    return choose_operating_point(scores, is_positive, target_fpr=target_fpr, groups=groups)


def describe_points(points: Mapping[str, OperatingPoint]) -> tuple[list[str], list[list[str]]]:
    """Lay operating points out as columns and rows of text: what each promises."""
    columns = ["target FPR", "threshold", "FPR on validation", "expected on new texts", "TPR", "decided"]
    return columns, [
        [
            format_percent(point.target_fpr),
            "flags nothing" if point.probability is None else f"p ≥ {point.probability:.6f}",
            format_percent(point.fpr),
            f"{format_percent(point.fpr_interval[0])} to {format_percent(point.fpr_interval[1])}"
            + ("" if point.is_well_supported else f" (only {point.negatives:,} negatives)"),
            format_percent(point.tpr),
            format_percent(point.coverage),
        ]
        for point in points.values()
    ]
