"""From a model in training to a model folder: what describes it, and what is published when it is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.evaluation.evaluate import evaluate_split
from qwenkit.evaluation.operating_points import calibrate, describe_points
from qwenkit.evaluation.predictions import find_groups
from qwenkit.metrics import flatten_metrics
from qwenkit.modeling.bundle import Bundle, TokenizerFlags, save_model, save_tokenizer, write_bundle
from qwenkit.modeling.own import link_own
from qwenkit.modeling.quantization import QuantizationRecord, record_quantization
from qwenkit.ranks import find_ranks
from qwenkit.saved import VALIDATION_PREDICTIONS
from qwenkit.stages import StagePlan
from qwenkit.steps.base import ChosenBase
from qwenkit.steps.scoring import score_documents


def describe_model(
    model: Any,
    *,
    base: ChosenBase,
    labels: Sequence[str],
    config: Config,
    computes_in_bf16: bool,
) -> Bundle:
    """Collect what qwenkit.json says about a model that is being trained."""
    is_own = base.identity.kind == "own"
    return Bundle(
        kind="adapter" if hasattr(model, "peft_config") else "full",
        base_model=base.identity,
        labels=list(labels),
        label_mapping=dict(config.model.label_mapping),
        positive_label=config.evaluation.positive_label or labels[0],
        pad_token_id=base.pad_token_id,
        max_length=config.tokenization.max_length,
        quantization=QuantizationRecord() if is_own else record_quantization(config.quantization),
        dtype="bfloat16" if computes_in_bf16 else "float32",
        weights_dtype="bfloat16" if base.weights_dtype == "bfloat16" else "float32",
        tokenizer=TokenizerFlags(truncation=config.tokenization.truncation),
        normalisation=list(config.dataset.normalize),
    )


def write_beside_weights(folder: Path, *, tokenizer: Any, bundle: Bundle, own_base: Path | None) -> None:
    """Make a checkpoint a model folder: tokenizer, qwenkit.json and a user's own base beside the weights."""
    save_tokenizer(folder, tokenizer, bundle)
    write_bundle(folder, bundle)
    if own_base is not None:
        link_own(own_base, folder)


def publish_trained(
    plan: StagePlan,
    *,
    model: Any,
    tokenizer: Any,
    bundle: Bundle,
    own_base: Path | None,
    tokenized: Any,
    rows: Any,
    class_weights: Any,
    trainer: Any,
    config: Config,
    console: Console,
) -> Bundle:
    """Write trained/: the model, its predictions on all of validation, and the thresholds chosen on them.

    Args:
        own_base: Folder of a user's own base that the adapter needs; None where there is none.
        tokenized, rows: The validation split, tokenized and as prepared.
        trainer: Tells the steps taken, and how large the micro-batches were in the end.

    Returns:
        The bundle as it was written: with temperature, operating points and metrics.
    """
    from qwenkit.modeling.sharding import gather_weights
    from qwenkit.tokens.tokenized import read_numbers
    from qwenkit.training.micro_batches import record_micro_batches

    logits = score_documents(
        model, tokenized, bundle=bundle, config=config, console=console, what="validation"
    )
    row_ids = read_numbers(tokenized, "row_id")
    bundle = calibrate_bundle(
        bundle,
        logits,
        read_numbers(tokenized, "labels"),
        groups=find_groups(rows, row_ids),
        console=console,
    )
    evaluation = evaluate_split(
        logits,
        row_ids,
        rows,
        labels=bundle.labels,
        positive_label=bundle.positive_label,
        class_weights=class_weights,
        temperature=bundle.temperature,
    )
    weights = gather_weights(model)
    metrics = {"validation": flatten_metrics(evaluation.metrics, prefix="")}
    described = bundle.model_copy(update={"metrics": metrics})

    def write() -> None:
        with plan.publish(replace=True) as staging:
            save_model(staging.folder, model=model, tokenizer=tokenizer, bundle=described, weights=weights)
            if own_base is not None:
                link_own(own_base, staging.folder)
            evaluation.predictions.write_parquet(staging.folder / VALIDATION_PREDICTIONS)
            state = trainer.state
            staging.counts |= {"steps": state.global_step, "best_step": state.best_global_step}
            staging.counts |= {"micro_batches": record_micro_batches(trainer.plan)}

    find_ranks().lead(write)
    console.success(f"wrote {plan.folder}")
    return described


def calibrate_bundle(
    bundle: Bundle,
    logits: np.ndarray,
    label_ids: np.ndarray,
    *,
    groups: np.ndarray | None,
    console: Console,
) -> Bundle:
    """Fit the temperature and choose the operating points on validation, as qwenkit.json keeps them."""
    found = calibrate(
        logits, label_ids, labels=bundle.labels, positive_label=bundle.positive_label, groups=groups
    )
    console.info(f"temperature {found.temperature:.3f}, fitted on {len(logits):,} validation rows")
    if found.points:
        console.table("Operating points, chosen on validation", *describe_points(found.points))
    return bundle.model_copy(update={"temperature": found.temperature, "operating_points": found.points})
