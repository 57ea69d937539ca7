"""The verdict at the top of the report: who wins, by how much, and what that rests on."""

from dataclasses import replace

import pytest

from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.page import ReportContext
from qwenkit.evaluation.report import list_tiles, render_report
from qwenkit.evaluation.verdict import write_verdict


def test_names_in_right_to_left_scripts_do_not_turn_the_sentence_around(make_evaluation):
    evaluation = make_evaluation(labels=["שלום", "Human"])
    assert (
        "\u2068שלום\u2069 from Human" in write_verdict(ReportContext(title="x", evaluation=evaluation)).result
    )


@pytest.mark.parametrize(
    ("baseline_auroc", "tone", "said"),
    [
        (0.70, "good", "It beats the best simple baseline, Word TF-IDF (AUROC 0.700), by 0.100."),
        (0.795, "level", "It is level with the best simple baseline, Word TF-IDF (AUROC 0.795)"),
        (0.90, "bad", "A simple baseline beats it by 0.100: Word TF-IDF (AUROC 0.900)"),
    ],
)
def test_the_verdict_says_plainly_who_wins(baseline_auroc, tone, said, make_evaluation):
    evaluation = make_evaluation()
    evaluation.metrics["auroc"] = 0.8
    baselines = {
        "majority": evaluation.metrics | {"auroc": 0.5},
        "words": evaluation.metrics | {"auroc": baseline_auroc},
    }
    context = ReportContext(title="x", evaluation=evaluation, baselines=baselines)
    verdict = write_verdict(context)
    assert verdict.tone == tone
    assert verdict.against_baselines.startswith(said)
    assert f'class="verdict {tone}"' in render_report(context)


@pytest.mark.parametrize(
    ("low", "high", "tone", "said"),
    [
        (0.01, 0.19, "good", "It beats the best simple baseline"),
        (
            -0.01,
            0.21,
            "level",
            "It does not beat the best simple baseline, Word TF-IDF (AUROC 0.700), by more",
        ),
        (-0.3, -0.1, "bad", "A simple baseline beats it"),
    ],
)
def test_only_a_lead_larger_than_chance_beats_a_baseline(
    low, high, tone, said, make_evaluation, analyse_fully
):
    evaluation = make_evaluation()
    evaluation.metrics["auroc"] = 0.8
    lead = Interval(value=0.1, low=low, high=high)
    analysis = replace(analyse_fully(evaluation), baseline_leads={"words": {"auroc": lead}})
    baselines = {"words": evaluation.metrics | {"auroc": 0.7}}
    verdict = write_verdict(
        ReportContext(title="x", evaluation=evaluation, baselines=baselines, analysis=analysis)
    )
    assert verdict.tone == tone
    assert verdict.against_baselines.startswith(said)
    # "Beats it by" speaks for the baseline, so its bounds do too.
    low, high = (-high, -low) if tone == "bad" else (low, high)
    assert f"(95 % interval {low:+.3f} to {high:+.3f})" in verdict.against_baselines


def test_the_verdict_warns_where_one_percent_of_the_negatives_is_nobody(make_evaluation):
    few = write_verdict(ReportContext(title="x", evaluation=make_evaluation(60)))
    assert "With 30 Human_Written rows, 1 in 100 means none at all" in few.at_low_fpr
    many = write_verdict(ReportContext(title="x", evaluation=make_evaluation(200)))
    assert "means none at all" not in many.at_low_fpr


def test_the_verdict_tells_what_the_frozen_threshold_did(full_context):
    said = write_verdict(full_context).at_low_fpr
    (point,) = [one for one in full_context.analysis.points if one.point.name == "fpr=0.05"]
    assert said.startswith("At the threshold fixed on validation for a false-positive rate of 5.0")
    assert f"{100 * point.rates.fpr.value:.1f}" in said and f"{100 * point.rates.tpr.value:.1f}" in said


def test_the_tiles_round_and_leave_out_the_undefined(make_evaluation):
    metrics = make_evaluation().metrics | {"auroc": 0.12349, "tpr_at_fpr_5": 0.1667, "tpr_at_fpr_1": None}
    tiles = {title: value for title, value, _ in list_tiles(metrics | {"balanced_accuracy": 1.0})}
    assert tiles == {"AUROC": "0.123", "Balanced accuracy": "1.000", "TPR at FPR 5 %": "0.167"}
