"""The shallow classifiers that a language model has to beat, fitted on the same train split."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.console import Console
from qwenkit.errors import DataError
from qwenkit.evaluation.kept_arrays import KeptArrays, hash_texts
from qwenkit.metrics import compute_metrics
from qwenkit.text.probes import PROBES
from qwenkit.versions import package_versions

# More rows hardly move these baselines, and on a big split they would take longer than the model itself.
MAX_TRAIN_ROWS = 20_000
CACHE_STAGE = "baselines"
CACHE_REVISION = 1
"""Counted up when a probe scores otherwise."""


def fit_baselines(
    train_texts: Sequence[str],
    train_label_ids: np.ndarray,
    test_texts: Sequence[str],
    *,
    labels: Sequence[str],
    seed: int = 42,
    max_rows: int = MAX_TRAIN_ROWS,
) -> dict[str, np.ndarray]:
    """Fit every probe on the train split and score every test text.

    Args:
        train_texts: Texts of the train split; more than `max_rows` are sampled down to that many.
        train_label_ids: Their classes, shape (train rows,).
        test_texts: All are scored.
        labels: Class names in id order.
        seed: Of the sample.

    Returns:
        Logits by name of the probe, shape (test rows, classes): they go where a model's logits go.

    Raises:
        DataError: One of the splits is empty.
    """
    if not len(train_texts) or not len(test_texts):
        raise DataError("baselines need rows in both the train and the test split; one of them is empty.")
    rows = sample_rows(len(train_texts), size=max_rows, seed=seed)
    sampled_texts = [train_texts[row] for row in rows]
    sampled_label_ids = np.asarray(train_label_ids)[rows]
    return {
        name: probe.score(sampled_texts, sampled_label_ids, test_texts, len(labels))
        for name, probe in PROBES.items()
    }


def recall_baselines(
    cache: Path,
    train_texts: Sequence[str],
    train_label_ids: np.ndarray,
    test_texts: Sequence[str],
    *,
    labels: Sequence[str],
    console: Console,
    seed: int = 42,
    max_rows: int = MAX_TRAIN_ROWS,
) -> dict[str, np.ndarray]:
    """Take the baselines' scores of these very texts from the cache, or fit them and keep them there.

    Args:
        cache: Folder of the data set for this; each set of texts has a folder in it, named by fingerprint.
    """
    rows = sample_rows(len(train_texts), size=max_rows, seed=seed)
    train_texts, train_label_ids = [train_texts[row] for row in rows], np.asarray(train_label_ids)[rows]
    identity = {
        "train": hash_texts(train_texts),
        "train_label_ids": hashlib.sha256(train_label_ids.astype(np.int64).tobytes()).hexdigest(),
        "test": hash_texts(test_texts),
        "labels": len(labels),
        "probes": list(PROBES),
        "scikit-learn": package_versions()["scikit-learn"],
    }
    kept = KeptArrays(cache=cache, stage=CACHE_STAGE, revision=CACHE_REVISION, identity=identity)
    scores = kept.read(list(PROBES))
    if scores is not None:
        console.info("baselines: taken from an earlier evaluation on the same texts")
        return scores
    scores = fit_baselines(
        train_texts, train_label_ids, test_texts, labels=labels, seed=seed, max_rows=max_rows
    )
    kept.write(scores, counts={"rows": len(test_texts)})
    return scores


def measure_baselines(
    scores: Mapping[str, np.ndarray],
    label_ids: np.ndarray,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    class_weights: Sequence[float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure the baselines exactly as the model is measured, in the order of PROBES."""
    return {
        name: compute_metrics(
            logits, label_ids, labels=labels, positive_label=positive_label, class_weights=class_weights
        )
        for name, logits in scores.items()
    }


def sample_rows(n_rows: int, *, size: int, seed: int) -> np.ndarray:
    """Draw row indices without replacement, sorted; all of them where there are no more than `size`."""
    if n_rows <= size:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, size=size, replace=False))
