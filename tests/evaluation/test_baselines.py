"""Baselines: fitted on train, measured like the model, bounded on big splits."""

import numpy as np
import pytest

from qwenkit.artifacts import verify
from qwenkit.console import Console
from qwenkit.errors import DataError
from qwenkit.evaluation.baselines import (
    fit_baselines,
    measure_baselines,
    recall_baselines,
    sample_rows,
)
from qwenkit.text.probes import PROBES

LABELS = ["AI_Generated", "Human_Written"]


def make_split(n_rows, *, seed):
    """Classes differ in words, never in length."""
    random = np.random.default_rng(seed)
    label_ids = random.integers(0, 2, n_rows)
    words = [["alpha", "bravo", "delta"], ["kilo1", "lima1", "mike1"]]
    return [" ".join(random.choice(words[label_id], 8)) for label_id in label_ids], label_ids


def test_baselines_see_what_they_should_and_no_more():
    train, test = make_split(300, seed=1), make_split(300, seed=2)
    scores = fit_baselines(*train, test[0], labels=LABELS)
    measured = measure_baselines(scores, test[1], labels=LABELS)
    assert list(measured) == list(PROBES)
    assert measured["majority"]["auroc"] == 0.5
    # 300 rows: the standard error of an AUROC of 0.5 is 0.033; every text is equally long.
    assert measured["length"]["auroc"] == pytest.approx(0.5, abs=0.1)
    assert measured["words"]["auroc"] > 0.9
    assert measured["characters"]["auroc"] > 0.9


def test_a_big_train_split_is_sampled_and_the_sample_depends_on_the_seed():
    texts, label_ids = make_split(200, seed=1)
    few = [
        fit_baselines(texts, label_ids, texts, labels=LABELS, seed=seed, max_rows=20) for seed in (1, 1, 2)
    ]
    assert np.array_equal(few[0]["words"], few[1]["words"])
    assert not np.array_equal(few[0]["words"], few[2]["words"])
    rows = sample_rows(200, size=20, seed=1)
    by_hand = PROBES["words"].score([texts[row] for row in rows], label_ids[rows], texts, 2)
    assert np.array_equal(few[0]["words"], by_hand)


def test_empty_splits_are_refused():
    with pytest.raises(DataError, match="empty"):
        fit_baselines([], np.array([], dtype=int), ["a"], labels=LABELS)
    with pytest.raises(DataError, match="empty"):
        fit_baselines(["a"], np.array([0]), [], labels=LABELS)


def test_sampled_rows_are_sorted_unique_and_repeatable():
    rows = sample_rows(5_000, size=1_000, seed=42)
    assert len(rows) == len(set(rows.tolist())) == 1_000
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, sample_rows(5_000, size=1_000, seed=42))
    assert not np.array_equal(rows, sample_rows(5_000, size=1_000, seed=43))
    assert sample_rows(7, size=1_000, seed=42).tolist() == list(range(7))
    assert sample_rows(7, size=7, seed=42).tolist() == list(range(7))


def test_baselines_of_the_same_texts_are_fitted_once(tmp_path):
    train, test = make_split(60, seed=1), make_split(30, seed=2)

    def recall(train=train, test=test):
        return recall_baselines(tmp_path, *train, test[0], labels=LABELS, console=Console(quiet=True))

    first = recall()
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())  # a lock lies beside it
    # What is read back is the file, not a second fit: another number in it comes out.
    verify(folder, deep=True)
    kept = np.load(folder / "words.npy")
    assert {name: logits.tolist() for name, logits in recall().items()} == {
        name: logits.tolist() for name, logits in first.items()
    }
    assert kept.tolist() == first["words"].tolist()
    np.save(folder / "words.npy", kept + 1)
    # Damaged: fitted and written again.
    assert recall()["words"].tolist() == first["words"].tolist()
    verify(folder, deep=True)
    recall(test=make_split(30, seed=3))
    recall(train=(train[0], 1 - train[1]))
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 3


def test_a_second_evaluation_says_that_it_took_the_baselines_from_the_first(tmp_path, capsys):
    split = make_split(40, seed=1)
    for _ in range(2):
        recall_baselines(tmp_path, *split, split[0], labels=LABELS, console=Console())
    assert capsys.readouterr().out.count("taken from an earlier evaluation") == 1
