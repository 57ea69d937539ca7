"""Slices and frozen thresholds: naive counts, honest marks where rows are few, the worst first."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from qwenkit.errors import ConfigError
from qwenkit.evaluation.analysis import analyse, trace_coverage
from qwenkit.evaluation.evaluate import evaluate_split
from qwenkit.evaluation.interval_tables import (
    describe_threshold,
    format_range,
    metric_table,
    point_table,
    slice_table,
)
from qwenkit.evaluation.operating_points import calibrate
from qwenkit.evaluation.slices import choose_slice_columns, cut_slices
from qwenkit.evaluation.uncertainty import ScoredRows
from qwenkit.metrics import log_odds

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture(scope="module")
def validation():
    rng = np.random.default_rng(7)
    label_ids = np.arange(2_000) % 2
    logits = rng.normal(size=(2_000, 2)) + 1.5 * np.eye(2)[label_ids]
    return calibrate(logits, label_ids, labels=LABELS)


@pytest.fixture
def make_test(make_prepared, make_logits, validation):
    """An evaluation in which poetry is hard, drama is rare, and gpt4 has machine rows only."""

    def make(n_rows=1_200, **columns):
        domains = [("news", "poetry", "wiki")[row // 2 % 3] if row >= 8 else "drama" for row in range(n_rows)]
        generators = [("gpt4", "llama")[row // 2 % 2] if row % 2 == 0 else "human" for row in range(n_rows)]
        prepared = make_prepared(n_rows, **{"domain_name": domains, "model": generators, **columns})
        logits = make_logits(prepared, skill=1.5)
        logits[np.array(domains) == "poetry"] = np.random.default_rng(3).normal(
            size=(domains.count("poetry"), 2)
        )
        return evaluate_split(
            logits,
            prepared["row_id"].to_numpy(),
            prepared,
            labels=LABELS,
            temperature=validation.temperature,
        )

    return make


def test_every_slice_is_counted_as_one_would_by_hand(make_test, validation):
    evaluation = make_test()
    points = list(validation.points.values())
    analysis = analyse(evaluation, points=points, draws=60)
    predictions = evaluation.predictions
    logits = predictions.select("logit_AI_Generated", "logit_Human_Written").to_numpy().astype(np.float64)
    scores = log_odds(logits, 0, temperature=validation.temperature)
    truth = predictions["label_id"].to_numpy() == 0
    assert {one.column for one in analysis.slices} == {"domain_name", "model"}
    for one in analysis.slices:
        rows = predictions[one.column].to_numpy() == one.value
        assert (one.positives, one.negatives) == ((rows & truth).sum(), (rows & ~truth).sum())
        assert one.accuracy.value == pytest.approx(predictions["correct"].to_numpy()[rows].mean())
        for point in points:
            rates = one.rates[point.name]
            for found, of_class in ((rates.tpr, truth), (rates.fpr, ~truth)):
                if not (rows & of_class).any():
                    assert found is None
                    continue
                assert found.value == pytest.approx((scores[rows & of_class] >= point.threshold).mean())
                assert found.low <= found.value <= found.high
        # A slice of one class is ranked against all rows of the other.
        is_against_all = len(set(truth[rows].tolist())) == 1
        assert one.is_against_all == is_against_all
        compared = rows | (truth != truth[rows][0]) if is_against_all else rows
        assert one.auroc.value == pytest.approx(roc_auc_score(truth[compared], scores[compared]))


def test_the_worst_slice_of_a_column_comes_first_and_the_small_one_last(make_test, validation):
    analysis = analyse(make_test(), points=list(validation.points.values()), draws=60)
    domains = [one for one in analysis.slices if one.column == "domain_name"]
    assert domains[0].value == "poetry"
    assert domains[-1].value == "drama"
    assert [one.is_small for one in domains] == [False, False, False, True]
    assert analysis.main_decision == "fpr=0.01"
    _, rows = slice_table(analysis.slices, analysis.main_decision)
    assert rows[-1][0] == "domain_name = drama"
    assert rows[-1][2].endswith("*") and rows[-1][3].endswith("*")
    assert not rows[0][2].endswith("*")


def test_a_frozen_threshold_shows_what_it_promised_and_what_it_did(make_test, validation):
    evaluation = make_test()
    analysis = analyse(evaluation, points=list(validation.points.values()), draws=60)
    truth = evaluation.predictions["label_id"].to_numpy() == 0
    for one in analysis.points:
        (found, missed), (wrong, right) = one.confusion
        assert (found + missed, wrong + right) == (truth.sum(), (~truth).sum())
        assert one.rates.fpr.value == pytest.approx(wrong / (wrong + right))
        assert one.rates.tpr.value == pytest.approx(found / (found + missed))
        assert one.precision == pytest.approx(found / (found + wrong))
        assert one.point.fpr <= one.point.target_fpr
        assert 0 < one.coverage < 1
        assert one.error_when_decided < 1 - evaluation.metrics["accuracy"]
    columns, rows = point_table(analysis.points)
    assert [len(row) for row in rows] == [len(columns)] * 2
    assert rows[0][0].startswith("5.0")


def test_a_column_that_the_user_names_must_be_there(make_test):
    predictions = make_test(60).predictions
    with pytest.raises(ConfigError, match=r'slice_columns names "genre".*domain_name'):
        choose_slice_columns(predictions, wanted=["genre"])
    assert choose_slice_columns(predictions, wanted=["model"], known=["domain_name"]) == [
        "model",
        "domain_name",
        "length_bucket",
    ]


def test_lengths_and_other_numbers_are_cut_into_ranges(make_prepared, make_logits):
    prepared = make_prepared(
        600, text=["x" * (10 + 10 * row) for row in range(600)], score=np.arange(600) / 7
    )
    evaluation = evaluate_split(make_logits(prepared), prepared["row_id"].to_numpy(), prepared, labels=LABELS)
    slices = cut_slices(evaluation.predictions, ["length_bucket", "score"])
    lengths = {one.value: len(one.row_numbers) for one in slices if one.column == "length_bucket"}
    assert lengths["under 250 characters"] == 24
    assert lengths["1,000 to 2,000 characters"] == 100
    assert sum(lengths.values()) == 600
    assert sorted(len(one.row_numbers) for one in slices if one.column == "score") == [120] * 5


def test_a_column_with_one_value_or_with_nulls_is_handled(make_test):
    evaluation = make_test(120, attack=["none"] * 120, source=[None, "x"] * 60)
    slices = cut_slices(evaluation.predictions, ["attack", "source"])
    assert {(one.column, one.value) for one in slices} == {("source", "(none)"), ("source", "x")}


def test_groups_of_near_duplicates_count_as_one(make_test, validation):
    points = list(validation.points.values())
    alone = analyse(make_test(), points=points, draws=200)
    grouped = analyse(make_test(group=[row // 20 for row in range(1_200)]), points=points, draws=200)
    assert (alone.n_groups, grouped.n_groups) == (1_200, 60)
    drama = next(one for one in grouped.slices if one.value == "news")
    assert not drama.few_positives


def test_three_classes_have_slices_and_intervals_but_no_points(make_evaluation, validation):
    evaluation = make_evaluation(300, labels=["a", "b", "c"])
    analysis = analyse(evaluation, points=list(validation.points.values()), draws=60)
    assert analysis.points == [] and analysis.auroc_delong is None
    assert analysis.main_decision == "argmax"
    assert {one.value for one in analysis.slices} == {"news", "books", "wiki"}
    json.dumps(analysis.to_json(), allow_nan=False)


def test_one_class_only_still_has_slices_and_accuracy(make_evaluation):
    evaluation = make_evaluation(300)
    only = evaluation.predictions.filter(pl.col("label_id") == 0)
    from qwenkit.evaluation.evaluate import measure_predictions

    analysis = analyse(measure_predictions(only, labels=LABELS), draws=60)
    assert "accuracy" in analysis.intervals and "auroc" not in analysis.intervals
    assert all(one.auroc is None and one.rates["argmax"].fpr is None for one in analysis.slices)
    json.dumps(analysis.to_json(), allow_nan=False)


def test_everything_is_written_as_plain_json_and_as_tables(make_test, validation):
    evaluation = make_test()
    analysis = analyse(evaluation, points=list(validation.points.values()), draws=60)
    written = json.loads(json.dumps(analysis.to_json(), allow_nan=False))
    assert written["intervals"]["auroc"]["value"] == evaluation.metrics["auroc"]
    assert set(written["operating_points"]) == {"fpr=0.05", "fpr=0.01"}
    columns, rows = metric_table(evaluation.metrics, analysis)
    assert {len(row) for row in rows} == {len(columns)}


def test_the_coverage_curve_ends_with_the_error_on_all_rows():
    logits = np.array([[5.0, 0], [4, 0], [0, 3], [0, 2], [1, 0], [1, 0]])
    label_ids = np.array([0, 0, 1, 1, 1, 0])
    curve = trace_coverage(ScoredRows(logits=logits, label_ids=label_ids, positive_id=0))
    assert curve[0] == (pytest.approx(1 / 6), 0.0)
    # The last two are equally sure, so they are decided together.
    assert [point[0] for point in curve] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 1.0])
    assert curve[-1] == (1.0, pytest.approx(1 / 6))


def test_rates_near_zero_and_thresholds_near_one_keep_their_digits(validation):
    assert format_range(0.0004, 0.0123).startswith("0.04 to 1.23")
    assert format_range(0.01, 0.2).startswith("1.0 to 20.0")
    point = validation.points["fpr=0.01"].model_copy(update={"threshold": 12.0})

    class One:
        pass

    one = One()
    one.point = point
    assert describe_threshold(one) == "p ≥ 1 − 6.1e-06"
    one.point = point.model_copy(update={"threshold": None})
    assert describe_threshold(one) == "flags nothing"
