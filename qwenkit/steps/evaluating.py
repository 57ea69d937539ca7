"""From a model and labelled rows to a published evaluation: one way for before, after and any file."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import read_manifest, verify
from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.errors import ArtifactError
from qwenkit.ranks import find_ranks
from qwenkit.stages import TRAIN, StagePlan
from qwenkit.steps.active_run import read_training_log
from qwenkit.steps.labelled import LabelledSet
from qwenkit.steps.provenance import describe_provenance
from qwenkit.steps.robustness import score_challenges
from qwenkit.steps.scoring import GiveModel, score_rows
from qwenkit.steps.source import refuse_other_origin

if TYPE_CHECKING:
    import numpy as np

    from qwenkit.evaluation.conduct import Outcome
    from qwenkit.modeling.bundle import Bundle
    from qwenkit.modeling.operating_point import OperatingPoint

DEMO_NOTE = (
    "This is the demo: its machine text comes from small generators of ours, its model is tiny and random. "
    "Its scores show that the pipeline works, not how well texts of real language models are detected."
)


def publish_evaluation(
    plan: StagePlan,
    rows: LabelledSet,
    *,
    give_model: GiveModel,
    bundle: "Bundle",
    class_weights: Any,
    config: Config,
    console: Console,
    title: str,
    before: Path | None = None,
    run: Path | None = None,
    validation_predictions: Path | None = None,
    scored_passes: Path | None = None,
    may_reuse: bool = True,
    commands: Mapping[str, str] | None = None,
    track: Callable[["Outcome"], None] | None = None,
) -> None:
    """Score rows, measure, compare and report, and publish it all as one artifact.

    All ranks score; the main one does the rest while the others wait.

    Args:
        give_model: Called only where there is something to score; measuring again needs no weights.
        before: Folder of the evaluation before training, to compare with.
        run: The run that the model belongs to; its training curve goes into the report.
        validation_predictions: Of the same model, for operating points that qwenkit.json does not hold.
        scored_passes: Folder that keeps the passes of evaluation.robustness; None goes without robustness.
        may_reuse: Take the logits of an earlier evaluation of the same model on the same rows. False, as with
            --force, also lets results on other rows of the same name give way.
        commands: That lead here, by what they do, for the report.
        track: Told of the outcome once it is published.

    Raises:
        BusyError: Results on other rows lie there.
        ConfigError: A column to slice by, or a target, cannot be had.
    """
    from qwenkit.evaluation.conduct import EvaluationTask, conduct_evaluation, show_outcome
    from qwenkit.evaluation.predictions import ADDED_SLICE_COLUMNS, find_slice_columns
    from qwenkit.evaluation.slices import check_slice_columns

    settings = config.evaluation
    if rows.origin is not None and may_reuse:
        advice = "choose another folder with --out, or overwrite them with --force"
        refuse_other_origin(plan.folder, rows.origin, what="holds results on", advice=advice)
    # Before anything is scored: a column or a target that cannot be had is an error.
    check_slice_columns(settings.slice_columns, [*find_slice_columns(rows.frame), *ADDED_SLICE_COLUMNS])
    # A model that is still to be trained has no validation predictions to choose a threshold on.
    extra_targets = settings.extra_target_fprs if plan.identity["is_trained"] else ()
    points = collect_points(bundle, extra_targets, validation_predictions)
    ranks = find_ranks()
    scored = ranks.hand_out(lambda: recall_logits(plan, bundle.labels)) if may_reuse else None
    if scored is not None:
        console.info("the same model on the same rows was scored before: its logits are taken")
    else:
        scored = score_rows(rows, give_model, bundle=bundle, config=config, console=console)
    challenges = None
    if settings.robustness and scored_passes is not None:
        challenges = score_challenges(
            rows,
            scored,
            give_model,
            cache=scored_passes,
            model_fingerprint=plan.inputs[TRAIN.name],
            bundle=bundle,
            config=config,
            console=console,
        )
    logits, row_ids = scored

    def conduct() -> None:
        task = EvaluationTask(
            title=title,
            subtitle=f"{len(logits):,} rows of {rows.title}; {bundle.base_model.name}, held as "
            f"{bundle.quantization.method}, at most {bundle.max_length} tokens",
            labels=bundle.labels,
            positive_label=bundle.positive_label,
            class_weights=class_weights,
            temperature=bundle.temperature,
            rows=rows.frame,
            train_rows=rows.train,
            before=before,
            training_log=read_training_log(run),
            slice_columns=rows.slice_columns,
            leaks=rows.leaks,
            provenance=describe_provenance(plan, bundle=bundle, rows=rows, commands=commands or {}),
            notes=[DEMO_NOTE] if rows.is_demo else [],
            points=points,
            challenges=challenges,
            extra_slice_columns=settings.slice_columns,
            draws=settings.bootstrap_draws,
            baseline_cache=rows.baselines,
            console=console,
            save_predictions=settings.save_predictions,
        )
        with plan.publish(replace=True) as staging:
            outcome = conduct_evaluation(staging.folder, logits=logits, row_ids=row_ids, task=task)
            staging.counts |= {"rows": len(logits), "origin": rows.origin}
        show_outcome(console, outcome)
        console.success(f"wrote {plan.folder}")
        if track is not None:
            track(outcome)

    ranks.lead(conduct)


def collect_points(
    bundle: "Bundle", extra_targets: Sequence[float], validation_predictions: Path | None
) -> "list[OperatingPoint]":
    """Take the stored operating points, and choose those for further targets on validation predictions."""
    from qwenkit.evaluation.operating_points import find_operating_point

    extra = [
        find_operating_point(
            target,
            bundle.operating_points,
            labels=bundle.labels,
            positive_label=bundle.positive_label,
            predictions_path=validation_predictions,
        )
        for target in extra_targets
    ]
    points = {point.name: point for point in (*bundle.operating_points.values(), *extra)}
    return sorted(points.values(), key=lambda point: -point.target_fpr)


def recall_logits(plan: StagePlan, labels: Sequence[str]) -> "tuple[np.ndarray, np.ndarray] | None":
    """Read the logits of an earlier evaluation that differs in nothing but how they are measured.

    Returns:
        Logits and row ids, or None where there is no such evaluation, or it is damaged.
    """
    manifest = read_manifest(plan.folder) if plan.folder.is_dir() else None
    path = plan.folder / "predictions.parquet"
    if manifest is None or not path.is_file():
        return None
    if manifest.inputs != dict(plan.inputs) or manifest.identity != dict(plan.identity):
        return None
    import polars as pl

    from qwenkit.evaluation.predictions import read_logits

    try:
        verify(plan.folder, deep=True)
    except ArtifactError:
        return None
    predictions = pl.read_parquet(path)
    return read_logits(predictions, labels), predictions["row_id"].to_numpy()
