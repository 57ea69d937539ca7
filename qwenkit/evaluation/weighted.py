"""Metrics of rows that count several times: what a bootstrap draw is. All draws of a block at once.

Counts have shape (draws, rows); results have shape (draws,), NaN where a draw leaves a metric undefined.
"""

import numpy as np


class RankedRows:
    """Rows of two classes in the order of their scores, ready to be counted draw after draw.

    Args of the constructor: scores of shape (rows,), the truth as booleans, and which rows (numbers in the
    full set) they are; None is all of them, in order.
    """

    def __init__(
        self, scores: np.ndarray, is_positive: np.ndarray, *, row_numbers: np.ndarray | None = None
    ) -> None:
        """Sort once."""
        numbers = np.arange(len(scores)) if row_numbers is None else row_numbers
        order = np.argsort(scores, kind="stable")
        sorted_truth, sorted_scores = is_positive[order], scores[order]
        self.positives = numbers[order[sorted_truth]]
        self.negatives = numbers[order[~sorted_truth]]
        positive_scores, negative_scores = sorted_scores[sorted_truth], sorted_scores[~sorted_truth]
        # How many negatives lie below each positive, and how many do not lie above it.
        self._below = np.searchsorted(negative_scores, positive_scores, side="left")
        self._up_to = np.searchsorted(negative_scores, positive_scores, side="right")
        self._has_ties = bool((self._below != self._up_to).any())
        # The other way round, for thresholds: positives that do not lie below each negative.
        self._reaching = np.searchsorted(positive_scores, negative_scores, side="right")
        self._block_starts = np.searchsorted(negative_scores, negative_scores, side="left")

    @property
    def is_complete(self) -> bool:
        """Whether both classes have rows."""
        return bool(len(self.positives) and len(self.negatives))

    def auroc(self, counts: np.ndarray) -> np.ndarray:
        """Share of pairs in the right order, ties counted half."""
        positive = counts[:, self.positives]
        below = cumulate(counts[:, self.negatives])
        beaten = below[:, self._below]
        if self._has_ties:
            beaten = (beaten + below[:, self._up_to]) / 2
        won = np.einsum("dr,dr->d", positive, beaten, dtype=np.float64, casting="unsafe")
        return divide(won, positive.sum(axis=1, dtype=np.float64) * below[:, -1])

    def tpr_at_fpr(self, counts: np.ndarray, target_fpr: float) -> np.ndarray:
        """Largest TPR of any threshold whose FPR is at most the target, chosen anew in each draw."""
        if not self.is_complete:
            return np.full(len(counts), np.nan)
        positive, negative = counts[:, self.positives], counts[:, self.negatives]
        below_positive, below_negative = cumulate(positive), cumulate(negative)
        totals = below_negative[:, -1:]
        # Negatives at or above each negative, its ties included; the first one too many stops the threshold.
        reaching = totals - below_negative[:, self._block_starts]
        with np.errstate(invalid="ignore"):
            # Divided like scikit-learn's ROC, so that both agree on a rate that is the target exactly.
            is_too_many = reaching.astype(np.float64) / totals > target_fpr
        last_kept_out = is_too_many.sum(axis=1)
        draws = np.arange(len(counts))
        # A threshold just above that negative: all positives above it are found.
        starts = np.where(last_kept_out > 0, self._reaching[np.maximum(last_kept_out, 1) - 1], 0)
        found = below_positive[:, -1] - below_positive[draws, starts]
        return np.where(totals[:, 0] > 0, divide(found.astype(np.float64), below_positive[:, -1]), np.nan)


def cumulate(counts: np.ndarray) -> np.ndarray:
    """Sum counts up along the rows, 0 first: shape (draws, rows + 1). Whole numbers, exact in float32."""
    sums = np.zeros((counts.shape[0], counts.shape[1] + 1), dtype=counts.dtype)
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums


def divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, NaN where there is nothing to divide by."""
    shares = np.full(part.shape, np.nan)
    np.divide(part, whole, out=shares, where=np.asarray(whole) > 0)
    return shares


def count_confusions(
    counts: np.ndarray, label_ids: np.ndarray, predicted_ids: np.ndarray, n_classes: int
) -> np.ndarray:
    """Count truth x decision in each draw, shape (draws, classes, classes)."""
    cells = np.eye(n_classes * n_classes, dtype=np.float32)[label_ids * n_classes + predicted_ids]
    return (counts @ cells).reshape(-1, n_classes, n_classes).astype(np.float64)


def mean_recall(confusions: np.ndarray) -> np.ndarray:
    """Average the recalls of the classes that have rows in each draw: balanced accuracy."""
    recalls = divide(np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(axis=2))
    return divide(np.nansum(recalls, axis=1), np.isfinite(recalls).sum(axis=1).astype(np.float64))


def mean_of(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average a value of each row over each draw."""
    sums = counts.astype(np.float64) @ values.astype(np.float64)
    return divide(sums, counts.sum(axis=1, dtype=np.float64))


def average_precision(counts: np.ndarray, scores: np.ndarray, is_positive: np.ndarray) -> np.ndarray:
    """Area under the precision-recall steps, as scikit-learn's average_precision_score, in each draw."""
    order = np.argsort(-scores, kind="stable")
    sorted_scores, truth = scores[order], is_positive[order]
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(scores) - 1)
    drawn = counts[:, order].astype(np.float64)
    flagged = np.cumsum(drawn, axis=1)[:, ends]
    found = np.cumsum(drawn * truth, axis=1)[:, ends]
    precision = np.divide(found, flagged, out=np.zeros_like(found), where=flagged > 0)
    gained = np.diff(found, axis=1, prepend=0.0)
    return divide((gained * precision).sum(axis=1), found[:, -1])
