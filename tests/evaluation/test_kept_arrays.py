"""Arrays that are kept by what they come from: found again, not mistaken for others, and no obstacle."""

from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.artifacts import hold_lock
from qwenkit.evaluation.kept_arrays import KeptArrays, hash_texts

ARRAYS = {"logits": np.arange(6, dtype=np.float32).reshape(3, 2), "is_changed": np.array([True, False, True])}


def place(cache: Path, **changes: Any) -> KeptArrays:
    facts = {"stage": "scored", "revision": 1, "identity": {"model": "a", "texts": "b"}}
    return KeptArrays(cache=cache, **{**facts, **changes})


def test_kept_arrays_are_read_back_in_the_order_asked_for(tmp_path: Path) -> None:
    place(tmp_path).write(ARRAYS, counts={"rows": 3})
    found = place(tmp_path).read(("is_changed", "logits"))
    assert found is not None
    assert list(found) == ["is_changed", "logits"]
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


def test_another_stage_revision_or_identity_has_a_place_of_its_own(tmp_path: Path) -> None:
    place(tmp_path).write(ARRAYS, counts={})
    others = [{"stage": "baselines"}, {"revision": 2}, {"identity": {"model": "a", "texts": "c"}}]
    assert [place(tmp_path, **other).read(("logits",)) for other in others] == [None, None, None]


def test_an_array_that_changed_on_disk_does_not_count_until_it_is_kept_again(tmp_path: Path) -> None:
    kept = place(tmp_path)
    kept.write(ARRAYS, counts={})
    np.save(kept.folder / "logits.npy", ARRAYS["logits"] + 1)
    assert kept.read(("logits",)) is None
    kept.write(ARRAYS, counts={})
    assert kept.read(("logits",)) is not None


def test_a_place_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    kept = place(tmp_path)
    with hold_lock(kept.folder):
        kept.write(ARRAYS, counts={})
    assert kept.read(("logits",)) is None


def test_texts_are_told_apart_by_where_one_ends_and_by_their_order() -> None:
    lists = [["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], ["abc", ""], []]
    assert len({hash_texts(texts) for texts in lists}) == len(lists)
    assert hash_texts(["\ud800"]) == hash_texts(["\ud800"])
