"""From a model and labelled rows to a published evaluation: one way for before, after and any file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import package_versions
from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.stages import PREPARE, TRAIN, StagePlan
from qwenkit.steps.active_run import read_training_log
from qwenkit.steps.labelled import LabelledSet

if TYPE_CHECKING:
    import numpy as np

    from qwenkit.modeling.bundle import Bundle

DEMO_NOTE = (
    "This is the demo: its machine text comes from small generators of ours, its model is tiny and random. "
    "Its scores show that the pipeline works, not how well texts of real language models are detected."
)


def score_documents(
    model: Any, tokenized: Any, *, bundle: "Bundle", config: Config, console: Console, what: str
) -> "np.ndarray":
    """Compute logits of tokenized rows, float32, shape (rows, classes), with progress."""
    from qwenkit.modeling.predictor import predict_logits

    per_device = config.training.per_device_eval_batch_size
    with console.progress(f"scoring {what}", total=len(tokenized), unit="documents") as bar:
        return predict_logits(
            model,
            tokenized.with_format("numpy")["input_ids"],
            pad_token_id=bundle.pad_token_id,
            batch_tokens=config.evaluation.batch_tokens or per_device * bundle.max_length,
            pad_to_multiple_of=config.tokenization.pad_to_multiple_of or 1,
            dtype=bundle.dtype,
            on_batch=lambda rows, tokens: bar.advance(rows),
        )


def calibrate_bundle(
    bundle: "Bundle", logits: "np.ndarray", label_ids: "np.ndarray", *, console: Console
) -> "Bundle":
    """Fit the temperature and choose the operating points on validation, as qwenkit.json keeps them."""
    from qwenkit.evaluation.operating_points import calibrate, describe_points

    found = calibrate(logits, label_ids, labels=bundle.labels, positive_label=bundle.positive_label)
    console.info(f"temperature {found.temperature:.3f}, fitted on {len(logits):,} validation rows")
    if found.points:
        console.table("Operating points, chosen on validation", *describe_points(found.points))
    return bundle.model_copy(update={"temperature": found.temperature, "operating_points": found.points})


def publish_evaluation(
    plan: StagePlan,
    rows: LabelledSet,
    *,
    model: Any,
    tokenizer: Any,
    bundle: "Bundle",
    class_weights: Any,
    config: Config,
    console: Console,
    title: str,
    before: Path | None = None,
    run: Path | None = None,
) -> None:
    """Score rows, measure, compare and report, and publish it all as one artifact.

    Args:
        before: Folder of the evaluation before training, to compare with.
        run: The run that the model belongs to; its training curve goes into the report.
    """
    import numpy as np

    from qwenkit.evaluation.conduct import EvaluationTask, conduct_evaluation, show_outcome

    tokenized = rows.encode(
        tokenizer=tokenizer,
        max_length=bundle.max_length,
        truncation=bundle.tokenizer.truncation,
        normalisation=bundle.normalisation,
        console=console,
    )
    logits = score_documents(model, tokenized, bundle=bundle, config=config, console=console, what=rows.title)
    task = EvaluationTask(
        title=title,
        labels=bundle.labels,
        positive_label=bundle.positive_label,
        class_weights=class_weights,
        temperature=bundle.temperature,
        rows=rows.frame,
        train_rows=rows.train,
        before=before,
        training_log=read_training_log(run),
        slice_columns=rows.slice_columns,
        provenance=describe_provenance(plan, bundle=bundle, rows=rows),
        notes=[DEMO_NOTE] if rows.is_demo else [],
        save_predictions=config.evaluation.save_predictions,
    )
    with plan.publish(replace=True) as staging:
        outcome = conduct_evaluation(
            staging.folder, logits=logits, row_ids=np.asarray(tokenized["row_id"]), task=task
        )
        staging.counts["rows"] = len(logits)
    show_outcome(console, outcome)
    console.success(f"wrote {plan.folder}")


def describe_provenance(
    plan: StagePlan, *, bundle: "Bundle", rows: LabelledSet
) -> Mapping[str, Mapping[str, Any]]:
    """Say where an evaluation came from, by group, for the report."""
    base = bundle.base_model
    return {
        "Model": {
            "fingerprint": plan.inputs.get(TRAIN.name, "unknown"),
            "base model": base.name,
            "base revision": base.revision or base.sha256 or "unknown",
            "held as": bundle.quantization.method,
            "max_length": bundle.max_length,
        },
        "Data": {
            "rows": rows.title,
            "prepared": plan.inputs.get(PREPARE.name, "not a prepared set"),
            **{name: value for name, value in rows.identity.items() if isinstance(value, str)},
        },
        "Evaluation": {"fingerprint": plan.fingerprint, **plan.settings},
        "Versions": package_versions(),
    }
