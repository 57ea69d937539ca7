"""How well stated probabilities hold, against scikit-learn or an oracle written out naively."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from qwenkit.metrics import compute_metrics
from qwenkit.probabilities import softmax
from tests.metric_oracles import EXACT, LABELS, naive_ece, naive_probabilities, scored_rows


@given(scored_rows(), st.sampled_from([0.5, 1.0, 3.0]))
@settings(deadline=None, max_examples=40)
def test_calibration_of_two_classes_equals_scikit_learn_and_a_naive_oracle(rows, temperature):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=LABELS, temperature=temperature)
    probabilities = naive_probabilities(logits / np.float64(temperature))
    is_positive = label_ids == 0
    assert found["brier"] == pytest.approx(sk.brier_score_loss(is_positive, probabilities[:, 0]), **EXACT)
    if probabilities.min() > 1e-12:  # below, scikit-learn clips what is computed here from the logits
        expected = sk.log_loss(label_ids, probabilities, labels=[0, 1])
        assert found["log_loss"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    stated = softmax(logits / np.float64(temperature))[:, 0]
    assert found["ece"] == pytest.approx(naive_ece(stated.tolist(), is_positive), **EXACT)


def test_classes_whose_probabilities_tie_are_still_decided_by_their_logits():
    logits = np.array([[0.0, 0.0, 6.712283e-36]], dtype=np.float32)
    assert len(set(softmax(logits)[0])) == 1
    right, wrong = (compute_metrics(logits, np.array([i]), labels=["a", "b", "c"]) for i in (2, 0))
    assert (right["accuracy"], right["ece"]) == (1.0, pytest.approx(2 / 3))
    assert (wrong["accuracy"], wrong["ece"]) == (0.0, pytest.approx(1 / 3))


@given(scored_rows(n_classes=3))
@settings(deadline=None, max_examples=40)
def test_calibration_of_more_classes_sums_brier_and_judges_the_likeliest(rows):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=["a", "b", "c"])
    probabilities = softmax(logits)
    expected = np.mean(
        [np.sum((p - np.eye(3)[i]) ** 2) for p, i in zip(probabilities, label_ids, strict=True)]
    )
    assert found["brier"] == pytest.approx(expected, **EXACT)
    likeliest = probabilities.max(axis=1).tolist()
    assert found["ece"] == pytest.approx(naive_ece(likeliest, logits.argmax(axis=1) == label_ids), **EXACT)
    assert found["partial_auroc_fpr_5"] is None
