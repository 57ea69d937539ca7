"""Arrays in, numbers out: the one place where a classifier is measured (training, evaluation, parity).

Everything is computed in float64 from the raw logits; scikit-learn computes whatever it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    classification_report,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from qwenkit.calibration import measure_calibration
from qwenkit.console import safe_text
from qwenkit.errors import ConfigError, DataError, DivergedError
from qwenkit.probabilities import log_softmax, softmax

# A label longer than this would push the columns of the text report out of sight.
LABEL_WIDTH = 40
LOW_FPR = 0.05
"""The partial AUROC looks at false-positive rates up to here: what a detector can be used at."""


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold and what it does on the rows it was chosen on: positive means score >= threshold."""

    threshold: float
    tpr: float
    fpr: float


def compute_metrics(
    logits: np.ndarray,
    label_ids: np.ndarray,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    class_weights: Sequence[float] | None = None,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Measure everything that evaluation reports, as plain numbers that json can write.

    Args:
        logits: Raw scores of the class head, shape (rows, classes).
        label_ids: True class of every row, shape (rows,).
        labels: Class names in id order.
        positive_label: The class whose detection is measured; None takes the first (the AI class here).
        class_weights: Weights of the loss in id order, as in training; None weighs all rows alike.
        temperature: Divides the logits for whatever judges probabilities: log_loss, brier, ece.

    Returns:
        `precision`, `recall`, `f1` are weighted by support (with `_macro` beside them); `confusion_matrix` is
        true x predicted in id order. `loss` is that of training (class weights, no temperature), `log_loss`
        that of the calibrated probabilities. With more than two classes `auroc` and `average_precision` are
        the mean of one-versus-rest and what looks at a fixed FPR is None. A ranking metric is None where a
        class has no row. `partial_auroc_fpr_5` is McClish's, scaled so that 0.5 is guessing and 1 perfect.

    Raises:
        DivergedError: A logit is NaN or infinite.
        DataError: There are no rows.
        ConfigError: The positive label is none of the labels.
    """
    logits, label_ids = check_scores(logits, label_ids, n_classes=len(labels))
    positive_id = find_positive_id(labels, positive_label)
    class_ids = list(range(len(labels)))
    predicted_ids = logits.argmax(axis=1)
    confusion = confusion_matrix(label_ids, predicted_ids, labels=class_ids)
    return {
        "rows": len(label_ids),
        "loss": cross_entropy(logits, label_ids, class_weights),
        "accuracy": float(confusion.trace() / confusion.sum()),
        "balanced_accuracy": _mean_recall(confusion),
        "mcc": float(matthews_correlation(confusion)),
        **measure_calibration(logits, label_ids, positive_id=positive_id, temperature=temperature),
        "log_loss": cross_entropy(logits / temperature, label_ids),
        **_precision_recall_f1(label_ids, predicted_ids, labels),
        **_ranking_metrics(logits, label_ids, positive_id),
        "confusion_matrix": confusion.tolist(),
        "classification_report": classification_report(
            label_ids,
            predicted_ids,
            labels=class_ids,
            target_names=[safe_text(name, limit=LABEL_WIDTH) for name in labels],
            digits=4,
            zero_division=0,
        ),
    }


def flatten_metrics(metrics: Mapping[str, Any], *, prefix: str = "eval_") -> dict[str, float]:
    """Keep the single numbers under prefixed names: what the Trainer, W&B and metrics.jsonl take.

    A metric that is undefined on these rows (None) is left out, since neither takes one.
    """
    return {
        prefix + name: float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def find_operating_point(scores: np.ndarray, is_positive: np.ndarray, *, target_fpr: float) -> OperatingPoint:
    """Choose the threshold with the largest TPR whose FPR is at most the target.

    Rows with equal scores stand or fall together, so ties can only lower the achieved FPR, never raise it
    above the target. With fewer negatives than 1 / target the only FPR allowed is 0. Where even the highest
    score has too many negatives, nothing is flagged: the threshold is infinite and the TPR 0.

    Args:
        scores: Higher means more positive, shape (rows,).
        is_positive: Truth, shape (rows,); both classes must be there.
    """
    # By default scikit-learn leaves out points between the corners of the curve, the wanted one among them.
    fprs, tprs, thresholds = roc_curve(is_positive, scores, drop_intermediate=False)
    best = int(np.searchsorted(fprs, target_fpr, side="right")) - 1
    return OperatingPoint(threshold=float(thresholds[best]), tpr=float(tprs[best]), fpr=float(fprs[best]))


def log_odds(logits: np.ndarray, positive_id: int, *, temperature: float = 1.0) -> np.ndarray:
    """Score two classes by the log-odds of the positive one, float64, shape (rows,).

    This orders rows as the positive class's probability does, without rounding the surest ones to a tie at 1.
    """
    logits = np.asarray(logits, dtype=np.float64)
    return np.asarray((logits[:, positive_id] - logits[:, 1 - positive_id]) / temperature)


def matthews_correlation(confusion: np.ndarray) -> np.ndarray:
    """Correlate truth and decision over confusion matrices of shape (..., classes, classes).

    0 where either is constant. Source: Gorodkin's R_K, as scikit-learn's matthews_corrcoef, which takes one
    matrix's labels at a time and warns of constants.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    truths, decisions = confusion.sum(axis=-1), confusion.sum(axis=-2)
    total = truths.sum(axis=-1)
    right = np.trace(confusion, axis1=-2, axis2=-1)
    covariance = right * total - (truths * decisions).sum(axis=-1)
    spread = (total**2 - (truths**2).sum(axis=-1)) * (total**2 - (decisions**2).sum(axis=-1))
    return np.asarray(np.divide(covariance, np.sqrt(spread), out=np.zeros_like(covariance), where=spread > 0))


def cross_entropy(
    logits: np.ndarray, label_ids: np.ndarray, class_weights: Sequence[float] | None = None
) -> float:
    """Mean negative log-likelihood over all rows, each weighted by its class.

    Source: the "mean" reduction of torch.nn.functional.cross_entropy: sum(w * loss) / sum(w).
    """
    losses = -log_softmax(logits)[np.arange(len(label_ids)), label_ids]
    if class_weights is None:
        return float(losses.mean())
    weights = np.asarray(class_weights, dtype=np.float64)[label_ids]
    return float(losses @ weights / weights.sum())


def find_positive_id(labels: Sequence[str], positive_label: str | None) -> int:
    """Find the id of the positive class; None means the first label.

    Raises:
        ConfigError: It is none of the labels.
    """
    if positive_label is None:
        return 0
    if positive_label not in labels:
        found, *known = (safe_text(name, limit=LABEL_WIDTH) for name in (positive_label, *labels))
        raise ConfigError(
            f'positive label "{found}" is none of the labels: {", ".join(known)}. '
            "Set evaluation.positive_label to one of them."
        )
    return list(labels).index(positive_label)


def check_scores(
    logits: np.ndarray, label_ids: np.ndarray, *, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Refuse what would give a number that means nothing; return logits as float64 and ids as int64.

    Raises:
        DivergedError: A logit is NaN or infinite.
        DataError: There are no rows.
        ValueError: Shapes or ids do not belong together, which is a bug of the caller.
    """
    logits, label_ids = np.asarray(logits, dtype=np.float64), np.asarray(label_ids)
    if logits.ndim != 2 or logits.shape != (len(label_ids), n_classes):
        raise ValueError(f"logits must have shape ({len(label_ids)}, {n_classes}), not {logits.shape}")
    if not len(label_ids):
        raise DataError("there are no rows to measure: the split is empty.")
    if not np.issubdtype(label_ids.dtype, np.integer) or not (
        0 <= label_ids.min() <= label_ids.max() < n_classes
    ):
        raise ValueError(f"label ids must be integers from 0 to {n_classes - 1}")
    broken_rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(broken_rows):
        raise DivergedError(
            f"the model's logits are not finite in {len(broken_rows)} of {len(logits)} rows (the first is "
            f"row {broken_rows[0]}): its weights diverged. Train again with a lower learning rate, or "
            "evaluate an earlier checkpoint."
        )
    return logits, label_ids.astype(np.int64)


def _mean_recall(confusion: np.ndarray) -> float:
    """Balanced accuracy: the mean recall of the classes that have rows.

    scikit-learn's balanced_accuracy_score is the same number but warns where a class has none.
    """
    support = confusion.sum(axis=1)
    present = support > 0
    return float((confusion.diagonal()[present] / support[present]).mean())


def _precision_recall_f1(
    label_ids: np.ndarray, predicted_ids: np.ndarray, labels: Sequence[str]
) -> dict[str, Any]:
    def average(how: str | None) -> tuple[Any, Any, Any, Any]:
        return precision_recall_fscore_support(
            label_ids, predicted_ids, labels=list(range(len(labels))), average=how, zero_division=0
        )

    precision, recall, f1, _ = average("weighted")
    precision_macro, recall_macro, f1_macro, _ = average("macro")
    return {
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "precision_macro": float(precision_macro),
        "recall_macro": float(recall_macro),
        "f1_macro": float(f1_macro),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for name, p, r, f, n in zip(labels, *average(None), strict=True)
        },
    }


def _ranking_metrics(logits: np.ndarray, label_ids: np.ndarray, positive_id: int) -> dict[str, float | None]:
    n_classes = logits.shape[1]
    undefined: dict[str, float | None] = dict.fromkeys(
        ("auroc", "average_precision", "partial_auroc_fpr_5", "tpr_at_fpr_5", "tpr_at_fpr_1")
    )
    if len(np.unique(label_ids)) < n_classes:
        return undefined
    if n_classes > 2:
        one_hot, probabilities = np.eye(n_classes, dtype=np.int64)[label_ids], softmax(logits)
        return undefined | {
            "auroc": float(roc_auc_score(one_hot, probabilities, average="macro")),
            "average_precision": float(average_precision_score(one_hot, probabilities, average="macro")),
        }
    scores, is_positive = log_odds(logits, positive_id), label_ids == positive_id
    return {
        "auroc": float(roc_auc_score(is_positive, scores)),
        "average_precision": float(average_precision_score(is_positive, scores)),
        "partial_auroc_fpr_5": float(roc_auc_score(is_positive, scores, max_fpr=LOW_FPR)),
        "tpr_at_fpr_5": find_operating_point(scores, is_positive, target_fpr=0.05).tpr,
        "tpr_at_fpr_1": find_operating_point(scores, is_positive, target_fpr=0.01).tpr,
    }
