"""The report's sections that are figures: how the scores separate, and how training went."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qwenkit.evaluation.charts import plot_low_fpr, plot_precision_recall
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.page import LabelledPicture, ReportContext, Section, show_name, show_others
from qwenkit.evaluation.plots import (
    plot_roc,
    plot_score_histogram,
    plot_training_loss,
    plot_validation_scores,
    read_series,
)
from qwenkit.evaluation.predictions import read_logits
from qwenkit.metrics import log_odds

MAX_CURVES = 6


def describe_ranking(context: ReportContext) -> Section | None:
    """ROC and score histogram: how well the scores separate, whatever the threshold."""
    evaluation = context.evaluation
    if evaluation.metrics["auroc"] is None:
        return None
    return Section(
        anchor="ranking",
        title="How well the scores separate",
        lead="Curves show what the scores can do with thresholds chosen on these very rows; the second one "
        "magnifies the low false-positive rates at which a detector is used.",
        pictures=[
            _draw_roc(evaluation),
            *([_draw_low_fpr(context)] if len(evaluation.labels) == 2 else []),
            _draw_precision_recall(evaluation),
            _draw_histogram(evaluation),
        ],
    )


def describe_training(context: ReportContext) -> Section | None:
    """The training curve."""
    log = context.training_log
    scores = {"eval_balanced_accuracy": "Balanced accuracy", "eval_auroc": "AUROC"}
    logged = {name: title for name, title in scores.items() if len(read_series(log, name)[0])}
    pictures = []
    if any(len(read_series(log, name)[0]) for name in ("loss", "eval_loss")):
        pictures.append(_draw_losses(log))
    if logged:
        pictures.append(_draw_validation_scores(log, logged))
    return Section(anchor="training", title="Training", pictures=pictures) if pictures else None


def _draw_losses(log: Sequence[Mapping[str, Any]]) -> LabelledPicture:
    steps, losses = read_series(log, "loss")
    summary = (
        f"from {losses[0]:.3f} to {losses[-1]:.3f} over {steps[-1]:,.0f} steps"
        if len(steps)
        else "not logged"
    )
    return LabelledPicture(
        name="training_loss",
        picture=plot_training_loss(log, alt=f"Training curve. Training loss {summary}."),
        caption=f"Training loss {summary}.",
        legend=["Training loss", "Validation loss"],
    )


def _draw_validation_scores(log: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> LabelledPicture:
    best = ", ".join(f"{title} {read_series(log, name)[1].max():.3f}" for name, title in titles.items())
    return LabelledPicture(
        name="validation_scores",
        picture=plot_validation_scores(
            log, list(titles), alt=f"Validation scores over the steps. Best: {best}."
        ),
        caption=f"On validation rows. Best: {best}.",
        legend=list(titles.values()),
    )


def _draw_roc(evaluation: Evaluation) -> LabelledPicture:
    metrics, labels = evaluation.metrics, evaluation.labels
    marks = ""
    if metrics["tpr_at_fpr_5"] is not None:
        at_5, at_1 = metrics["tpr_at_fpr_5"], metrics["tpr_at_fpr_1"]
        marks = f" The points: {at_5:.3f} at FPR 5 % and {at_1:.3f} at FPR 1 %."
    area = f"{metrics['auroc']:.3f}"
    return LabelledPicture(
        name="roc",
        picture=plot_roc(
            _list_curves(evaluation),
            alt=f"ROC curve. The area under it is {area}; guessing gives 0.5.{marks}",
        ),
        caption=f"ROC, area {area}.{marks}",
        legend=[show_name(label) for label in _list_curve_labels(labels, evaluation.positive_label)],
    )


def _draw_low_fpr(context: ReportContext) -> LabelledPicture:
    evaluation = context.evaluation
    points = context.analysis.points if context.analysis else ()
    achieved = [
        (one.rates.fpr.value, one.rates.tpr.value) for one in points if one.rates.fpr and one.rates.tpr
    ]
    partial = f"partial AUROC up to FPR 5 % is {evaluation.metrics['partial_auroc_fpr_5']:.3f}"
    marks = " The points are the thresholds fixed on validation." if achieved else ""
    legend = [show_name(evaluation.positive_label), *(["Thresholds fixed on validation"] if achieved else [])]
    return LabelledPicture(
        name="roc_low_fpr",
        picture=plot_low_fpr(
            *_list_curves(evaluation)[0],
            achieved=achieved,
            alt=f"ROC curve over the logarithm of the false positive rate; {partial}.{marks}",
        ),
        caption=f"The same, magnified at low rates: {partial}; guessing gives 0.5.{marks}",
        legend=legend,
    )


def _draw_precision_recall(evaluation: Evaluation) -> LabelledPicture:
    area = f"{evaluation.metrics['average_precision']:.3f}"
    share = float((evaluation.predictions["label"] == evaluation.positive_label).to_numpy().mean())
    return LabelledPicture(
        name="precision_recall",
        picture=plot_precision_recall(
            _list_curves(evaluation),
            alt=f"Precision over recall. Average precision {area}; guessing gives {share:.3f}.",
        ),
        caption=f"Precision and recall, average precision {area} with {share:.0%} positives.",
        legend=[
            show_name(label) for label in _list_curve_labels(evaluation.labels, evaluation.positive_label)
        ],
    )


def _draw_histogram(evaluation: Evaluation) -> LabelledPicture:
    positive, others = show_name(evaluation.positive_label), show_others(evaluation)
    probabilities = evaluation.predictions["probability"].to_numpy()
    is_positive = (evaluation.predictions["label"] == evaluation.positive_label).to_numpy()
    medians = [float(np.median(probabilities[chosen])) for chosen in (is_positive, ~is_positive)]
    summary = f"median {medians[0]:.2f} for {positive}, {medians[1]:.2f} for {others}"
    return LabelledPicture(
        name="scores",
        picture=plot_score_histogram(
            probabilities, is_positive, alt=f"Histogram of the probability of {positive}: {summary}."
        ),
        caption=f"Probability of {positive} by true class: {summary}. Each class adds up to 1.",
        legend=[positive, others],
    )


def _list_curves(evaluation: Evaluation) -> list[tuple[np.ndarray, np.ndarray]]:
    predictions = evaluation.predictions
    if len(evaluation.labels) == 2:
        positive_id = evaluation.labels.index(evaluation.positive_label)
        is_positive = (predictions["label"] == evaluation.positive_label).to_numpy()
        return [(log_odds(read_logits(predictions, evaluation.labels), positive_id), is_positive)]
    return [
        (predictions[f"probability_{label}"].to_numpy(), (predictions["label"] == label).to_numpy())
        for label in _list_curve_labels(evaluation.labels, evaluation.positive_label)
    ]


def _list_curve_labels(labels: Sequence[str], positive_label: str) -> list[str]:
    """One curve says all about two classes; more classes have one each, against the rest."""
    return [positive_label] if len(labels) == 2 else list(labels[:MAX_CURVES])
