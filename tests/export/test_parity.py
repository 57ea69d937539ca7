"""The measure that decides whether an export is kept."""

import numpy as np
import pytest

from qwenkit.errors import ArtifactError
from qwenkit.export.parity import check_parity, choose_rows, measure_parity

REFERENCE = np.array([[1.0, -0.5], [0.0, 0.01], [-1.0, 1.0]], dtype=np.float32)
BORDER_ROW_FLIPPED = np.array([[0, 0], [0.02, 0], [0, 0]], dtype=np.float32)


def check(exported, *, max_logit_difference=0.1, max_label_flips=0.0):
    parity = measure_parity(
        REFERENCE, np.asarray(exported, dtype=np.float32), max_logit_difference=max_logit_difference
    )
    check_parity(parity, format_name="merged", max_label_flips=max_label_flips)


def change_first_logit(*, by):
    changed = REFERENCE.copy()
    changed[0, 0] += by
    return changed


def test_differences_and_flips_are_counted():
    exported = REFERENCE + np.array([[0.5, 0], [0.02, 0], [0, 0]], dtype=np.float32)
    parity = measure_parity(REFERENCE, exported, max_logit_difference=0.1)
    assert parity["rows"] == 3
    assert parity["max_abs"] == pytest.approx(0.5)
    assert parity["mean_abs"] == pytest.approx(0.52 / 6)
    assert parity["label_flips"] == 1
    assert parity["rows_over"] == 1
    assert parity["difference_allowed"] == 0.1


def test_equal_models_pass_the_strictest_tolerance():
    check(REFERENCE, max_logit_difference=0.0)


def test_a_large_difference_without_a_flip_is_refused():
    with pytest.raises(ArtifactError, match=r"1 differ by more than 0\.1 in a logit \(the largest by 0\.5\)"):
        check(change_first_logit(by=0.5))


def test_a_flip_is_refused_unless_its_share_is_allowed():
    flipped = REFERENCE + BORDER_ROW_FLIPPED
    with pytest.raises(ArtifactError, match="1 change their label; 0 may"):
        check(flipped)
    check(flipped, max_label_flips=0.01)


def test_a_share_of_rows_may_differ_but_not_more():
    reference = np.tile(REFERENCE, (100, 1))
    for rows, is_kept in ((3, True), (4, False)):
        exported = reference.copy()
        exported[:rows, 0] += 0.5
        parity = measure_parity(reference, exported)
        if is_kept:
            check_parity(parity, format_name="merged", max_label_flips=0.01)
        else:
            with pytest.raises(ArtifactError, match="4 differ by more than"):
                check_parity(parity, format_name="merged", max_label_flips=0.01)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(broken):
    with pytest.raises(ArtifactError):
        check(change_first_logit(by=broken), max_logit_difference=1e9, max_label_flips=1.0)


def test_larger_logits_may_differ_by_as_much_more():
    reference = 10 * REFERENCE
    parity = measure_parity(reference, reference + np.float32(0.5), max_logit_difference=0.1)
    assert parity["reference_std"] == pytest.approx(reference.std())
    assert parity["rows_over"] == 0
    assert measure_parity(reference, reference + np.float32(0.5), max_logit_difference=0.05)["rows_over"] == 3


def test_rows_are_spread_evenly_and_never_twice():
    assert choose_rows(10, 4).tolist() == [0, 3, 6, 9]
    assert choose_rows(3, 256).tolist() == [0, 1, 2]
    assert len(choose_rows(257, 256)) == 256
