"""The report's first sentences: what the scores come to, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwenkit.evaluation.evaluate import Evaluation
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
    tone, against_baselines = _judge_against_baselines(context.evaluation.metrics, context.baselines)
    return Verdict(
        tone=tone,
        result=_describe_result(context.evaluation),
        against_baselines=against_baselines,
        at_low_fpr=_describe_low_fpr(context.evaluation),
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
    metrics: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]
) -> tuple[str, str]:
    if not baselines:
        return "plain", ""
    best = max(baselines, key=lambda name: ranking_score(baselines[name]))
    lead = ranking_score(metrics) - ranking_score(baselines[best])
    measure = "balanced accuracy" if metrics["auroc"] is None else "AUROC"
    named = f"{PROBES[best].title} ({measure} {ranking_score(baselines[best]):.3f})"
    if lead > LEVEL_MARGIN:
        return "good", f"It beats the best simple baseline, {named}, by {lead:.3f}."
    if lead < -LEVEL_MARGIN:
        return (
            "bad",
            f"A simple baseline beats it by {-lead:.3f}: {named}, which uses no language model at all.",
        )
    return (
        "level",
        f"It is level with the best simple baseline, {named}, which uses no language model at all.",
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
