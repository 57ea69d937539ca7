"""Every metric against scikit-learn's own function, or against an oracle written out naively."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from qwenkit.errors import ConfigError, DataError, DivergedError
from qwenkit.metrics import compute_metrics, cross_entropy, find_operating_point, flatten_metrics
from qwenkit.probabilities import log_softmax, softmax
from tests.metric_oracles import (
    EXACT,
    LABELS,
    naive_auroc,
    naive_average_precision,
    naive_partial_auroc,
    naive_probabilities,
    naive_rates,
    naive_tpr_at_fpr,
    scored_rows,
)


@given(scored_rows(all_classes=True), st.sampled_from(LABELS))
@settings(deadline=None, max_examples=40)
def test_ranking_metrics_equal_their_naive_oracles(rows, positive_label):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=LABELS, positive_label=positive_label)
    positive_id = LABELS.index(positive_label)
    # The difference of the logits: probabilities next to 1 would tie by rounding.
    margins = logits.astype(np.float64) @ np.where(np.arange(2) == positive_id, 1.0, -1.0)
    scores, is_positive = margins, label_ids == positive_id
    assert found["auroc"] == pytest.approx(naive_auroc(scores, is_positive), **EXACT)
    assert found["average_precision"] == pytest.approx(naive_average_precision(scores, is_positive), **EXACT)
    assert found["partial_auroc_fpr_5"] == pytest.approx(naive_partial_auroc(scores, is_positive), **EXACT)
    assert found["tpr_at_fpr_5"] == naive_tpr_at_fpr(scores, is_positive, 0.05)
    assert found["tpr_at_fpr_1"] == naive_tpr_at_fpr(scores, is_positive, 0.01)


@given(scored_rows())
@settings(deadline=None, max_examples=40)
def test_decisions_equal_scikit_learns_own_functions(rows):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=LABELS)
    predicted = logits.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a class has no rows, which is the case under test
        balanced = sk.balanced_accuracy_score(label_ids, predicted)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(label_ids, predicted), **EXACT)
    assert found["balanced_accuracy"] == pytest.approx(balanced, **EXACT)
    for name, function in {
        "precision": sk.precision_score,
        "recall": sk.recall_score,
        "f1": sk.f1_score,
    }.items():
        for suffix, average in {"": "weighted", "_macro": "macro"}.items():
            expected = function(label_ids, predicted, labels=[0, 1], average=average, zero_division=0)
            assert found[name + suffix] == pytest.approx(expected, **EXACT)
        by_class = function(label_ids, predicted, labels=[0, 1], average=None, zero_division=0)
        assert [found["per_class"][label][name] for label in LABELS] == pytest.approx(
            by_class.tolist(), **EXACT
        )
    assert found["confusion_matrix"] == sk.confusion_matrix(label_ids, predicted, labels=[0, 1]).tolist()
    assert [found["per_class"][label]["support"] for label in LABELS] == [
        sum(r) for r in found["confusion_matrix"]
    ]


@given(scored_rows(n_classes=3), st.lists(st.floats(0.1, 5), min_size=3, max_size=3))
@settings(deadline=None, max_examples=40)
def test_loss_is_torchs_weighted_cross_entropy_over_all_rows(rows, weights):
    import torch

    logits, label_ids = rows
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits, dtype=torch.float64),
        torch.tensor(label_ids),
        weight=torch.tensor(weights, dtype=torch.float64),
    )
    # Near-zero losses are differences of numbers near one.
    assert cross_entropy(logits, label_ids, weights) == pytest.approx(expected.item(), rel=1e-9, abs=1e-12)


@given(scored_rows(n_classes=3, all_classes=True))
@settings(deadline=None, max_examples=40)
def test_softmax_equals_its_naive_oracle(rows):
    logits, _ = rows
    assert softmax(logits) == pytest.approx(naive_probabilities(logits), **EXACT)


def test_softmax_of_huge_logits_neither_overflows_nor_loses_the_loss():
    logits = np.array([[1e30, -1e30], [0.0, 800.0]])
    assert softmax(logits).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert log_softmax(logits)[1].tolist() == [-800.0, 0.0]
    assert compute_metrics(logits, np.array([0, 0]), labels=LABELS)["loss"] == 400.0


@given(scored_rows(n_classes=3, all_classes=True))
@settings(deadline=None, max_examples=40)
def test_three_classes_get_the_one_versus_rest_mean_and_no_rates_at_a_fixed_fpr(rows):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=["a", "b", "c"])
    expected = sk.roc_auc_score(
        label_ids, softmax(logits), multi_class="ovr", average="macro", labels=[0, 1, 2]
    )
    assert found["auroc"] == pytest.approx(expected, **EXACT)
    by_class = [naive_average_precision(softmax(logits)[:, k], label_ids == k) for k in range(3)]
    assert found["average_precision"] == pytest.approx(np.mean(by_class), **EXACT)
    assert found["tpr_at_fpr_5"] is None
    assert found["tpr_at_fpr_1"] is None


@pytest.mark.parametrize("only_class", [0, 1])
def test_one_class_leaves_ranking_undefined_and_the_rest_defined(only_class):
    found = compute_metrics(np.array([[1.0, 0.0], [0.0, 1.0]]), np.full(2, only_class), labels=LABELS)
    assert [found[name] for name in ("auroc", "average_precision", "tpr_at_fpr_5", "tpr_at_fpr_1")] == [
        None
    ] * 4
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5


def test_the_loss_in_the_metrics_is_weighted_by_class():
    logits, label_ids = np.array([[2.0, 0.0], [0.0, 1.0], [0.5, 0.0]]), np.array([0, 0, 1])
    found = compute_metrics(logits, label_ids, labels=LABELS, class_weights=[3.0, 0.5])
    assert found["loss"] == cross_entropy(logits, label_ids, [3.0, 0.5])
    assert found["loss"] != pytest.approx(cross_entropy(logits, label_ids))


def test_constant_scores_are_guessing():
    found = compute_metrics(np.zeros((10, 2)), np.arange(10) % 2, labels=LABELS)
    assert found["auroc"] == 0.5
    assert found["average_precision"] == 0.5
    assert found["tpr_at_fpr_5"] == 0.0
    assert found["balanced_accuracy"] == 0.5
    assert found["loss"] == pytest.approx(math.log(2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused_with_their_row(value):
    logits = np.zeros((5, 2), dtype=np.float32)
    logits[3, 1] = value
    with pytest.raises(DivergedError, match=r"1 of 5 rows \(the first is row 3\)"):
        compute_metrics(logits, np.zeros(5, dtype=int), labels=LABELS)


def test_no_rows_and_an_unknown_positive_label_are_the_users_errors():
    with pytest.raises(DataError, match="no rows"):
        compute_metrics(np.zeros((0, 2)), np.zeros(0, dtype=int), labels=LABELS)
    with pytest.raises(ConfigError, match=r'"AI" is none of the labels: AI_Generated, Human_Written'):
        compute_metrics(np.zeros((1, 2)), np.zeros(1, dtype=int), labels=LABELS, positive_label="AI")


@pytest.mark.parametrize(
    ("shape", "label_ids"),
    [
        ((2, 2), [0]),
        ((2, 3), [0, 1]),
        ((2,), [0, 1]),
        ((2, 2), [0, 2]),
        ((2, 2), [-1, 0]),
        ((2, 2), [0.0, 1.0]),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(shape, label_ids):
    with pytest.raises(ValueError, match=r"must"):
        compute_metrics(np.zeros(shape), np.array(label_ids), labels=LABELS)


@given(scored_rows(all_classes=True), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_operating_point_keeps_the_promised_fpr_and_gives_away_no_tpr(rows, target):
    logits, label_ids = rows
    scores, is_positive = logits[:, 0].astype(np.float64), label_ids == 0
    point = find_operating_point(scores, is_positive, target_fpr=target)
    assert point.fpr <= target
    assert (point.tpr, point.fpr) == naive_rates(scores, is_positive, point.threshold)
    assert point.tpr == naive_tpr_at_fpr(scores, is_positive, target)


def test_ties_at_the_threshold_stand_or_fall_together():
    # The tie at 0.9 holds 1 of 4 negatives: 25 % would break a promise of 24 %, so only 0.95 is flagged.
    scores = np.array([0.95, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1])
    is_positive = np.array([True, True, True, False, False, False, False])
    assert find_operating_point(scores, is_positive, target_fpr=0.24).tpr == pytest.approx(1 / 3)
    assert find_operating_point(scores, is_positive, target_fpr=0.25).tpr == 1.0


def test_a_point_on_a_straight_stretch_of_the_curve_is_found():
    # Four ties of one positive and one negative make the diagonal; its inner points are no corners.
    scores = np.repeat([0.9, 0.6, 0.3, 0.1], 2)
    point = find_operating_point(scores, np.tile([True, False], 4), target_fpr=0.6)
    assert (point.threshold, point.tpr, point.fpr) == (0.6, 0.5, 0.5)


def test_exactly_five_in_a_hundred_meets_a_target_of_five_percent():
    scores = np.concatenate([np.full(5, 0.9), np.full(95, 0.1), np.full(10, 0.9)])
    is_positive = np.arange(110) >= 100
    assert find_operating_point(scores, is_positive, target_fpr=0.05).tpr == 1.0


def test_nothing_is_flagged_where_a_negative_has_the_highest_score():
    point = find_operating_point(np.array([0.9, 0.5]), np.array([False, True]), target_fpr=0.05)
    assert (point.threshold, point.tpr, point.fpr) == (math.inf, 0.0, 0.0)


@given(scored_rows(all_classes=True), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_the_order_of_rows_does_not_matter(rows, random):
    logits, label_ids = rows
    order = list(range(len(label_ids)))
    random.shuffle(order)
    first = flatten_metrics(compute_metrics(logits, label_ids, labels=LABELS))
    second = flatten_metrics(compute_metrics(logits[order], label_ids[order], labels=LABELS))
    assert first == pytest.approx(second, **EXACT)


@given(scored_rows(n_classes=3))
@settings(deadline=None, max_examples=40)
def test_metrics_are_plain_json(rows):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=["a", "b", "c"], class_weights=[1, 2, 3])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_flat_metrics_are_numbers_under_prefixed_names_without_the_undefined():
    found = compute_metrics(np.eye(2), np.zeros(2, dtype=int), labels=LABELS)
    flat = flatten_metrics(found)
    assert flat["eval_balanced_accuracy"] == 0.5
    assert "eval_auroc" not in flat
    assert all(type(value) is float for value in flat.values())
    assert "test_loss" in flatten_metrics(found, prefix="test_")


def test_a_hostile_label_cannot_break_the_text_report():
    labels = ["a\nb\x1b[31m\u202e" + "x" * 1_000_000, "b"]
    report = compute_metrics(np.eye(2), np.array([0, 1]), labels=labels)["classification_report"]
    assert len(report) < 2_000
    assert not set(report) & {"\x1b", "\u202e"}


@given(st.integers(2, 4).flatmap(lambda n: scored_rows(n_classes=n)))
@settings(deadline=None, max_examples=40)
def test_matthews_correlation_equals_scikit_learns(rows):
    logits, label_ids = rows
    found = compute_metrics(logits, label_ids, labels=list("abcd")[: logits.shape[1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is one class only, which is a case under test
        expected = sk.matthews_corrcoef(label_ids, logits.argmax(axis=1))
    assert found["mcc"] == pytest.approx(expected, **EXACT)


@given(scored_rows(all_classes=True), st.randoms())
@settings(deadline=None, max_examples=30)
def test_no_metric_depends_on_the_order_of_the_rows(rows, random):
    logits, label_ids = rows
    shuffled = list(range(len(label_ids)))
    random.shuffle(shuffled)
    found = flatten_metrics(compute_metrics(logits, label_ids, labels=LABELS))
    again = flatten_metrics(compute_metrics(logits[shuffled], label_ids[shuffled], labels=LABELS))
    assert again == pytest.approx(found, rel=1e-9, abs=1e-12)


def test_logits_far_apart_keep_their_order_where_probabilities_tie_at_one():
    logits = np.array([[60.0, 0.0], [50.0, 0.0], [40.0, 0.0], [45.0, 0.0]])
    label_ids = np.array([0, 0, 1, 1])
    assert len(set(softmax(logits)[:, 0].tolist())) == 1
    assert compute_metrics(logits, label_ids, labels=LABELS)["auroc"] == 1.0
