"""The report's first sentences: what the scores come to, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.interval_tables import format_rate
from qwenkit.evaluation.page import ReportContext, show_name, show_others
from qwenkit.evaluation.tables import format_percent, ranking_score
from qwenkit.text.probes import PROBES

# Closer than this, neither the model nor the baseline is called better.
LEVEL_MARGIN = 0.01
# Of 100 negatives, one may be flagged at FPR 1 %; with fewer, none.
ROWS_FOR_ONE_PERCENT = 100


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Three sentences; `tone` is good, level, bad (a baseline wins), or plain where nothing was compared."""

    tone: str
    result: str
    against_baselines: str
    at_low_fpr: str


def write_verdict(context: ReportContext) -> Verdict:
    """Say how good the model is, whether a simple baseline does better, and what a false accusation costs."""
    leads = {} if context.analysis is None else context.analysis.baseline_leads
    tone, against_baselines = _judge_against_baselines(context.evaluation.metrics, context.baselines, leads)
    return Verdict(
        tone=tone,
        result=_describe_result(context.evaluation),
        against_baselines=against_baselines,
        at_low_fpr=_describe_frozen(context) or _describe_low_fpr(context.evaluation),
    )


def _describe_result(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    balanced = f"balanced accuracy {metrics['balanced_accuracy']:.3f}"
    correct = format_percent(metrics["accuracy"])
    if metrics["auroc"] is None:
        return (
            f"On {metrics['rows']:,} rows the model is right for {correct} ({balanced}). Not every class has "
            "rows here, so AUROC and the like are undefined."
        )
    n_classes = len(evaluation.labels)
    if n_classes > 2:
        return (
            f"On {metrics['rows']:,} rows the model picks the right one of {n_classes} classes for {correct} "
            f"({balanced}; guessing gives {1 / n_classes:.3f}). Each class against the rest has a mean AUROC "
            f"of {metrics['auroc']:.3f}."
        )
    return (
        f"On {metrics['rows']:,} rows the model tells {show_name(evaluation.positive_label)} from "
        f"{show_others(evaluation)} with AUROC {metrics['auroc']:.3f} and {balanced}; guessing gives 0.5 for "
        "both."
    )


def _judge_against_baselines(
    metrics: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    leads: Mapping[str, Mapping[str, Interval]],
) -> tuple[str, str]:
    """Say who wins; where the lead has an interval, only one that excludes 0 is a win."""
    if not baselines:
        return "plain", ""
    best = max(baselines, key=lambda name: ranking_score(baselines[name]))
    lead = ranking_score(metrics) - ranking_score(baselines[best])
    measure = "balanced accuracy" if metrics["auroc"] is None else "AUROC"
    interval = leads.get(best, {}).get("balanced_accuracy" if metrics["auroc"] is None else "auroc")
    low, high = (lead, lead) if interval is None else (interval.low, interval.high)
    margin = LEVEL_MARGIN if interval is None else 0.0
    bounds = _show_bounds(interval)
    named = f"{PROBES[best].title} ({measure} {ranking_score(baselines[best]):.3f})"
    if low > margin:
        return "good", f"It beats the best simple baseline, {named}, by {lead:.3f}{bounds}."
    if high < -margin:
        by = f"{-lead:.3f}{_show_bounds(interval, sign=-1)}"
        return "bad", f"A simple baseline beats it by {by}: {named}, which uses no language model at all."
    if interval is not None:
        return (
            "level",
            f"It does not beat the best simple baseline, {named}, by more than chance allows: the difference "
            f"is {lead:+.3f}{bounds}.",
        )
    return (
        "level",
        f"It is level with the best simple baseline, {named}, which uses no language model at all.",
    )


def _show_bounds(interval: Interval | None, *, sign: int = 1) -> str:
    """Show the interval of a lead; the sign turns that of one side into that of the other."""
    if interval is None:
        return ""
    low, high = sorted((sign * interval.low, sign * interval.high))
    return f" (95 % interval {low:+.3f} to {high:+.3f})"


def _describe_frozen(context: ReportContext) -> str:
    """Say what the threshold does that was fixed beforehand; an empty string where there is none."""
    analysis = context.analysis
    point = (
        next((one for one in analysis.points if one.point.name == analysis.main_decision), None)
        if analysis
        else None
    )
    if point is None or point.rates.fpr is None or point.rates.tpr is None:
        return ""
    positive, negative = show_name(context.evaluation.positive_label), show_others(context.evaluation)
    return (
        f"At the threshold fixed on validation for a false-positive rate of "
        f"{format_percent(point.point.target_fpr)}, it wrongly flags {format_rate(point.rates.fpr)} of the "
        f"{negative} rows and finds {format_rate(point.rates.tpr)} of the {positive} rows."
    )


def _describe_low_fpr(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    if metrics["tpr_at_fpr_1"] is None:
        return ""
    positive, negative = show_name(evaluation.positive_label), show_others(evaluation)
    n_negatives = metrics["rows"] - metrics["per_class"][evaluation.positive_label]["support"]
    at_5, at_1 = format_percent(metrics["tpr_at_fpr_5"]), format_percent(metrics["tpr_at_fpr_1"])
    found = (
        f"Where it may wrongly flag 5 in 100 {negative} rows, it finds {at_5} of the {positive} rows; "
        f"where 1 in 100, {at_1}."
    )
    if n_negatives < ROWS_FOR_ONE_PERCENT:
        found += f" With {n_negatives:,} {negative} rows, 1 in 100 means none at all: take it as a hint."
    return found
