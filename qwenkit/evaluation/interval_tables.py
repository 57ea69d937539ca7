"""How numbers with intervals are laid out as rows of text, for the terminal, the report and report.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from qwenkit.console import safe_text
from qwenkit.evaluation.analysis import ARGMAX, AchievedPoint, Analysis
from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.slices import SliceResult
from qwenkit.evaluation.tables import TABLE_METRICS, format_number, format_percent

TableText = tuple[list[str], list[list[str]]]

SHOWN_SLICES = 15
NAME_LIMIT = 60
FEW_MARK = "*"
"""Stands behind a rate that fewer than 30 texts speak for."""


def metric_table(metrics: Mapping[str, Any], analysis: Analysis, *, only_bounded: bool = False) -> TableText:
    """Lay the metrics out with their intervals, or only those that have one."""
    rows = []
    for metric in TABLE_METRICS:
        interval = analysis.intervals.get(metric.name)
        if only_bounded and interval is None:
            continue
        bounds = "" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
        rows.append([metric.title, format_number(metrics[metric.name]), bounds])
    return ["Metric", "Value", "95\u00a0% interval"], rows


def point_table(points: Sequence[AchievedPoint]) -> TableText:
    """Lay out what each frozen threshold promised and what it did."""
    columns = ["Target FPR", "Threshold", "Promised FPR", "Achieved FPR", "Achieved TPR", "Precision"]
    return columns, [
        [
            format_percent(one.point.target_fpr),
            describe_threshold(one),
            format_range(*one.point.fpr_interval) + ("" if one.point.is_well_supported else FEW_MARK),
            format_rate(one.rates.fpr),
            format_rate(one.rates.tpr),
            format_percent(one.precision),
        ]
        for one in points
    ]


def abstention_table(points: Sequence[AchievedPoint]) -> TableText:
    """Lay out what each threshold's band of abstention leaves to be decided, and how well that is."""
    columns = [
        "Target FPR",
        "Decided on validation",
        "Decided here",
        "Wrong when all are",
        "Wrong of those decided",
    ]
    return columns, [
        [
            format_percent(one.point.target_fpr),
            format_percent(one.point.coverage),
            format_percent(one.coverage),
            format_percent(one.error),
            format_percent(one.error_when_decided),
        ]
        for one in points
    ]


def slice_table(slices: Sequence[SliceResult], decision: str, *, limit: int = SHOWN_SLICES) -> TableText:
    """Lay the worst slices of all columns out together.

    Args:
        decision: Whose rates are shown: fpr=0.01, or argmax.
    """
    target = name_target(decision)
    at = f", {target}" if target else ""
    worst = sorted(slices, key=lambda one: (one.is_small, -one.error_at(decision)))[:limit]
    return ["Slice", "Rows", f"FPR{at}", f"TPR{at}", "AUROC"], [
        [f"{cut_name(one.column)} = {cut_name(one.value)}", f"{one.rows:,}", *slice_cells(one, decision)]
        for one in worst
    ]


def cut_name(name: str) -> str:
    """Keep a name out of the data to one short line."""
    return safe_text(name, limit=NAME_LIMIT)


def name_target(decision: str) -> str:
    """Name a decision's target for people, "target 1 %"; empty where the likeliest class decides."""
    return "" if decision == ARGMAX else f"target {100 * float(decision.removeprefix('fpr=')):g}\u00a0%"


def slice_cells(one: SliceResult, decision: str) -> list[str]:
    """Give FPR, TPR and AUROC of a slice as text; an asterisk marks what too few texts speak for."""
    rates = one.rates[decision]
    few = {True: FEW_MARK, False: ""}
    auroc = (
        "–" if one.auroc is None else f"{one.auroc.value:.3f} ({one.auroc.low:.3f} to {one.auroc.high:.3f})"
    )
    return [
        format_rate(rates.fpr) + few[one.few_negatives and rates.fpr is not None],
        format_rate(rates.tpr) + few[one.few_positives and rates.tpr is not None],
        auroc + few[one.auroc is not None and _ranks_few(one)],
    ]


def _ranks_few(one: SliceResult) -> bool:
    if one.is_against_all:
        return one.few_positives if one.positives else one.few_negatives
    return one.few_positives or one.few_negatives


def describe_threshold(one: AchievedPoint) -> str:
    """Name the threshold as a probability, with enough digits to tell it from 1."""
    probability = one.point.probability
    if probability is None:
        return "flags nothing"
    return f"p ≥ {probability:.4f}" if probability < 0.9999 else f"p ≥ 1 − {1 - probability:.1e}"


def format_rate(interval: Interval | None) -> str:
    """Write a rate with its interval: 1.2 % (0.6 % to 2.1 %)."""
    if interval is None:
        return "–"
    return f"{format_percent(interval.value)} ({format_range(interval.low, interval.high)})"


def format_range(low: float, high: float) -> str:
    """Write the bounds of a rate, with two decimals where they are small."""
    digits = 2 if high < 0.02 else 1
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}\u00a0%"
