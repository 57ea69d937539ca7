"""The variance of an AUROC without drawing anything: a second opinion on the bootstrap's interval."""

import numpy as np

from qwenkit.errors import DataError
from qwenkit.evaluation.bootstrap import NORMAL_QUANTILE, Interval


def delong_interval(scores: np.ndarray, is_positive: np.ndarray) -> Interval:
    """Bound an AUROC by DeLong's variance, 95 %. It takes rows for independent, whatever their groups.

    Args:
        scores: Higher means more positive, shape (rows,).
        is_positive: Truth, shape (rows,); two rows of each class at least.

    Source: DeLong et al. 1988, by midranks as in Sun and Xu 2014, in n log n.
    """
    positives, negatives = scores[is_positive], scores[~is_positive]
    m, n = len(positives), len(negatives)
    if min(m, n) < 2:
        raise DataError("DeLong's interval needs two rows of each class.")
    together = midranks(np.concatenate([positives, negatives]))
    # Share of negatives below each positive, and of positives above each negative.
    of_positives = (together[:m] - midranks(positives)) / n
    of_negatives = 1 - (together[m:] - midranks(negatives)) / m
    auroc = float(of_positives.mean())
    deviation = float(np.sqrt(of_positives.var(ddof=1) / m + of_negatives.var(ddof=1) / n))
    reach = NORMAL_QUANTILE * deviation
    return Interval(value=auroc, low=max(0.0, auroc - reach), high=min(1.0, auroc + reach))


def midranks(values: np.ndarray) -> np.ndarray:
    """Rank values from 1, equal ones by the mean of their ranks, shape (rows,)."""
    _, value_ids, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray(last - (counts - 1) / 2)[value_ids]
