"""From logits to an evaluation: metrics, predictions, before against after, and the files of evaluated/."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qwenkit.errors import ArtifactError
from qwenkit.evaluation.predictions import build_predictions, read_logits, write_predictions
from qwenkit.evaluation.tables import TABLE_METRICS, ComparedMetric, Comparison, comparison_as_json
from qwenkit.files import read_json, write_json
from qwenkit.metrics import compute_metrics, find_positive_id

LEAK_COLUMN = "leaks_from_train"
"""True for a row whose near-duplicate the model was trained on; prepare keeps such rows where asked to."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured on a set of rows, and the predictions that it can be measured from again."""

    metrics: dict[str, Any]
    predictions: pl.DataFrame
    labels: tuple[str, ...]
    positive_label: str
    class_weights: tuple[float, ...] | None = None
    temperature: float = 1.0


def evaluate_split(
    logits: np.ndarray,
    row_ids: np.ndarray,
    prepared: pl.DataFrame,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    class_weights: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> Evaluation:
    """Measure logits against the rows of a prepared split that they belong to.

    Args:
        logits: Raw scores, shape (rows, classes).
        row_ids: `row_id` of each row of logits, shape (rows,); any subset of the split, in any order.
        prepared: The split: row_id, text, label, label_id and whatever else the source has.
        labels: Class names in id order.
        positive_label: The class whose detection is measured; None takes the first.
        class_weights: Weights of the loss in id order.
        temperature: Fitted on validation; divides the logits before they become probabilities.
    """
    predictions = build_predictions(
        logits,
        row_ids,
        prepared,
        labels=labels,
        positive_label=positive_label,
        temperature=temperature,
    )
    return measure_predictions(
        predictions,
        labels=labels,
        positive_label=positive_label,
        class_weights=class_weights,
        temperature=temperature,
    )


def measure_predictions(
    predictions: pl.DataFrame,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    class_weights: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> Evaluation:
    """Measure predictions that are there already; no model is needed."""
    metrics = compute_metrics(
        read_logits(predictions, labels),
        predictions["label_id"].to_numpy(),
        labels=labels,
        positive_label=positive_label,
        class_weights=class_weights,
        temperature=temperature,
    )
    return Evaluation(
        metrics=metrics,
        predictions=predictions,
        labels=tuple(labels),
        positive_label=labels[find_positive_id(labels, positive_label)],
        class_weights=None if class_weights is None else tuple(float(weight) for weight in class_weights),
        temperature=temperature,
    )


def measure_clean(evaluation: Evaluation) -> Evaluation | None:
    """Measure again without the rows that have a near-duplicate in train; None where there are none such.

    What is left is what the model can do with texts that it has seen nothing like of.
    """
    predictions = evaluation.predictions
    if LEAK_COLUMN not in predictions.columns or predictions[LEAK_COLUMN].dtype != pl.Boolean:
        return None
    clean = predictions.filter(~pl.col(LEAK_COLUMN).fill_null(False))
    if clean.height in (0, predictions.height):
        return None
    return measure_predictions(
        clean,
        labels=evaluation.labels,
        positive_label=evaluation.positive_label,
        class_weights=evaluation.class_weights,
        temperature=evaluation.temperature,
    )


def compare_before_after(before: Evaluation, after: Evaluation) -> Comparison:
    """Compare on exactly the rows that `before` was measured on, with all rows of `after` beside them.

    Raises:
        ArtifactError: `after` lacks some of those rows, so there is nothing to compare on.
    """
    row_ids = before.predictions.select("row_id")
    same = row_ids.join(after.predictions, on="row_id", how="inner", maintain_order="left")
    if same.height != row_ids.height:
        raise ArtifactError(
            f"the evaluation before training has {row_ids.height - same.height} rows that the one after it "
            "has not: they were made from different test splits. Evaluate both again with --force."
        )
    after_same = measure_predictions(
        same,
        labels=after.labels,
        positive_label=after.positive_label,
        class_weights=after.class_weights,
        temperature=after.temperature,
    )
    return Comparison(
        same_rows=same.height,
        full_rows=after.predictions.height,
        lines=tuple(
            ComparedMetric(
                metric=metric,
                before=before.metrics[metric.name],
                after=after_same.metrics[metric.name],
                full=after.metrics[metric.name],
            )
            for metric in TABLE_METRICS
        ),
    )


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    *,
    report_html: str | None = None,
    report_markdown: str | None = None,
    comparison: Comparison | None = None,
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
    analysis: Mapping[str, Any] | None = None,
    clean: Evaluation | None = None,
    robustness: Mapping[str, Any] | None = None,
    save_predictions: bool = True,
) -> None:
    """Write metrics.json, predictions (parquet and csv) and the reports (html, md) into the folder given."""
    write_json(
        folder / "metrics.json",
        {
            **evaluation.metrics,
            **(analysis or {}),
            "labels": list(evaluation.labels),
            "positive_label": evaluation.positive_label,
            "class_weights": evaluation.class_weights and list(evaluation.class_weights),
            "temperature": evaluation.temperature,
            "decontaminated": clean and clean.metrics,
            "robustness": robustness,
            "comparison": comparison and comparison_as_json(comparison),
            "baselines": baselines and {name: dict(metrics) for name, metrics in baselines.items()},
        },
    )
    if save_predictions:
        write_predictions(folder, evaluation.predictions)
    if report_html is not None:
        (folder / "report.html").write_text(report_html, encoding="utf-8")
    if report_markdown is not None:
        (folder / "report.md").write_text(report_markdown, encoding="utf-8")


def read_evaluation(folder: Path) -> Evaluation:
    """Read an evaluation back from its files, e.g. the one before training to compare a later one with.

    Raises:
        ArtifactError: The folder has no predictions (evaluation.save_predictions was off) or no metrics.
    """
    stored = read_json(folder / "metrics.json")
    path = folder / "predictions.parquet"
    if not path.is_file():
        raise ArtifactError(
            f"{path} is missing: evaluate again with evaluation.save_predictions on to compare with it."
        )
    return measure_predictions(
        pl.read_parquet(path),
        labels=stored["labels"],
        positive_label=stored["positive_label"],
        class_weights=stored["class_weights"],
        temperature=stored.get("temperature", 1.0),
    )
