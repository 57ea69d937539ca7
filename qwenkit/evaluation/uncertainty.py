"""How sure the numbers are: an interval beside every metric, and one for the difference of two models."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

from qwenkit.evaluation.bootstrap import (
    NORMAL_QUANTILE,
    Interval,
    Measure,
    Resampling,
    bound_perfection,
    count_groups,
    percentile_interval,
    share_interval,
)
from qwenkit.evaluation.weighted import RankedRows, average_precision, count_confusions, mean_of, mean_recall
from qwenkit.metrics import log_odds, matthews_correlation
from qwenkit.probabilities import log_softmax, softmax

BOUNDED_METRICS = (
    "auroc",
    "balanced_accuracy",
    "accuracy",
    "tpr_at_fpr_5",
    "tpr_at_fpr_1",
    "average_precision",
    "mcc",
    "brier",
    "log_loss",
)


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """Logits and truth of some rows, as everything here needs them."""

    logits: np.ndarray
    label_ids: np.ndarray
    positive_id: int
    temperature: float = 1.0

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[1])

    @property
    def is_positive(self) -> np.ndarray:
        """Truth about the positive class, shape (rows,)."""
        return np.asarray(self.label_ids == self.positive_id)

    @property
    def predicted_ids(self) -> np.ndarray:
        """Likeliest class of each row, shape (rows,)."""
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def tempered(self) -> np.ndarray:
        """Logits over the temperature, float64."""
        return np.asarray(self.logits / np.float64(self.temperature))

    def score_curves(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Give (scores, truth) of the positive class, or of each class where there are more than two."""
        if self.n_classes == 2:
            return [(log_odds(self.logits, self.positive_id), self.is_positive)]
        probabilities = softmax(self.logits)
        return [(probabilities[:, k], self.label_ids == k) for k in range(self.n_classes)]


def measure_drawn(rows: ScoredRows, names: Collection[str] = BOUNDED_METRICS) -> Measure:
    """Prepare the metrics of compute_metrics that get an interval, to be counted draw after draw.

    Args:
        names: The ones wanted; what looks at a fixed FPR is left out with more than two classes.
    """
    curves = [(*curve, RankedRows(*curve)) for curve in rows.score_curves()]
    every = np.arange(len(rows.label_ids))
    losses = -log_softmax(rows.tempered)[every, rows.label_ids]
    errors = ((softmax(rows.tempered) - np.eye(rows.n_classes)[rows.label_ids]) ** 2).sum(axis=1)
    errors /= 2 if rows.n_classes == 2 else 1
    confused = (rows.label_ids, rows.predicted_ids, rows.n_classes)

    def average(ranking: Callable[..., np.ndarray]) -> np.ndarray:
        return np.asarray(np.mean([ranking(*curve) for curve in curves], axis=0))

    measures: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "accuracy": lambda counts: mean_of(counts, rows.predicted_ids == rows.label_ids),
        "balanced_accuracy": lambda counts: mean_recall(count_confusions(counts, *confused)),
        "mcc": lambda counts: matthews_correlation(count_confusions(counts, *confused)),
        "log_loss": lambda counts: mean_of(counts, losses),
        "brier": lambda counts: mean_of(counts, errors),
        "auroc": lambda counts: average(lambda scores, truth, ranked: ranked.auroc(counts)),
        "average_precision": lambda counts: average(
            lambda scores, truth, ranked: average_precision(counts, scores, truth)
        ),
    }
    if len(curves) == 1:
        ranked = curves[0][2]
        measures["tpr_at_fpr_5"] = lambda counts: ranked.tpr_at_fpr(counts, 0.05)
        measures["tpr_at_fpr_1"] = lambda counts: ranked.tpr_at_fpr(counts, 0.01)
    wanted = {name: measures[name] for name in names if name in measures}
    return lambda counts: {name: measure(counts) for name, measure in wanted.items()}


def bound_metrics(
    metrics: Mapping[str, Any],
    drawn: Mapping[str, np.ndarray],
    rows: ScoredRows,
    resampling: Resampling,
) -> dict[str, Interval]:
    """Give each metric its 95 % interval; one that is undefined on these rows has none."""
    found: dict[str, Interval | None] = {
        name: percentile_interval(float(metrics[name]), drawn[name])
        for name in BOUNDED_METRICS
        if name in drawn and metrics.get(name) is not None
    }
    n_rows = len(rows.label_ids)
    hits = float((rows.predicted_ids == rows.label_ids).sum())
    found["accuracy"] = share_interval(hits, n_rows, drawn["accuracy"], n_groups=resampling.n_groups)
    if "auroc" in found:
        found["auroc"] = bound_perfection(
            found["auroc"], n_groups=count_smaller_class_groups(rows.label_ids, resampling)
        )
    return {name: interval for name, interval in found.items() if interval is not None}


def count_smaller_class_groups(label_ids: np.ndarray, resampling: Resampling) -> int:
    """Count the groups of the class that has fewest."""
    return min(count_groups(resampling.group_ids, label_ids == k) for k in np.unique(label_ids))


def bound_differences(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    first_drawn: Mapping[str, np.ndarray],
    second_drawn: Mapping[str, np.ndarray],
) -> dict[str, Interval]:
    """Bound what the second model has more than the first, both measured on the same draws."""
    found = {
        name: percentile_interval(
            float(second[name]) - float(first[name]), second_drawn[name] - first_drawn[name]
        )
        for name in BOUNDED_METRICS
        if name in first_drawn and name in second_drawn
        if first.get(name) is not None and second.get(name) is not None
    }
    return {name: interval for name, interval in found.items() if interval is not None}


def bound_paired_share(gained: int, lost: int, rows: int, *, n_groups: int) -> Interval | None:
    """Bound how a share of rows changes, where the same rows are decided twice.

    It says something even where no decision changes, which draws of the rows cannot.

    Args:
        gained, lost: Rows that are hit only the second time, and only the first time.
        n_groups: Groups among the rows; they count as so many independent ones.

    Source: Bonett and Price 2012, adjusted Wald interval for paired binomial proportions.
    """
    if not rows:
        return None
    independent = n_groups / rows
    size = rows * independent + 2
    shares = (gained * independent + 1) / size, (lost * independent + 1) / size
    middle = shares[0] - shares[1]
    reach = NORMAL_QUANTILE * float(np.sqrt((sum(shares) - middle**2) / size))
    value = (gained - lost) / rows
    return Interval(value=value, low=min(middle - reach, value), high=max(middle + reach, value))


def compare_decisions(first_correct: np.ndarray, second_correct: np.ndarray) -> dict[str, float | int]:
    """Test whether two models err equally often on the same rows: McNemar's test, exact.

    Args:
        first_correct: Whether the first model is right on each row, boolean, shape (rows,).

    Returns:
        Rows that only one of them gets right, and the two-sided p-value; groups of rows are not considered.
    """
    only_first = int((first_correct & ~second_correct).sum())
    only_second = int((second_correct & ~first_correct).sum())
    differing = only_first + only_second
    p_value = float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    return {"only_first_right": only_first, "only_second_right": only_second, "p_value": p_value}


def join_measures(measures: Sequence[tuple[str, Measure]]) -> Measure:
    """Measure several things on the same draws; names become `prefix/name`."""

    def measure(counts: np.ndarray) -> dict[str, np.ndarray]:
        return {
            f"{prefix}/{name}": values for prefix, part in measures for name, values in part(counts).items()
        }

    return measure


def pick_drawn(drawn: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Take one part's metrics back out of what join_measures gave."""
    start = f"{prefix}/"
    return {name[len(start) :]: values for name, values in drawn.items() if name.startswith(start)}
