"""Splits are kept or cut: within rounding in every stratum, and by content, not by place in the file."""

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.data.frames import UNSPLIT
from qwenkit.data.splits import allocate, assign_splits, choose_splits, hash_texts
from qwenkit.errors import ConfigError, DataError

NAMES = {"train": "train", "validation": "validation", "test": "test"}
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
ONE = pl.DataFrame({"text": ["a"]})


@given(
    sizes=st.lists(st.integers(0, 200), max_size=30),
    shares=st.lists(st.sampled_from([0.05, 0.1, 0.29, 0.7, 0.8, 1.0]), min_size=1, max_size=4),
)
def test_every_stratum_is_cut_within_rounding(sizes: Sequence[int], shares: Sequence[float]) -> None:
    counts = allocate(sizes, shares)
    assert [sum(line) for line in counts] == list(sizes)
    for size, line in zip(sizes, counts, strict=True):
        for count, share in zip(line, shares, strict=True):
            # 1e-9: the quota is computed in floats here and in fractions there.
            assert abs(count - size * share / sum(shares)) < 1 + 1e-9


def test_totals_come_out_right_even_where_every_stratum_is_one_row() -> None:
    counts = allocate([1] * 1000, [0.8, 0.1, 0.1])
    assert [sum(line[part] for line in counts) for part in range(3)] == [800, 100, 100]
    assert allocate([10], [0.8, 0.1, 0.1]) == [[8, 1, 1]]


def make_rows(n: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(n)],
            "label_id": [i % 2 for i in range(n)],
            "domain": [["news", "wiki", None][i % 3] for i in range(n)],
            "group": range(n),
        }
    )


def test_membership_follows_from_the_text_and_not_from_its_place() -> None:
    rows = make_rows(300)
    splits = dict(zip(rows["text"], assign_splits(rows, SHARES, seed=42), strict=True))
    shuffled = rows.sample(fraction=1, shuffle=True, seed=7)
    shuffled = shuffled.with_columns(group=pl.int_range(pl.len()))
    assert dict(zip(shuffled["text"], assign_splits(shuffled, SHARES, seed=42), strict=True)) == splits


def test_seed_changes_the_splits() -> None:
    rows = make_rows(300)
    assert assign_splits(rows, SHARES, seed=1).to_list() != assign_splits(rows, SHARES, seed=2).to_list()


def test_strata_are_cut_alike() -> None:
    rows = make_rows(6000)
    rows = rows.with_columns(split=assign_splits(rows, SHARES, seed=42))
    shares = rows.group_by("domain", "label_id").agg((pl.col("split") == "test").mean().alias("test"))
    assert shares["test"].to_list() == pytest.approx([0.1] * 6)


def test_rows_of_one_group_stay_together() -> None:
    rows = make_rows(300).with_columns(group=pl.int_range(pl.len()) // 2)
    rows = rows.with_columns(pl.col("domain").first().over("group"))
    rows = rows.with_columns(split=assign_splits(rows, SHARES, seed=42))
    assert rows.group_by("group").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 150
    assert set(rows["split"]) == set(SHARES)


def test_hash_of_a_text_never_changes() -> None:
    digest = hash_texts(pl.Series(["häß\n"]), seed=42)[0]
    assert digest.hex() == "6031b6378bd2f543cec27a0829290cf1"


def test_given_splits_are_found_by_name_or_by_a_usual_one() -> None:
    chosen, notes = choose_splits({"test": ONE, "dev": ONE, "train": ONE, "extra": ONE}, NAMES)
    assert list(chosen) == ["train", "validation", "test"]
    assert notes == [
        '"dev" is used as validation: there is no "validation"',
        "splits not used: extra (1 rows)",
    ]


def test_split_named_in_the_config_goes_before_a_usual_one() -> None:
    two = pl.concat([ONE, ONE])
    names = NAMES | {"validation": "holdout"}
    chosen, _ = choose_splits({"train": ONE, "validation": ONE, "holdout": two}, names)
    assert chosen["validation"].height == 2


def test_only_split_of_another_name_is_one_set() -> None:
    assert list(choose_splits({"full": ONE}, NAMES)[0]) == [UNSPLIT]
    assert list(choose_splits({"train": ONE}, NAMES)[0]) == ["train"]


def test_splits_without_one_to_train_on_are_refused() -> None:
    with pytest.raises(DataError, match='split "train" is not in the data; it has: test, other'):
        choose_splits({"test": ONE, "other": ONE}, NAMES)
    with pytest.raises(DataError, match='split "train" is not in the data; it has: test'):
        choose_splits({"test": ONE}, NAMES)


def test_one_split_cannot_have_two_roles() -> None:
    with pytest.raises(ConfigError, match="name one split twice"):
        choose_splits({"train": ONE, "test": ONE}, NAMES | {"validation": "test"})
