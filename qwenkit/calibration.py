"""Whether stated probabilities come true: Brier score, calibration error, and the bins behind them."""

from dataclasses import dataclass

import numpy as np

from qwenkit.probabilities import softmax

CALIBRATION_BINS = 15


def measure_calibration(
    logits: np.ndarray, label_ids: np.ndarray, *, positive_id: int, temperature: float = 1.0
) -> dict[str, float]:
    """Hold probabilities against what came true: Brier score and expected calibration error.

    Two classes are judged by the positive class's probability; `brier` is then the mean squared error of it.
    With more classes it is the sum over all of them, and the calibration error is that of the likeliest one.
    """
    n_classes = logits.shape[1]
    errors = (softmax(logits / temperature) - np.eye(n_classes)[label_ids]) ** 2
    bins = bin_probabilities(
        *state_probabilities(logits, label_ids, positive_id=positive_id, temperature=temperature)
    )
    shares = bins.rows / bins.rows.sum()
    return {
        "brier": float(errors.sum(axis=1).mean() / (2 if n_classes == 2 else 1)),
        "ece": float(shares @ np.abs(bins.stated - bins.came_true)),
    }


def state_probabilities(
    logits: np.ndarray, label_ids: np.ndarray, *, positive_id: int, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Give each row's stated probability and whether it came true, two arrays of shape (rows,).

    It is the positive class's of two, the predicted class's of more. The predicted class is that of the
    largest logit, as everywhere: logits too close for their probabilities to differ still differ.
    """
    probabilities = softmax(np.asarray(logits, dtype=np.float64) / temperature)
    if logits.shape[1] == 2:
        return probabilities[:, positive_id], label_ids == positive_id
    return probabilities.max(axis=1), logits.argmax(axis=1) == label_ids


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
