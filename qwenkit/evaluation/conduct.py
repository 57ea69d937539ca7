"""One evaluation from logits to files: metrics, comparison, baselines, report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qwenkit.console import Console
from qwenkit.evaluation.analysis import Analysis, analyse
from qwenkit.evaluation.baselines import fit_baselines, measure_baselines, recall_baselines
from qwenkit.evaluation.challenges import Challenges
from qwenkit.evaluation.evaluate import (
    LEAK_COLUMN,
    Evaluation,
    compare_before_after,
    evaluate_split,
    measure_clean,
    read_evaluation,
    write_evaluation,
)
from qwenkit.evaluation.interval_tables import metric_table, point_table, slice_table
from qwenkit.evaluation.markdown import render_markdown
from qwenkit.evaluation.mistakes import find_worst_mistakes
from qwenkit.evaluation.page import LabelledPicture, ReportContext
from qwenkit.evaluation.report import list_sections, render_report
from qwenkit.evaluation.robustness import Robustness, measure_robustness
from qwenkit.evaluation.robustness_tables import robustness_tables
from qwenkit.evaluation.slices import SLICE_COLUMNS
from qwenkit.evaluation.tables import Comparison, baseline_table, comparison_table, format_number
from qwenkit.modeling.operating_point import OperatingPoint
from qwenkit.text.probes import PROBES


@dataclass(frozen=True, kw_only=True)
class EvaluationTask:
    """What an evaluation looks at beside the logits.

    Attributes:
        rows: The prepared rows that the logits belong to.
        train_rows: The train split, for the baselines; None leaves them out.
        before: Folder of the evaluation before training, to compare with; None compares with nothing.
        training_log: Rows of metrics.jsonl.
        leaks: The leak audit of the data, as audit.json has it.
        provenance: By group, for the report's last section.
        notes: Sentences under the verdict.
        points: Chosen on validation, applied here as they are.
        challenges: What the model was scored on beside these rows; None has no robustness section.
        slice_columns: Known from the data; the extra ones were named by the user and must be there.
        draws: Of the bootstrap.
        baseline_cache: Where the baselines' scores are kept for the next evaluation on the same texts.
    """

    title: str
    labels: Sequence[str]
    positive_label: str
    rows: pl.DataFrame
    subtitle: str = ""
    class_weights: Sequence[float] | None = None
    temperature: float = 1.0
    train_rows: pl.DataFrame | None = None
    before: Path | None = None
    training_log: Sequence[Mapping[str, Any]] = ()
    slice_columns: Sequence[str] = ()
    leaks: Mapping[str, Any] | None = None
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    points: Sequence[OperatingPoint] = ()
    challenges: Challenges | None = None
    extra_slice_columns: Sequence[str] = ()
    draws: int = 1_000
    baseline_cache: Path | None = None
    console: Console = field(default_factory=partial(Console, quiet=True))
    save_predictions: bool = True


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of it, for tables on the terminal."""

    evaluation: Evaluation
    comparison: Comparison | None
    baselines: Mapping[str, Mapping[str, Any]]
    analysis: Analysis
    clean: Evaluation | None
    robustness: Robustness | None
    pictures: Sequence[LabelledPicture]
    """The report's figures, in its order."""


def conduct_evaluation(
    folder: Path, *, logits: np.ndarray, row_ids: np.ndarray, task: EvaluationTask
) -> Outcome:
    """Measure, compare, and write metrics.json, predictions and report.html into the folder given.

    Args:
        logits: float32, shape (rows, classes).
        row_ids: Which prepared row each belongs to, shape (rows,).
    """
    evaluation = evaluate_split(
        logits,
        row_ids,
        task.rows,
        labels=task.labels,
        positive_label=task.positive_label,
        class_weights=task.class_weights,
        temperature=task.temperature,
    )
    comparison = compare_before_after(read_evaluation(task.before), evaluation) if task.before else None
    baseline_logits = {} if task.train_rows is None else _score_baselines(evaluation, task, task.train_rows)
    baselines = measure_baselines(
        baseline_logits,
        evaluation.predictions["label_id"].to_numpy(),
        labels=task.labels,
        positive_label=task.positive_label,
        class_weights=task.class_weights,
    )
    analysis = analyse(
        evaluation,
        points=task.points,
        slice_columns=task.extra_slice_columns,
        domain_columns=task.slice_columns,
        baseline_logits=baseline_logits,
        baselines=baselines,
        draws=task.draws,
    )
    clean = measure_clean(evaluation)
    robustness = (
        None
        if task.challenges is None
        else measure_robustness(evaluation, task.challenges, points=task.points, draws=task.draws)
    )
    context = ReportContext(
        title=task.title,
        subtitle=task.subtitle,
        evaluation=evaluation,
        comparison=comparison,
        baselines=baselines,
        baseline_train_rows=None if task.train_rows is None else task.train_rows.height,
        training_log=task.training_log,
        analysis=analysis,
        robustness=robustness,
        mistakes=find_worst_mistakes(
            evaluation,
            task.rows,
            place_columns=_list_places(task),
        ),
        leaks=task.leaks,
        provenance=task.provenance,
        notes=[*describe_leak(evaluation, clean), *task.notes],
    )
    sections = list_sections(context)
    write_evaluation(
        folder,
        evaluation,
        report_html=render_report(context, sections),
        report_markdown=render_markdown(context),
        comparison=comparison,
        baselines=baselines,
        analysis=analysis.to_json(),
        clean=clean,
        robustness=None if robustness is None else robustness.to_json(),
        save_predictions=task.save_predictions,
    )
    return Outcome(
        evaluation=evaluation,
        comparison=comparison,
        baselines=baselines,
        analysis=analysis,
        clean=clean,
        robustness=robustness,
        pictures=[picture for section in sections for picture in section.pictures],
    )


def show_outcome(console: Console, outcome: Outcome) -> None:
    """Print the before/after table and the model among its baselines."""
    metrics, analysis = outcome.evaluation.metrics, outcome.analysis
    for line in describe_leak(outcome.evaluation, outcome.clean):
        console.warn(line)
    if outcome.comparison is not None:
        console.table("Before and after training", *comparison_table(outcome.comparison))
    is_compared = outcome.comparison is not None
    console.table(f"{metrics['rows']:,} rows", *metric_table(metrics, analysis, only_bounded=is_compared))
    if outcome.baselines:
        titles = {name: PROBES[name].title for name in outcome.baselines}
        console.table("Against baselines", *baseline_table(metrics, outcome.baselines, titles))
    if analysis.points:
        console.table("Thresholds from validation, applied here", *point_table(analysis.points))
    if analysis.slices:
        console.table("Slices, worst first", *slice_table(analysis.slices, analysis.main_decision))
    if outcome.robustness is not None:
        for title, table in robustness_tables(outcome.robustness, is_brief=True):
            console.table(title, *table)


def _list_places(task: EvaluationTask) -> list[str]:
    """Name the columns that tell a reader where a text is from."""
    columns = dict.fromkeys([*task.extra_slice_columns, *task.slice_columns, *SLICE_COLUMNS])
    return [name for name in columns if name != LEAK_COLUMN]


def describe_leak(evaluation: Evaluation, clean: Evaluation | None) -> list[str]:
    """Say how many rows the model has seen something like of, and how it does without them."""
    if clean is None:
        return []
    leaked = evaluation.metrics["rows"] - clean.metrics["rows"]

    changes = ", ".join(
        f"{title} {format_number(clean.metrics[name])} instead of {format_number(evaluation.metrics[name])}"
        for name, title in (("auroc", "AUROC"), ("balanced_accuracy", "balanced accuracy"))
    )
    return [
        f"{leaked:,} of these {evaluation.metrics['rows']:,} rows have a near-duplicate in train. "
        f"Without them: {changes}. Set dataset.leakage to leave them out for good."
    ]


def _score_baselines(
    evaluation: Evaluation, task: EvaluationTask, train_rows: pl.DataFrame
) -> dict[str, np.ndarray]:
    tested = evaluation.predictions.select("row_id").join(
        task.rows, on="row_id", how="left", maintain_order="left"
    )
    texts = (train_rows["text"].to_list(), train_rows["label_id"].to_numpy(), tested["text"].to_list())
    if task.baseline_cache is None:
        return fit_baselines(*texts, labels=task.labels)
    return recall_baselines(task.baseline_cache, *texts, labels=task.labels, console=task.console)
