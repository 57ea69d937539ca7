"""Whether stated probabilities come true: Brier score, calibration error, and the bins behind them."""

from dataclasses import dataclass

import numpy as np

CALIBRATION_BINS = 15


def measure_calibration(
    probabilities: np.ndarray, label_ids: np.ndarray, *, positive_id: int
) -> dict[str, float]:
    """Hold probabilities against what came true: Brier score and expected calibration error.

    Two classes are judged by the positive class's probability; `brier` is then the mean squared error of it.
    With more classes it is the sum over all of them, and the calibration error is that of the likeliest one.
    """
    n_classes = probabilities.shape[1]
    errors = (probabilities - np.eye(n_classes)[label_ids]) ** 2
    if n_classes == 2:
        stated, came_true = probabilities[:, positive_id], label_ids == positive_id
    else:
        stated, came_true = probabilities.max(axis=1), probabilities.argmax(axis=1) == label_ids
    bins = bin_probabilities(stated, came_true)
    shares = bins.rows / bins.rows.sum()
    return {
        "brier": float(errors.sum(axis=1).mean() / (2 if n_classes == 2 else 1)),
        "ece": float(shares @ np.abs(bins.stated - bins.came_true)),
    }


@dataclass(frozen=True, kw_only=True)
class CalibrationBins:
    """Rows of like probability: their number, the mean probability stated, the share that came true."""

    rows: np.ndarray
    stated: np.ndarray
    came_true: np.ndarray


def bin_probabilities(
    stated: np.ndarray, came_true: np.ndarray, *, n_bins: int = CALIBRATION_BINS
) -> CalibrationBins:
    """Sort rows into bins of equal mass by their probability, each array of shape (bins with rows,).

    Rows of the same probability share a bin, so the order of the rows decides nothing.
    """
    _, value_ids, counts = np.unique(stated, return_inverse=True, return_counts=True)
    rows_before = np.cumsum(counts) - counts
    bin_of_value = rows_before * n_bins // len(stated)
    bin_ids = bin_of_value[value_ids]
    rows = np.bincount(bin_ids, minlength=n_bins)
    kept = rows > 0
    return CalibrationBins(
        rows=rows[kept],
        stated=np.bincount(bin_ids, weights=stated, minlength=n_bins)[kept] / rows[kept],
        came_true=np.bincount(bin_ids, weights=came_true, minlength=n_bins)[kept] / rows[kept],
    )
