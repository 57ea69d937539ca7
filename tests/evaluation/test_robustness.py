"""Robustness from logits to tables: each number as by hand, each change against the very same rows."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from qwenkit.evaluation.challenges import ATTACK, LENGTH, Challenges, HeldOut, Variant
from qwenkit.evaluation.evaluate import evaluate_split
from qwenkit.evaluation.operating_points import calibrate
from qwenkit.evaluation.robustness import UNCHANGED, measure_robustness
from qwenkit.evaluation.robustness_tables import format_change, robustness_tables
from qwenkit.evaluation.uncertainty import bound_paired_share
from qwenkit.metrics import log_odds

ROWS, SAMPLED = 600, 400


@pytest.fixture
def points(make_prepared, make_logits):
    validation = make_prepared(2_000)
    logits = make_logits(validation, skill=2.0, seed=9)
    return list(calibrate(logits, validation["label_id"].to_numpy(), labels=["a", "b"]).points.values())


@pytest.fixture
def challenge(make_prepared, make_logits):
    """An evaluation, and a sample of its rows under attacks of three strengths, with a held-out split."""

    def make(*, n_classes=2, groups=None):
        labels = [f"class {number}" for number in range(n_classes)]
        prepared = make_prepared(ROWS, labels=labels, **({"group": groups} if groups is not None else {}))
        logits = make_logits(prepared, skill=2.0, n_classes=n_classes)
        evaluation = evaluate_split(logits, prepared["row_id"].to_numpy(), prepared, labels=labels)
        chosen = np.sort(np.random.default_rng(1).choice(ROWS, SAMPLED, replace=False))
        clean, truth = logits[chosen], np.eye(n_classes)[prepared["label_id"].to_numpy()[chosen]]
        is_changed = np.arange(SAMPLED) % 2 == 0
        variants = [
            Variant(
                kind=ATTACK,
                name=name,
                logits=(clean - strength * truth * is_changed[:, None]).astype(np.float32),
                is_changed=is_changed if strength else np.zeros(SAMPLED, dtype=bool),
            )
            for name, strength in (("number", 0.0), ("homoglyph", 4.0), ("whitespace", 1.0))
        ]
        variants += [
            Variant(kind=LENGTH, name=name, logits=clean, is_changed=np.zeros(SAMPLED, dtype=bool))
            for name in ("128", "32")
        ]
        other = make_prepared(200, labels=labels, first_row_id=9_000)
        held_out = HeldOut(
            name="test_holdout_model",
            rows=other,
            logits=make_logits(other, skill=0.0, seed=5, n_classes=n_classes),
        )
        row_ids = prepared["row_id"].to_numpy()[chosen]
        return evaluation, Challenges(row_ids=row_ids, variants=variants, held_out=[held_out])

    return make


def test_every_number_is_as_one_would_count_it_by_hand(challenge, points):
    evaluation, challenges = challenge()
    found = measure_robustness(evaluation, challenges, points=points, draws=200)
    point = next(point for point in points if point.name == found.decision)
    label_ids = (
        pl.DataFrame({"row_id": challenges.row_ids})
        .join(evaluation.predictions, on="row_id", how="left", maintain_order="left")["label_id"]
        .to_numpy()
    )
    is_positive = label_ids == 0
    variants = {one.name: one for one in challenges.variants}
    clean_rates = found.clean.measured.rates[point.name]
    assert [one.name for one in found.attacks] == ["homoglyph", "whitespace", "number"]
    assert [one.name for one in found.lengths] == ["32", "128"]
    for result in (*found.attacks, *found.lengths):
        scores = log_odds(variants[result.name].logits, 0, temperature=evaluation.temperature)
        flagged = point.flag(scores)
        rates = result.measured.rates[point.name]
        assert rates.fpr.value == pytest.approx(flagged[~is_positive].mean())
        assert rates.tpr.value == pytest.approx(flagged[is_positive].mean())
        assert result.measured.auroc.value == pytest.approx(roc_auc_score(is_positive, scores))
        change = result.rate_changes[point.name]
        assert change.tpr.value == pytest.approx(rates.tpr.value - clean_rates.tpr.value)
        assert change.fpr.value == pytest.approx(rates.fpr.value - clean_rates.fpr.value)
        for one in (change.tpr, change.fpr, result.auroc_change):
            assert one.low <= one.value <= one.high
        assert result.changed_rows == variants[result.name].is_changed.sum()
    assert found.test.measured.rows == ROWS
    (held_out,) = found.held_out
    assert held_out.measured.rows == 200
    assert held_out.rate_changes is None
    assert held_out.measured.auroc.value < 0.65 < found.test.measured.auroc.value


def test_what_no_attack_changed_is_not_said_to_vary(challenge, points):
    found = measure_robustness(*challenge(), points=points, draws=200)
    untouched = next(one for one in found.attacks if one.name == "number")
    assert untouched.auroc_change == UNCHANGED == untouched.rate_changes[found.decision].tpr
    assert format_change(untouched.auroc_change, in_percent=False) == "none"
    strong = next(one for one in found.attacks if one.name == "homoglyph")
    assert strong.auroc_change.high < 0
    assert strong.rate_changes[found.decision].tpr.high < 0


def test_a_change_on_the_same_rows_is_bounded_more_narrowly_than_on_others(challenge, points):
    found = measure_robustness(*challenge(), points=points, draws=400)
    weak = next(one for one in found.attacks if one.name == "whitespace")
    clean, attacked = found.clean.measured.auroc, weak.measured.auroc
    apart = np.hypot(clean.high - clean.low, attacked.high - attacked.low)
    assert weak.auroc_change.high - weak.auroc_change.low < 0.8 * apart


def test_near_duplicates_widen_what_is_said_of_a_change(challenge, points):
    alone = measure_robustness(*challenge(), points=points, draws=200)
    grouped = measure_robustness(*challenge(groups=np.arange(ROWS) // 6), points=points, draws=200)

    def width(found):
        change = found.attacks[0].rate_changes[found.decision].tpr
        return change.high - change.low

    # Some 200 positives in 100 groups: by the square root of 2.
    assert width(grouped) > 1.3 * width(alone)


@pytest.mark.parametrize(("gain", "loss"), [(0.01, 0.01), (0.02, 0.10), (0.0, 0.03), (0.25, 0.25)])
def test_the_interval_of_a_change_covers_the_truth(gain, loss):
    rows, draws = 300, 2_000
    gained, lost, _ = np.random.default_rng(3).multinomial(rows, [gain, loss, 1 - gain - loss], draws).T
    pairs = zip(gained.tolist(), lost.tolist(), strict=True)
    bounds = [bound_paired_share(*pair, rows, n_groups=rows) for pair in pairs]
    covered = np.mean([one.low <= gain - loss <= one.high for one in bounds])
    # 95 % with a standard error of 0.5 %; it is known to err on the wide side where little changes.
    assert 0.935 <= covered <= 0.995


def test_no_change_among_some_rows_is_no_proof_that_there_never_is_one():
    none_seen = bound_paired_share(0, 0, 100, n_groups=100)
    assert none_seen.value == 0.0
    assert -0.06 < none_seen.low < -0.02 < 0.02 < none_seen.high < 0.06
    assert bound_paired_share(0, 0, 100, n_groups=10).high > 2 * none_seen.high
    assert bound_paired_share(0, 0, 0, n_groups=0) is None


def test_more_classes_are_judged_by_the_likeliest_one(challenge, points):
    found = measure_robustness(*challenge(n_classes=3), points=points, draws=200)
    assert found.decision == "argmax"
    assert list(found.attacks[0].rate_changes) == ["argmax"]
    assert found.attacks[0].measured.accuracy.value < found.clean.measured.accuracy.value


def test_one_class_alone_has_its_rate_and_no_ranking(make_prepared, make_logits, points):
    prepared = make_prepared(80).filter(pl.col("label_id") == 1)
    logits = make_logits(prepared)
    evaluation = evaluate_split(
        logits, prepared["row_id"].to_numpy(), prepared, labels=["AI_Generated", "Human_Written"]
    )
    variant = Variant(kind=ATTACK, name="number", logits=logits[:, ::-1], is_changed=np.ones(40, dtype=bool))
    challenges = Challenges(row_ids=prepared["row_id"].to_numpy(), variants=[variant])
    found = measure_robustness(evaluation, challenges, points=points, draws=200)
    assert found.attacks[0].measured.auroc is found.attacks[0].auroc_change is None
    assert found.attacks[0].measured.rates[found.decision].tpr is None
    assert found.attacks[0].measured.rates[found.decision].fpr is not None
    titles = [title for title, _ in robustness_tables(found)]
    assert len(titles) == 2


def test_everything_is_written_as_plain_json_and_as_tables(challenge, points):
    found = measure_robustness(*challenge(), points=points, draws=200)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(written) == {"decision", "draws", "clean", "attacks", "lengths", "test", "held_out"}
    homoglyph = written["attacks"][0]
    assert homoglyph["rate"] == 1.0 and homoglyph["approximates"] is None
    assert set(homoglyph["change"]["rates"]["fpr=0.01"]) == {"fpr", "tpr"}
    full, brief = robustness_tables(found), robustness_tables(found, is_brief=True)
    assert [title for title, _ in full] == [title for title, _ in brief]
    for title, (columns, rows) in (*full, *brief):
        assert all(len(row) == len(columns) for row in rows), title
    assert full[0][1][1][0][0] == "As they are"
    assert full[2][1][1][1][0] == "test_holdout_model"
