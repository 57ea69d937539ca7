"""Thresholds chosen on validation: they keep to their target whatever the scores, and promise what comes."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import beta

from qwenkit.errors import ArtifactError, ConfigError, DivergedError
from qwenkit.evaluation.bootstrap import share_interval
from qwenkit.evaluation.operating_points import (
    calibrate,
    choose_operating_point,
    choose_threshold,
    find_operating_point,
    fit_temperature,
    promise_rate,
)
from qwenkit.metrics import cross_entropy, log_odds
from qwenkit.modeling.bundle import write_bundle
from qwenkit.modeling.operating_point import OperatingPoint, decide, parse_operating_point
from qwenkit.probabilities import softmax
from tests.modeling.tiny_models import make_bundle

LABELS = ["AI_Generated", "Human_Written"]
TARGETS = st.sampled_from([0.001, 0.01, 0.05, 0.07, 0.1, 0.29, 0.3, 0.5, 0.999])
# Coarse values tie all the time; the others reach what saturates a probability.
SCORES = st.lists(st.integers(-3, 3).map(float) | st.floats(-800, 800), min_size=1, max_size=60)


def draw_logits(rows, *, skill=1.5, seed=0):
    rng = np.random.default_rng(seed)
    label_ids = rng.integers(0, 2, size=rows)
    return rng.normal(size=(rows, 2)) + skill * np.eye(2)[label_ids], label_ids


@given(SCORES, SCORES, TARGETS)
@settings(deadline=None, max_examples=150)
def test_the_share_let_in_never_exceeds_the_target_and_no_lower_score_of_theirs_keeps_to_it(
    kept_out, wanted, target
):
    kept_out, wanted = np.array(kept_out), np.array(wanted)
    threshold = choose_threshold(kept_out, wanted, target_share=target)
    if threshold is None:
        threshold = math.inf
        assert wanted.max() <= kept_out.max()
    assert (kept_out >= threshold).sum() / len(kept_out) <= target
    for lower in set(kept_out.tolist()):
        if lower < threshold:
            assert (kept_out >= lower).sum() / len(kept_out) > target


@given(SCORES, SCORES, TARGETS)
@settings(deadline=None, max_examples=60)
def test_an_operating_point_says_what_it_does_on_the_rows_it_was_chosen_on(negatives, positives, target):
    scores = np.array(negatives + positives)
    is_positive = np.arange(len(scores)) >= len(negatives)
    point = choose_operating_point(scores, is_positive, target_fpr=target)
    flagged = point.flag(scores)
    assert point.fpr == flagged[~is_positive].mean() <= target
    assert point.tpr == flagged[is_positive].mean()
    cleared = ~flagged & ~point.abstain(scores)
    assert cleared[is_positive].mean() <= target
    assert point.coverage == pytest.approx((flagged | cleared).mean())
    assert OperatingPoint.model_validate_json(point.model_dump_json()) == point


def test_thresholds_keep_their_promise_on_new_texts():
    """The looser choice, just above the first negative that may not pass, would flag a third too many."""
    rng = np.random.default_rng(0)
    achieved, bounds = [], []
    for _ in range(400):
        negatives = rng.normal(size=3_000)
        threshold = choose_threshold(negatives, np.zeros(0), target_share=0.001)
        # The rate in the whole population, exactly: scores are standard normal.
        achieved.append(0.5 * math.erfc(threshold / math.sqrt(2)))
        bounds.append(promise_rate(int((negatives >= threshold).sum()), 3_000))
    # 400 draws of a rate with a spread of 0.058 % around its mean.
    assert np.mean(achieved) == pytest.approx(0.001, abs=4 * 0.00058 / 20)
    low, high = np.transpose(bounds)
    covered = ((low <= achieved) & (achieved <= high)).mean()
    # 95 % with a standard error of 1.1 %.
    assert 0.95 - 0.033 <= covered <= 0.95 + 0.033


RESAMPLES = 200


@pytest.mark.parametrize("target", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("copies", [1, 3])
def test_frozen_thresholds_achieve_what_they_promise_over_200_resamples(target, copies):
    """Thresholds from one draw of texts, applied to another: what `train` does, and then `evaluate`."""
    rng = np.random.default_rng(5)
    n_texts = 4_000
    is_positive = np.repeat(np.arange(2 * n_texts) % 2 == 0, copies)
    groups = np.repeat(np.arange(2 * n_texts), copies)
    points = []
    for _ in range(RESAMPLES):
        scores = np.repeat(rng.normal(size=2 * n_texts), copies) + 2.0 * is_positive
        points.append(choose_operating_point(scores, is_positive, target_fpr=target, groups=groups))
    thresholds = np.array([point.threshold for point in points])
    # The rate of each threshold in the whole population, exactly, and on a fresh draw of human texts.
    true_rates = ndtr(-thresholds)
    fresh = rng.normal(size=(RESAMPLES, n_texts)) >= thresholds[:, None]
    achieved = fresh.mean(axis=1)
    # Each of the two draws scatters the rate by the spread of a share of n_texts.
    spread = np.sqrt(target * (1 - target) / n_texts / RESAMPLES)
    assert true_rates.mean() == pytest.approx(target, abs=4 * spread)
    assert achieved.mean() == pytest.approx(target, abs=4 * np.sqrt(2) * spread)
    # 95 % with a standard error of 1.5 %.
    low, high = np.transpose([point.fpr_interval for point in points])
    assert ((low <= true_rates) & (true_rates <= high)).mean() == pytest.approx(0.95, abs=0.062)
    found = [
        share_interval(hits, n_texts, np.full(1, np.nan), n_groups=n_texts) for hits in fresh.sum(axis=1)
    ]
    covered = [one.low <= rate <= one.high for one, rate in zip(found, true_rates, strict=True)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.062)


def test_scores_that_tie_by_rounding_only_lower_the_rate():
    rng = np.random.default_rng(6)
    is_positive = np.arange(4_000) % 2 == 0
    achieved = []
    for _ in range(RESAMPLES):
        scores = np.round(rng.normal(size=4_000) + 2.0 * is_positive, 1)
        threshold = choose_operating_point(scores, is_positive, target_fpr=0.01).threshold
        achieved.append((np.round(rng.normal(size=2_000), 1) >= threshold).mean())
    assert 0.005 < np.mean(achieved) <= 0.01


def test_the_promised_rate_is_that_of_an_order_statistic():
    assert promise_rate(5, 500) == pytest.approx(beta(5, 496).ppf([0.025, 0.975]))
    # The rule of three: none seen in n bounds the rate by about 3 / n.
    assert promise_rate(0, 300) == (0.0, pytest.approx(3 / 300, rel=0.01))


def test_copies_of_a_text_make_no_promise_surer():
    scores = np.random.default_rng(0).normal(size=400)
    is_positive = np.arange(400) % 2 == 0
    once = choose_operating_point(scores, is_positive, target_fpr=0.05)
    copies = {"scores": np.repeat(scores, 5), "is_positive": np.repeat(is_positive, 5), "target_fpr": 0.05}
    as_rows = choose_operating_point(**copies)
    as_groups = choose_operating_point(**copies, groups=np.repeat(np.arange(400), 5))
    assert as_groups.fpr == as_rows.fpr == once.fpr
    assert as_groups.fpr_interval == pytest.approx(once.fpr_interval)
    assert as_rows.fpr_interval[1] < once.fpr_interval[1]


def test_a_tenth_of_a_percent_wants_three_thousand_negatives():
    for rows, expected in ((5_800, ["fpr=0.05", "fpr=0.01"]), (6_200, ["fpr=0.05", "fpr=0.01", "fpr=0.001"])):
        label_ids = np.arange(rows) % 2
        logits = np.random.default_rng(0).normal(size=(rows, 2))
        assert list(calibrate(logits, label_ids, labels=LABELS).points) == expected


def test_a_few_negatives_are_said_to_be_few():
    logits, label_ids = draw_logits(200)
    points = calibrate(logits, label_ids, labels=LABELS).points
    assert points["fpr=0.05"].is_well_supported
    assert not points["fpr=0.01"].is_well_supported


def test_three_classes_or_one_alone_have_a_temperature_but_no_operating_point():
    rng = np.random.default_rng(0)
    three = calibrate(rng.normal(size=(90, 3)), np.arange(90) % 3, labels=["a", "b", "c"])
    assert three.points == {} and three.temperature > 1
    one = calibrate(rng.normal(size=(30, 2)), np.zeros(30, dtype=int), labels=LABELS)
    assert one.points == {}


def test_logits_that_are_not_finite_are_refused():
    logits, label_ids = draw_logits(50)
    logits[3, 1] = math.nan
    with pytest.raises(DivergedError):
        calibrate(logits, label_ids, labels=LABELS)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_that_was_lost_is_found_again(temperature):
    # Classes drawn from the very probabilities that the logits state: only then is a temperature of 1 right.
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(40_000, 2)) * 1.5
    label_ids = (rng.random(40_000) > softmax(logits)[:, 0]).astype(int)
    # The slope of a logistic regression on 40,000 rows has a standard error of about 1 %.
    assert fit_temperature(logits * temperature, label_ids) == pytest.approx(temperature, rel=0.04)


@given(st.integers(0, 50))
@settings(deadline=None, max_examples=15)
def test_no_temperature_on_a_grid_has_a_lower_loss(seed):
    logits, label_ids = draw_logits(60, seed=seed, skill=0.7)
    found = cross_entropy(logits / fit_temperature(logits, label_ids), label_ids)
    assert found <= min(cross_entropy(logits / t, label_ids) for t in np.geomspace(0.05, 20, 60)) + 1e-9


def test_a_model_that_is_always_right_keeps_its_temperature():
    logits = np.array([[3.0, 0.0], [0.0, 1.0]])
    assert fit_temperature(logits, np.array([0, 1])) == 1.0


@pytest.mark.parametrize("text", ["fpr=0.01", "FPR=1%", "fpr=1 %", "fpr=1e-2", " fpr=.01 "])
def test_an_operating_point_is_read_from_a_rate_or_a_percentage(text):
    assert parse_operating_point(text) == pytest.approx(0.01)


@pytest.mark.parametrize("text", ["", "0.01", "fpr=", "fpr=0", "fpr=1", "fpr=150%", "tpr=0.9", "fpr=nan"])
def test_what_is_no_operating_point_is_refused(text):
    with pytest.raises(ConfigError, match="is no operating point"):
        parse_operating_point(text)


@pytest.mark.parametrize("positive_label", LABELS)
def test_decisions_follow_the_threshold_whichever_class_is_positive(positive_label):
    positive_id = LABELS.index(positive_label)
    logits, label_ids = draw_logits(400)
    found = calibrate(logits, label_ids, labels=LABELS, positive_label=positive_label)
    point = found.points["fpr=0.05"]
    how = {"labels": LABELS, "positive_label": positive_label, "temperature": found.temperature}
    decisions = np.array(decide(logits, point, **how))
    flagged = point.flag(log_odds(logits, positive_id, temperature=found.temperature))
    assert (decisions[flagged] == positive_label).all()
    assert (decisions[~flagged] == LABELS[1 - positive_id]).all()
    assert (decisions[label_ids != positive_id] == positive_label).mean() == point.fpr
    careful = np.array(decide(logits, point, may_abstain=True, **how))
    assert set(careful) == {*LABELS, "uncertain"}
    assert (careful != "uncertain").mean() == pytest.approx(point.coverage)


def test_another_target_is_chosen_on_the_stored_predictions_with_the_trained_models_temperature(tmp_path):
    logits, label_ids = draw_logits(500)
    write_bundle(tmp_path, make_bundle(temperature=2.0))
    path = tmp_path / "validation_predictions.parquet"
    columns = {f"logit_{name}": logits[:, index] for index, name in enumerate(LABELS)}
    pl.DataFrame({"label_id": label_ids, **columns}).write_parquet(path)
    asked = {"labels": LABELS, "positive_label": LABELS[0]}
    found = find_operating_point(0.02, {}, predictions_path=path, **asked)
    expected = choose_operating_point(log_odds(logits, 0, temperature=2.0), label_ids == 0, target_fpr=0.02)
    assert found == expected
    assert find_operating_point(0.02, {"fpr=0.02": expected}, predictions_path=None, **asked) == expected
    with pytest.raises(ArtifactError, match=r"has no operating point fpr=0\.02 \(it has: none\)"):
        find_operating_point(0.02, {}, predictions_path=None, **asked)
