"""How measured numbers are laid out: names of the metrics, before against after, model against baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class MetricTitle:
    """How a metric is called in tables, and which way is better."""

    name: str
    title: str
    higher_is_better: bool = True


# The no-break spaces keep a sign on its number's line where columns are narrow.
TABLE_METRICS = (
    MetricTitle(name="auroc", title="AUROC"),
    MetricTitle(name="balanced_accuracy", title="Balanced accuracy"),
    MetricTitle(name="accuracy", title="Accuracy"),
    MetricTitle(name="tpr_at_fpr_5", title="TPR at FPR 5\u00a0%"),
    MetricTitle(name="tpr_at_fpr_1", title="TPR at FPR 1\u00a0%"),
    MetricTitle(name="partial_auroc_fpr_5", title="Partial AUROC, FPR to 5\u00a0%"),
    MetricTitle(name="average_precision", title="Average precision"),
    MetricTitle(name="precision", title="Precision (weighted)"),
    MetricTitle(name="recall", title="Recall (weighted)"),
    MetricTitle(name="f1", title="F1 (weighted)"),
    MetricTitle(name="f1_macro", title="F1 (macro)"),
    MetricTitle(name="mcc", title="Matthews correlation"),
    MetricTitle(name="brier", title="Brier score", higher_is_better=False),
    MetricTitle(name="log_loss", title="Log loss", higher_is_better=False),
    MetricTitle(name="ece", title="Calibration error", higher_is_better=False),
    MetricTitle(name="loss", title="Loss as in training", higher_is_better=False),
)
# Enough to judge a baseline by; all its metrics are in metrics.json.
BASELINE_METRICS = tuple(
    metric
    for metric in TABLE_METRICS
    if metric.name in ("auroc", "balanced_accuracy", "tpr_at_fpr_5", "tpr_at_fpr_1")
)


@dataclass(frozen=True, kw_only=True)
class ComparedMetric:
    """One line of the before/after table; None where the metric is undefined on those rows."""

    metric: MetricTitle
    before: float | None
    after: float | None
    full: float | None
    """The same model as `after` on all rows that it was evaluated on."""

    @property
    def change(self) -> float | None:
        """After minus before, on the same rows."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def is_better(self) -> bool | None:
        """Whether the change is for the better; None where there is no change."""
        if not self.change:
            return None
        return (self.change > 0) == self.metric.higher_is_better


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Before and after training on the same rows, with the score on all rows beside them."""

    same_rows: int
    full_rows: int
    lines: tuple[ComparedMetric, ...]


def comparison_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Lay the before/after table out as columns and rows of text, for the terminal and the report."""
    rows = f"{comparison.same_rows:,}"
    columns = ["Metric", f"Before ({rows} rows)", f"After (same {rows})", "Change"]
    has_more_rows = comparison.full_rows > comparison.same_rows
    if has_more_rows:
        columns.append(f"After (all {comparison.full_rows:,})")
    return columns, [
        [
            line.metric.title,
            format_number(line.before),
            format_number(line.after),
            format_number(line.change, "+"),
        ]
        + ([format_number(line.full)] if has_more_rows else [])
        for line in comparison.lines
    ]


def baseline_table(
    metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """Lay the model and its baselines out as columns and rows of text, best AUROC first."""
    named = [("This model", metrics), *((titles[name], scores) for name, scores in baselines.items())]
    named.sort(key=lambda item: ranking_score(item[1]), reverse=True)
    columns = ["Classifier", *(metric.title for metric in BASELINE_METRICS)]
    return columns, [
        [title, *(format_number(scores[metric.name]) for metric in BASELINE_METRICS)]
        for title, scores in named
    ]


def ranking_score(metrics: Mapping[str, Any]) -> float:
    """Rank a model and its baselines by AUROC, or by balanced accuracy where that is undefined."""
    return float(metrics["balanced_accuracy"] if metrics["auroc"] is None else metrics["auroc"])


def format_number(value: float | None, sign: str = "") -> str:
    """Four decimals, or a dash where the metric is undefined; `sign="+"` shows the sign of a change."""
    return "–" if value is None else f"{value:{sign}.4f}"


def format_percent(share: float | None) -> str:
    """A share as a percentage with one decimal, or a dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


def comparison_as_json(comparison: Comparison) -> dict[str, Any]:
    """Lay the comparison out for metrics.json, by name of the metric."""
    return {
        "same_rows": comparison.same_rows,
        "full_rows": comparison.full_rows,
        "metrics": {
            line.metric.name: {
                "before": line.before,
                "after": line.after,
                "change": line.change,
                "full": line.full,
            }
            for line in comparison.lines
        },
    }
