"""Everything that is said of one set of predictions with its uncertainty, from one round of draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qwenkit.evaluation.bootstrap import Interval, Resampling, draw_metrics
from qwenkit.evaluation.delong import delong_interval
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.operating_points import GROUP_COLUMN
from qwenkit.evaluation.predictions import read_logits
from qwenkit.evaluation.slices import (
    Rates,
    Slice,
    SliceMeasure,
    SliceResult,
    bound_slice,
    choose_slice_columns,
    cut_slices,
    describe_interval,
    sort_worst_first,
)
from qwenkit.evaluation.uncertainty import (
    ScoredRows,
    bound_differences,
    bound_metrics,
    join_measures,
    measure_drawn,
    pick_drawn,
)
from qwenkit.metrics import log_odds
from qwenkit.modeling.operating_point import OperatingPoint
from qwenkit.probabilities import softmax

ARGMAX = "argmax"
"""The decision for the likeliest class: what there is without an operating point."""
CURVE_POINTS = 20
LEAD_METRICS = ("auroc", "balanced_accuracy", "tpr_at_fpr_5", "tpr_at_fpr_1")
"""What the model is held against its baselines by."""


@dataclass(frozen=True, kw_only=True)
class AchievedPoint:
    """An operating point on rows that it was not chosen on: what it promised and what it did."""

    point: OperatingPoint
    rates: Rates
    confusion: tuple[tuple[int, int], tuple[int, int]]
    """Rows as true x decided, the positive class first."""
    coverage: float
    """Share of rows outside the band of abstention."""
    error_when_decided: float | None
    """Share of those that are decided wrongly."""

    @property
    def precision(self) -> float | None:
        """Share of the flagged rows that are positive, in this mix of classes."""
        flagged = self.confusion[0][0] + self.confusion[1][0]
        return self.confusion[0][0] / flagged if flagged else None

    @property
    def error(self) -> float:
        """Share of all rows that the threshold decides wrongly."""
        (_, missed), (accused, _) = self.confusion
        return (missed + accused) / sum(map(sum, self.confusion))

    def to_json(self) -> dict[str, Any]:
        """Lay it out for metrics.json."""
        return {
            "target_fpr": self.point.target_fpr,
            "threshold_log_odds": self.point.threshold,
            "threshold_probability": self.point.probability,
            "promised": {
                "fpr": self.point.fpr,
                "fpr_interval": list(self.point.fpr_interval),
                "tpr": self.point.tpr,
                "negatives": self.point.negatives,
                "is_well_supported": self.point.is_well_supported,
            },
            "achieved": {
                "fpr": describe_interval(self.rates.fpr),
                "tpr": describe_interval(self.rates.tpr),
                "precision": self.precision,
                "confusion_matrix": [list(row) for row in self.confusion],
            },
            "abstaining": {"coverage": self.coverage, "error_when_decided": self.error_when_decided},
        }


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What stands beside the plain metrics."""

    intervals: Mapping[str, Interval]
    points: Sequence[AchievedPoint] = ()
    slices: Sequence[SliceResult] = ()
    """Worst first, column by column."""
    coverage_curve: Sequence[tuple[float, float]] = ()
    """(share of rows decided, share of those decided wrongly), the surest rows first."""
    baseline_leads: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    """By baseline and metric: what the model has more than it."""
    auroc_delong: Interval | None = None
    draws: int = 0
    n_groups: int = 0

    @property
    def main_decision(self) -> str:
        """The decision that slices are judged by."""
        return choose_main_decision([one.point for one in self.points])

    def to_json(self) -> dict[str, Any]:
        """Lay it out for metrics.json."""
        return {
            "intervals": {
                **{name: describe_interval(interval) for name, interval in self.intervals.items()},
                "auroc_delong": describe_interval(self.auroc_delong),
            },
            "bootstrap": {"draws": self.draws, "groups": self.n_groups, "level": 0.95},
            "operating_points": {one.point.name: one.to_json() for one in self.points},
            "coverage_curve": [
                {"coverage": coverage, "error": error} for coverage, error in self.coverage_curve
            ],
            "slices": [one.to_json() for one in self.slices],
            "baseline_leads": {
                name: {metric: describe_interval(lead) for metric, lead in leads.items()}
                for name, leads in self.baseline_leads.items()
            },
        }


def analyse(
    evaluation: Evaluation,
    *,
    points: Sequence[OperatingPoint] = (),
    slice_columns: Sequence[str] = (),
    domain_columns: Sequence[str] = (),
    baseline_logits: Mapping[str, np.ndarray] | None = None,
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
    draws: int = 1_000,
    seed: int = 42,
) -> Analysis:
    """Measure everything with its interval; no model is needed.

    Args:
        points: Chosen on validation; applied here as they are.
        slice_columns: Named by the user, so they must be there.
        domain_columns: Known from the data.
        baseline_logits: By baseline, logits in the order of the predictions.
        baselines: Their metrics.
        draws: Of the bootstrap.
    """
    rows = read_scored(evaluation)
    points = points if rows.n_classes == 2 else ()
    scores = score_positive(rows)
    resampling = _resample(evaluation, rows, draws=draws, seed=seed)
    columns = choose_slice_columns(evaluation.predictions, wanted=slice_columns, known=domain_columns)
    everything = Slice(column="", value="all", row_numbers=np.arange(len(scores)))
    cuts = [everything, *cut_slices(evaluation.predictions, columns)]
    measures = _measure_slices(cuts, rows, scores, points)
    others = {
        name: ScoredRows(logits=logits, label_ids=rows.label_ids, positive_id=rows.positive_id)
        for name, logits in (baseline_logits or {}).items()
    }
    parts = [("model", measure_drawn(rows))]
    parts += [(f"baseline-{name}", measure_drawn(other, LEAD_METRICS)) for name, other in others.items()]
    parts += [(f"slice-{number}", measure) for number, measure in enumerate(measures)]
    drawn = draw_metrics(resampling, join_measures(parts))
    of_model = pick_drawn(drawn, "model")
    results = [
        bound_slice(
            cut,
            measure,
            pick_drawn(drawn, f"slice-{number}"),
            resampling=resampling,
            is_positive=rows.is_positive,
        )
        for number, (cut, measure) in enumerate(zip(cuts, measures, strict=True))
    ]
    whole, *sliced = results
    return Analysis(
        intervals=bound_metrics(evaluation.metrics, of_model, rows, resampling),
        points=[
            _describe_point(point, scores, rows.is_positive, whole.rates[point.name]) for point in points
        ],
        slices=_order_slices(sliced, columns, decision=choose_main_decision(points)),
        coverage_curve=trace_coverage(rows),
        baseline_leads={
            name: bound_differences(
                (baselines or {})[name], evaluation.metrics, pick_drawn(drawn, f"baseline-{name}"), of_model
            )
            for name in others
        },
        auroc_delong=_bound_by_delong(scores, rows.is_positive) if rows.n_classes == 2 else None,
        draws=draws,
        n_groups=resampling.n_groups,
    )


def choose_main_decision(points: Sequence[OperatingPoint]) -> str:
    """Name the decision that slices are judged by: the strictest well supported target, else the argmax."""
    supported = [point for point in points if point.is_well_supported]
    return min(supported, key=lambda point: point.target_fpr).name if supported else ARGMAX


def trace_coverage(rows: ScoredRows) -> list[tuple[float, float]]:
    """Trace what abstaining buys: the error among the surest rows, from the surest few to all of them.

    Rows that are equally sure are decided together.
    """
    tempered = np.sort(rows.tempered, axis=1)
    sureness = tempered[:, -1] - tempered[:, -2]
    is_wrong = rows.predicted_ids != rows.label_ids
    order = np.argsort(-sureness, kind="stable")
    errors = np.cumsum(is_wrong[order])
    ends = np.append(np.flatnonzero(np.diff(sureness[order])), len(order) - 1) + 1
    wanted = np.linspace(1 / CURVE_POINTS, 1, CURVE_POINTS) * len(order)
    chosen = np.unique(ends[np.minimum(np.searchsorted(ends, wanted - 1e-9), len(ends) - 1)])
    return [(float(end / len(order)), float(errors[end - 1] / end)) for end in chosen]


def read_scored(evaluation: Evaluation) -> ScoredRows:
    """Read logits and truth of an evaluation's rows, in their order."""
    return ScoredRows(
        logits=read_logits(evaluation.predictions, evaluation.labels).astype(np.float64),
        label_ids=evaluation.predictions["label_id"].to_numpy(),
        positive_id=evaluation.labels.index(evaluation.positive_label),
        temperature=evaluation.temperature,
    )


def score_positive(rows: ScoredRows) -> np.ndarray:
    """Score rows by how positive they are: the calibrated log-odds, or the probability among more classes."""
    if rows.n_classes == 2:
        return log_odds(rows.logits, rows.positive_id, temperature=rows.temperature)
    return np.asarray(softmax(rows.tempered)[:, rows.positive_id])


def flag_rows(
    rows: ScoredRows, scores: np.ndarray, points: Sequence[OperatingPoint]
) -> dict[str, np.ndarray]:
    """Tell which rows are called positive, by decision: the likeliest class, and each frozen threshold."""
    flagged = {ARGMAX: rows.predicted_ids == rows.positive_id}
    return flagged | {point.name: point.flag(scores) for point in points}


def _resample(evaluation: Evaluation, rows: ScoredRows, *, draws: int, seed: int) -> Resampling:
    has_groups = GROUP_COLUMN in evaluation.predictions.columns
    groups = evaluation.predictions[GROUP_COLUMN].to_numpy() if has_groups else None
    return Resampling(rows.label_ids, groups=groups, draws=draws, seed=seed)


def _measure_slices(
    cuts: Sequence[Slice], rows: ScoredRows, scores: np.ndarray, points: Sequence[OperatingPoint]
) -> list[SliceMeasure]:
    flagged = flag_rows(rows, scores, points)
    return [
        SliceMeasure(
            cut.row_numbers,
            scores=scores,
            is_positive=rows.is_positive,
            is_correct=rows.predicted_ids == rows.label_ids,
            flagged=flagged,
        )
        for cut in cuts
    ]


def _order_slices(
    slices: Sequence[SliceResult], columns: Sequence[str], *, decision: str
) -> list[SliceResult]:
    by_column = {column: [one for one in slices if one.column == column] for column in columns}
    return [one for found in by_column.values() for one in sort_worst_first(found, decision)]


def _describe_point(
    point: OperatingPoint, scores: np.ndarray, is_positive: np.ndarray, rates: Rates
) -> AchievedPoint:
    flagged, is_decided = point.flag(scores), ~point.abstain(scores)
    wrong = flagged != is_positive
    return AchievedPoint(
        point=point,
        rates=rates,
        confusion=(
            (int((flagged & is_positive).sum()), int((~flagged & is_positive).sum())),
            (int((flagged & ~is_positive).sum()), int((~flagged & ~is_positive).sum())),
        ),
        coverage=float(is_decided.mean()),
        error_when_decided=float(wrong[is_decided].mean()) if is_decided.any() else None,
    )


def _bound_by_delong(scores: np.ndarray, is_positive: np.ndarray) -> Interval | None:
    if min(is_positive.sum(), (~is_positive).sum()) < 2:
        return None
    return delong_interval(scores, is_positive)
