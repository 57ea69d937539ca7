"""How long the intervals of a large evaluation take: 100,000 rows, 1,000 draws, 30 slices."""

import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from qwenkit.evaluation.analysis import analyse
from qwenkit.evaluation.evaluate import evaluate_split
from qwenkit.evaluation.operating_points import calibrate

ROWS, DRAWS = 100_000, 1_000
LABELS = ["AI_Generated", "Human_Written"]
COLUMNS = {"domain_name": 10, "model": 10, "attack": 10}
REFERENCE_DRAWS = 20


def benchmark_intervals() -> Iterator[dict[str, Any]]:
    """Time the whole analysis: intervals of nine metrics, two thresholds, and 30 slices of 10,000 rows.

    The reference is the AUROC alone, drawn by row numbers and given to scikit-learn slice by slice: a few
    draws, taken times the number of all.
    """
    rng = np.random.default_rng(0)
    label_ids = rng.integers(0, 2, size=ROWS)
    logits = (rng.normal(size=(ROWS, 2)) + 1.5 * np.eye(2)[label_ids]).astype(np.float32)
    slices = {name: rng.integers(0, values, size=ROWS) for name, values in COLUMNS.items()}
    rows = pl.DataFrame(
        {
            "row_id": np.arange(ROWS),
            "text": ["x"] * ROWS,
            "label": [LABELS[label_id] for label_id in label_ids],
            "label_id": label_ids,
            **{name: [f"value {value}" for value in values] for name, values in slices.items()},
        }
    )
    evaluation = evaluate_split(logits, np.arange(ROWS), rows, labels=LABELS)
    points = list(calibrate(logits[:20_000], label_ids[:20_000], labels=LABELS).points.values())
    started, cpu_started = time.perf_counter(), time.process_time()
    analysis = analyse(evaluation, points=points, draws=DRAWS)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    assert len(analysis.slices) == sum(COLUMNS.values())
    reference = _time_reference(logits[:, 0] - logits[:, 1], label_ids == 0, slices)
    yield {
        "name": "intervals of 100,000 rows, 1,000 draws, 30 slices",
        "value": round(seconds, 1),
        "unit": "s",
        "reference": round(reference, 1),
        "ratio": round(reference / seconds, 1),
        # Other work on the machine lengthens the seconds, not these.
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }


def _time_reference(scores: np.ndarray, is_positive: np.ndarray, slices: dict[str, np.ndarray]) -> float:
    rng = np.random.default_rng(1)
    started = time.perf_counter()
    for _ in range(REFERENCE_DRAWS):
        drawn = rng.integers(0, len(scores), size=len(scores))
        drawn_scores, drawn_truth = scores[drawn], is_positive[drawn]
        for values in slices.values():
            for value in np.unique(values):
                chosen = values[drawn] == value
                roc_auc_score(drawn_truth[chosen], drawn_scores[chosen])
    return (time.perf_counter() - started) * DRAWS / REFERENCE_DRAWS
