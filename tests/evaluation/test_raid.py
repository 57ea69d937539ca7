"""RAID's protocol: against a slow version written from its description, and the numbers that it must give.

`make test-raid` holds it against the leaderboard's own code, which needs an environment of its own.
"""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from qwenkit.errors import DataError
from qwenkit.evaluation.raid import describe_results, normalise_ranks, run_protocol, search_threshold
from tests.tools.compare_with_raid import SCHEMA, draw_rows, draw_scores


def make_rows(kind="ranked", *, seed=0, humans=130):
    rng = np.random.default_rng(seed)
    rows = draw_rows(rng, humans=humans)
    scores = draw_scores(kind, rows, rng)
    return pl.DataFrame(rows, schema=SCHEMA).with_columns(pl.Series("score", scores))


def find(found, **place):
    wanted = dict.fromkeys(("domain", "attack", "model", "decoding", "repetition_penalty"), "all") | place
    (record,) = [one for one in found["scores"] if all(one[name] == wanted[name] for name in wanted)]
    return record


@given(st.lists(st.integers(0, 5).map(float) | st.floats(-1e6, 1e6), min_size=1, max_size=50))
@settings(deadline=None, max_examples=60)
def test_ranks_keep_order_and_ties_and_lie_between_0_and_1(values):
    scores = np.array(values)
    ranks = normalise_ranks(scores)
    assert ranks.dtype == np.float64
    assert ((ranks >= 0) & (ranks <= 1)).all()
    assert (np.sign(ranks[:, None] - ranks) == np.sign(scores[:, None] - scores)).all()
    assert ranks.mean() == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["ranked", "tied", "random"])
def test_every_split_is_measured_as_by_hand(kind):
    rows = make_rows(kind)
    found = run_protocol(rows)
    # By hand: 3 domains + all, 2 attacks + all, 2 models + all, 2 decodings + all, 2 penalties + all, where
    # gpt4 has no penalty at all.
    assert len(found["scores"]) == 4 * 3 * 3 * (2 * 3 + 1)
    for record in found["scores"]:
        chosen = rows.filter(pl.col("model") != "human")
        humans = rows.filter(pl.col("model") == "human")
        for name in ("domain", "attack", "model", "decoding", "repetition_penalty"):
            if record[name] != "all":
                chosen = chosen.filter(pl.col(name) == record[name])
                if name == "domain":
                    humans = humans.filter(pl.col("domain") == record["domain"])
        truth = np.arange(chosen.height + humans.height) < chosen.height
        scores = np.concatenate([chosen["score"], humans["score"]])
        assert record["auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
        for target, rate in record["accuracy"].items():
            if rate is None:
                continue
            flagged = [
                score >= found["thresholds"][target][domain]
                for score, domain in zip(chosen["score"], chosen["domain"], strict=True)
            ]
            assert (rate["tp"], rate["fn"]) == (sum(flagged), len(flagged) - sum(flagged))
            assert rate["accuracy"] == sum(flagged) / len(flagged)


def test_ranked_scores_meet_the_target_where_there_are_humans_enough():
    found = run_protocol(make_rows(humans=400))
    for target in ("0.05", "0.01"):
        for fpr in found["fpr"][target].values():
            assert abs(fpr - float(target)) <= 0.0005
    assert find(found)["accuracy"]["0.05"]["accuracy"] > 0.3


def test_a_split_with_a_missing_score_is_left_out_and_with_it_the_whole():
    rows = make_rows()
    place = rows.with_row_index().filter(
        (pl.col("model") == "gpt4") & (pl.col("domain") == "news") & (pl.col("attack") == "none")
    )["index"][0]
    scores = rows["score"].to_list()
    scores[place] = None
    found = run_protocol(rows.with_columns(pl.Series("score", scores)))
    splits = {
        tuple(one[name] for name in ("domain", "model", "attack", "decoding", "repetition_penalty"))
        for one in found["scores"]
    }
    assert ("all",) * 5 not in splits
    assert ("news", "gpt4", "none", "all", "all") not in splits
    assert {("books", *["all"] * 4), ("news", "llama-chat", "all", "all", "all")} <= splits
    results = describe_results({"detector_name": "x"}, found)
    assert "_note" in results["score_agg"]["all"]


def test_a_domain_that_misses_its_target_has_no_rate_nor_has_the_whole():
    rows = make_rows("two values").with_columns(
        score=pl.when((pl.col("domain") == "news") & (pl.col("model") == "human"))
        .then(1.0)
        .otherwise("score")
    )
    found = run_protocol(rows)
    assert find(found, domain="news")["accuracy"] == {"0.05": None, "0.01": None}
    assert find(found)["accuracy"] == {"0.05": None, "0.01": None}
    assert find(found, domain="news")["auroc"] is not None


def test_without_human_texts_of_a_domain_there_is_a_clear_error():
    rows = make_rows().filter((pl.col("model") != "human") | (pl.col("domain") != "news"))
    with pytest.raises(DataError, match='unattacked human texts of the domain "news"'):
        run_protocol(rows)


def test_a_search_that_never_flags_anyone_says_so():
    # The mean of so many 0.7 is above 0.7 by rounding, and so is each threshold that the search steps to.
    scores = np.full(130, 0.7)
    assert sum(scores.tolist()) / 130 > 0.7
    with pytest.raises(DataError, match="rank-normalised"):
        search_threshold(scores, target_fpr=0.05, epsilon=0.0005)


@pytest.mark.parametrize(
    ("power", "humans", "target", "threshold", "fpr"),
    [
        (1, 130, 0.05, 0.9405940594864826, 0.0461538461538461),
        (1, 130, 0.01, 0.9801980198048279, 0.007692307692307665),
        (6, 130, 0.05, 0.6924898134421784, 0.0461538461538461),
        (12, 211, 0.01, 0.7866215676951525, 0.009478672985781977),
        (3, 40, 0.05, 0.8722346916095391, 0.050000000000000044),
        (3, 40, 0.01, 0.9705901478649155, 0.025000000000000022),
    ],
)
def test_the_search_ends_where_the_leaderboards_own_ends(power, humans, target, threshold, fpr):
    """Numbers of raid-bench 0.2, which end within epsilon, below the target and above it."""
    scores = np.array([((number * 37 % 101) / 101) ** power for number in range(humans)])
    found = search_threshold(scores, target_fpr=target, epsilon=0.0005)
    # From Python 3.12 on, sum() rounds less: the start, and with it the threshold, may move by a last bit.
    assert found == (pytest.approx(threshold, rel=1e-14), fpr)


def test_results_carry_the_fields_of_the_leaderboard():
    metadata = {"date_released": "2026-01-01", "detector_name": "x", "contact_info": "y"}
    results = describe_results(metadata, run_protocol(make_rows()))
    assert set(results) == {
        "date_released",
        "detector_name",
        "contact_info",
        "website",
        "paper_link",
        "huggingface_link",
        "github_link",
        "additional_metadata",
        "score_agg",
        "scores",
        "thresholds",
        "fpr",
    }
    assert results["score_agg"]["no_adversarial"]["attack"] == "none"
    assert results["score_agg"]["all"]["attack"] == "all"
