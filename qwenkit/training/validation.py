"""Scoring the validation rows during training: which of them, and their logits over all ranks."""

from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import TrainingArguments

from qwenkit.metrics import compute_metrics
from qwenkit.modeling.predictor import predict_logits
from qwenkit.ranks import find_ranks
from qwenkit.training.plan import TrainingPlan


def predict_dataset(
    model: Any,
    dataset: Any,
    plan: TrainingPlan,
    arguments: TrainingArguments,
    *,
    on_batch: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Compute the logits of a tokenized dataset, the work shared among the ranks.

    Args:
        arguments: Tell the precision.
        on_batch: Called with the rows and tokens of each batch that is done.

    Returns:
        float32, shape (rows, classes), in row order and the same on all ranks.
    """
    return predict_logits(
        model,
        dataset["input_ids"],
        pad_token_id=plan.pad_token_id,
        batch_tokens=plan.eval_batch_tokens,
        pad_to_multiple_of=plan.pad_to_multiple_of,
        # The precision of the steps, also before the first of them.
        dtype="bfloat16" if arguments.bf16 else None,
        on_batch=on_batch,
        ranks=find_ranks(),
    )


def measure(logits: np.ndarray, label_ids: np.ndarray, plan: TrainingPlan) -> dict[str, Any]:
    """Compute qwenkit.metrics over all rows; `loss` is the cross-entropy weighted as in training."""
    return compute_metrics(
        logits,
        label_ids,
        labels=plan.labels,
        positive_label=plan.positive_label,
        class_weights=plan.class_weights,
    )


def choose_stratified_rows(label_ids: np.ndarray, *, size: int, seed: int) -> np.ndarray:
    """Choose a fixed subset with the same class shares, as sorted row numbers.

    Args:
        label_ids: Class of each row, shape (rows,).
        size: Rows wanted; all rows where there are no more than that.
    """
    if size >= len(label_ids):
        return np.arange(len(label_ids))
    shuffled = np.random.default_rng(seed).permutation(len(label_ids))
    # Spread each class evenly over [0, 1) in shuffled order: the first `size` then hold each by its share.
    place = np.empty(len(label_ids))
    for class_id in np.unique(label_ids):
        members = shuffled[label_ids[shuffled] == class_id]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    return np.sort(np.argsort(place, kind="stable")[:size])
