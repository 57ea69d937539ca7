"""Lengths in numbers and in a picture: nothing is lost between the bins, and a cut is counted as one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.console import Console
from qwenkit.tokens.lengths import draw_histogram, show_lengths, summarize_lengths


def test_numbers_are_those_of_the_lengths_before_the_cut() -> None:
    summary = summarize_lengths([10, 20, 384, 385, 1001], max_length=384)
    assert (summary.rows, summary.longest, summary.median) == (5, 1001, 384.0)
    assert summary.mean == pytest.approx(360.0)
    assert summary.p95 == pytest.approx(np.percentile([10, 20, 384, 385, 1001], 95))
    assert summary.truncated_rows == 2
    assert summary.truncated_share == pytest.approx(0.4)
    assert summary.tokens == 1800
    assert summary.tokens_kept == 10 + 20 + 3 * 384
    assert summary.lost_share == pytest.approx(1 - 1182 / 1800)


def test_row_of_exactly_max_length_is_not_cut() -> None:
    assert summarize_lengths([384], max_length=384).truncated_rows == 0
    assert summarize_lengths([385], max_length=384).truncated_rows == 1


def test_without_truncation_nothing_counts_as_cut() -> None:
    summary = summarize_lengths([10, 1000], max_length=384, truncation=False)
    assert summary.truncated_rows == 0
    assert summary.tokens_kept == summary.tokens == 1010
    assert summary.lost_share == 0


@given(
    lengths=st.lists(st.integers(min_value=1, max_value=2000), max_size=60),
    max_length=st.integers(min_value=1, max_value=1000),
)
def test_every_row_is_in_exactly_one_bin(lengths: list[int], max_length: int) -> None:
    summary = summarize_lengths(lengths, max_length=max_length)
    for low, high, count in summary.histogram:
        assert count == sum(low <= length <= high for length in lengths)
    assert sum(count for _, _, count in summary.histogram) == len(lengths)
    assert len(draw_histogram(summary)) == len(summary.histogram)


def test_histogram_names_its_bins_and_shows_a_single_row() -> None:
    lines = draw_histogram(summarize_lengths([5] * 1000 + [100] + [500] * 250, max_length=384))
    assert lines[0] == f"    1-48  {'█' * 40} 1,000"
    assert lines[2] == "  97-144  ▏ 1"
    assert lines[3] == " 145-192   0"
    assert lines[-1] == f"over 384  {'█' * 10} 250"


def test_no_rows_give_zeros() -> None:
    summary = summarize_lengths([], max_length=384)
    assert (summary.rows, summary.longest, summary.tokens, summary.truncated_share) == (0, 0, 0, 0)


def test_lengths_are_shown_for_every_split(capsys: pytest.CaptureFixture[str]) -> None:
    train = summarize_lengths([5, 10, 500], max_length=384)
    show_lengths(Console(), {"train": train, "test": summarize_lengths([7], max_length=384)})
    shown = capsys.readouterr().out
    assert "1 (33.3 %)" in shown
    assert "test" in shown
    assert "over 384" in shown
