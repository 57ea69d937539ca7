"""Logits to probabilities, in float64."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into float64 probabilities, shape (rows, classes); large logits do not overflow."""
    return np.asarray(np.exp(log_softmax(logits)))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into float64 log-probabilities, shape (rows, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
