"""Small prepared splits and evaluations made of numbers; no model is needed to test how one is evaluated."""

import numpy as np
import polars as pl
import pytest

from qwenkit.evaluation.evaluate import evaluate_split

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture
def make_prepared():
    def make(n_rows=60, *, labels=LABELS, first_row_id=1_000, **columns):
        label_ids = np.arange(n_rows) % len(labels)
        return pl.DataFrame(
            {
                "row_id": pl.Series(range(first_row_id, first_row_id + n_rows), dtype=pl.Int64),
                "text": [f"text {row}" for row in range(n_rows)],
                "label": [labels[label_id] for label_id in label_ids],
                "label_id": pl.Series(label_ids, dtype=pl.Int64),
                "domain_name": [("news", "books", "wiki")[row % 3] for row in range(n_rows)],
                **columns,
            }
        )

    return make


@pytest.fixture
def make_logits():
    def make(prepared, *, skill=1.0, seed=0, n_classes=2):
        noise = np.random.default_rng(seed).normal(size=(prepared.height, n_classes))
        return (noise + skill * np.eye(n_classes)[prepared["label_id"].to_numpy()]).astype(np.float32)

    return make


@pytest.fixture
def make_evaluation(make_prepared, make_logits):
    def make(n_rows=60, *, labels=LABELS, skill=1.0, seed=0, positive_label=None, **columns):
        prepared = make_prepared(n_rows, labels=labels, **columns)
        return evaluate_split(
            make_logits(prepared, skill=skill, seed=seed, n_classes=len(labels)),
            prepared["row_id"].to_numpy(),
            prepared,
            labels=labels,
            positive_label=positive_label,
        )

    return make
