"""Several runs side by side: on the same rows, with intervals of their differences and what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qwenkit.artifacts import read_manifest
from qwenkit.errors import ArtifactError
from qwenkit.evaluation.bootstrap import Interval, Resampling, draw_metrics
from qwenkit.evaluation.evaluate import Evaluation, measure_predictions, read_evaluation
from qwenkit.evaluation.interval_tables import TableText
from qwenkit.evaluation.operating_points import GROUP_COLUMN
from qwenkit.evaluation.predictions import read_logits
from qwenkit.evaluation.slices import describe_interval
from qwenkit.evaluation.tables import TABLE_METRICS, format_number
from qwenkit.evaluation.uncertainty import (
    ScoredRows,
    bound_differences,
    bound_metrics,
    compare_decisions,
    measure_drawn,
)
from qwenkit.files import read_json
from qwenkit.stages import PREPARE

COMPARED = ("auroc", "balanced_accuracy", "accuracy", "tpr_at_fpr_5", "tpr_at_fpr_1", "mcc", "brier")


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run on the rows that all runs share."""

    name: str
    metrics: Mapping[str, Any]
    intervals: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    """What it has more than the first run; empty for the first."""
    decisions: Mapping[str, float | int] | None
    """McNemar's test against the first run; None for the first."""
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """Runs on their shared rows; the first is what the others are held against."""

    runs: Sequence[ComparedRun]
    rows: int
    own_rows: Sequence[int]
    """How many rows each run was evaluated on."""

    def differing_settings(self) -> dict[str, list[Any]]:
        """Give the settings that are not the same in all runs, one value a run."""
        names = sorted({name for run in self.runs for name in run.settings})
        values = {name: [run.settings.get(name) for run in self.runs] for name in names}
        return {name: found for name, found in values.items() if any(one != found[0] for one in found)}

    def to_json(self) -> dict[str, Any]:
        """Lay the comparison out as plain values."""
        return {
            "rows": self.rows,
            "runs": [
                {
                    "name": run.name,
                    "metrics": {name: run.metrics[name] for name in COMPARED},
                    "intervals": {name: describe_interval(one) for name, one in run.intervals.items()},
                    "differences": {name: describe_interval(one) for name, one in run.differences.items()},
                    "mcnemar": run.decisions,
                }
                for run in self.runs
            ],
            "settings": self.differing_settings(),
        }


def compare_runs(
    folders: Sequence[Path], *, names: Sequence[str], draws: int = 1_000, seed: int = 42
) -> RunComparison:
    """Compare evaluations on the rows that all of them hold, drawn together.

    Args:
        folders: Of evaluations: evaluated/after of each run.
        names: Of the runs, for people.

    Raises:
        ArtifactError: One holds no predictions, or they share no rows, or not the labels, or they disagree on
            what is true: they are of different data.
    """
    _check_data(folders, names)
    evaluations = [read_evaluation(folder) for folder in folders]
    _check_alike(evaluations, names)
    shared = _keep_shared_rows(evaluations, names)
    resampling = _resample(shared[0], draws=draws, seed=seed)
    scored = [_score(one) for one in shared]
    drawn = [draw_metrics(resampling, measure_drawn(rows, COMPARED)) for rows in scored]
    is_correct = [one.predictions["correct"].to_numpy() for one in shared]
    runs = [
        ComparedRun(
            name=name,
            metrics=shared[place].metrics,
            intervals=bound_metrics(shared[place].metrics, drawn[place], scored[place], resampling),
            differences=bound_differences(shared[0].metrics, shared[place].metrics, drawn[0], drawn[place])
            if place
            else {},
            decisions=compare_decisions(is_correct[0], is_correct[place]) if place else None,
            settings=read_settings(folders[place]),
        )
        for place, name in enumerate(names)
    ]
    return RunComparison(
        runs=runs,
        rows=shared[0].predictions.height,
        own_rows=[one.predictions.height for one in evaluations],
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """Collect what decided an evaluation: settings of the run's stages and what they worked on."""
    settings: dict[str, Any] = {}
    for place in (folder.parent.parent / "trained", folder):
        manifest = read_manifest(place)
        if manifest is None:
            continue
        settings |= manifest.settings
        if place != folder:
            settings |= {f"trained on {name}": one[:19] for name, one in manifest.inputs.items()}
            settings |= {
                name: manifest.identity[name] for name in ("dataset", "labels") if name in manifest.identity
            }
            base = manifest.identity.get("base")
            settings |= (
                {f"base.{name}": value for name, value in base.items()} if isinstance(base, dict) else {}
            )
        settings |= {"qwenkit": manifest.versions.get("qwenkit")}
    summary = folder.parent.parent / "summary.json"
    if summary.is_file():
        settings |= {"state": read_json(summary).get("state")}
    return settings


def comparison_tables(comparison: RunComparison) -> list[tuple[str, TableText]]:
    """Lay the comparison out as titled tables of text: metrics, differences, settings."""
    titles = {metric.name: metric.title for metric in TABLE_METRICS}
    names = [run.name for run in comparison.runs]
    metrics = [
        [
            titles[name],
            *(_with_bounds(run.metrics[name], run.intervals.get(name)) for run in comparison.runs),
        ]
        for name in COMPARED
    ]
    tables = [(f"On the same {comparison.rows:,} rows", (["Metric", *names], metrics))]
    first, *others = comparison.runs
    differences = [
        [titles[name], *(_with_bounds_signed(run.differences.get(name)) for run in others)]
        for name in COMPARED
    ]
    differences.append(
        [
            "right where the other errs",
            *(
                f"{run.decisions['only_second_right']:,} against {run.decisions['only_first_right']:,} "
                f"(p = {run.decisions['p_value']:.2g})"
                for run in others
                if run.decisions
            ),
        ]
    )
    tables.append((f"More than {first.name}", (["Metric", *names[1:]], differences)))
    settings = comparison.differing_settings()
    if settings:
        rows = [[name, *(str(value) for value in values)] for name, values in settings.items()]
        tables.append(("What differs", (["Setting", *names], rows)))
    return tables


def _with_bounds(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return format_number(value)
    return f"{value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _with_bounds_signed(difference: Interval | None) -> str:
    if difference is None:
        return "–"
    is_clear = difference.low > 0 or difference.high < 0
    return (
        f"{difference.value:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}){' !' if is_clear else ''}"
    )


def _check_data(folders: Sequence[Path], names: Sequence[str]) -> None:
    """Row ids mean something within one data set only."""
    known = []
    for folder in folders:
        manifest = read_manifest(folder)
        identity = manifest.identity if manifest else {}
        known.append((manifest and manifest.inputs.get(PREPARE.name), identity.get("rows")))
    for name, data in zip(names, known, strict=True):
        if data != known[0]:
            raise ArtifactError(
                f"{name} and {names[0]} were evaluated on different data: evaluate both with the same "
                "--data FILE or --dataset."
            )


def _check_alike(evaluations: Sequence[Evaluation], names: Sequence[str]) -> None:
    first = evaluations[0]
    for name, other in zip(names, evaluations, strict=True):
        if (other.labels, other.positive_label) != (first.labels, first.positive_label):
            raise ArtifactError(
                f"{name} has the labels {', '.join(other.labels)} (positive: {other.positive_label}), "
                f"{names[0]} has {', '.join(first.labels)} (positive: {first.positive_label}): "
                "they cannot be compared."
            )


def _keep_shared_rows(evaluations: Sequence[Evaluation], names: Sequence[str]) -> list[Evaluation]:
    shared = evaluations[0].predictions.select("row_id", "label_id")
    for name, other in zip(names[1:], evaluations[1:], strict=True):
        truth = other.predictions.select("row_id", other_id="label_id")
        shared = shared.join(truth, on="row_id", how="inner", maintain_order="left")
        if not shared.height or (shared["label_id"] != shared["other_id"]).any():
            raise ArtifactError(
                f"{name} and {names[0]} were not evaluated on the same rows: evaluate both with the same "
                "--data FILE or --dataset."
            )
        shared = shared.drop("other_id")
    if not shared.height:
        raise ArtifactError(f"{names[0]} was evaluated on no rows.")
    row_ids = shared.select("row_id")
    return [
        measure_predictions(
            row_ids.join(one.predictions, on="row_id", how="left", maintain_order="left"),
            labels=one.labels,
            positive_label=one.positive_label,
            class_weights=one.class_weights,
            temperature=one.temperature,
        )
        for one in evaluations
    ]


def _resample(evaluation: Evaluation, *, draws: int, seed: int) -> Resampling:
    predictions: pl.DataFrame = evaluation.predictions
    groups = predictions[GROUP_COLUMN].to_numpy() if GROUP_COLUMN in predictions.columns else None
    return Resampling(predictions["label_id"].to_numpy(), groups=groups, draws=draws, seed=seed)


def _score(evaluation: Evaluation) -> ScoredRows:
    return ScoredRows(
        logits=np.asarray(read_logits(evaluation.predictions, evaluation.labels), dtype=np.float64),
        label_ids=evaluation.predictions["label_id"].to_numpy(),
        positive_id=evaluation.labels.index(evaluation.positive_label),
        temperature=evaluation.temperature,
    )
