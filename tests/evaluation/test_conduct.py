"""What an evaluation says on the terminal: all of it, and nothing that the data smuggles in."""

import pytest

from qwenkit.console import Console
from qwenkit.evaluation.conduct import Outcome, show_outcome
from qwenkit.evaluation.evaluate import compare_before_after
from tests.evaluation.hostile_texts import HOSTILE


@pytest.fixture
def outcome_full_of(make_evaluation, analyse_fully, make_robustness):
    """Make an outcome in which a text stands wherever one can come from outside."""

    def make(text):
        column = f"{text}column"
        values = [text[:100] + str(row % 2) for row in range(30)]
        evaluation = make_evaluation(30, labels=[f"{text}1", f"{text}2"], **{column: values})
        return Outcome(
            evaluation=evaluation,
            comparison=compare_before_after(evaluation, evaluation),
            baselines={"words": evaluation.metrics},
            analysis=analyse_fully(evaluation, slice_columns=[column]),
            clean=None,
            robustness=make_robustness(evaluation, held_out_name=text or "x"),
            pictures=[],
        )

    return make


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_text_on_the_terminal(hostile, outcome_full_of, capsys):
    show_outcome(Console(), outcome_full_of(hostile))
    printed = "".join(capsys.readouterr())
    assert not set(printed) & {"\x00", "\x1b", "\r", "\t", "\u202e", "\u202c"}
    assert len(printed) < 100_000


def test_every_table_is_printed(outcome_full_of, capsys):
    show_outcome(Console(), outcome_full_of("harmless"))
    printed = "".join(capsys.readouterr())
    for title in (
        "Before and after training",
        "Against baselines",
        "Thresholds from validation, applied here",
        "Slices, worst first",
        "Under attack, worst first",
        "Cut short",
        "What training never saw, beside the test split",
    ):
        assert title in printed
