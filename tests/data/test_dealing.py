"""Rows are dealt out within rounding in every stratum, groups whole, by content and not by place."""

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwenkit.data.dealing import allocate, assign_splits, hash_texts

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


@settings(deadline=None)
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


@st.composite
def grouped_rows(draw: st.DrawFn) -> pl.DataFrame:
    """Rows in groups of one to twelve, of any domains and labels."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=60))
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    strata = draw(st.lists(st.integers(0, 5), min_size=len(groups), max_size=len(groups)))
    return pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(len(groups))],
            "label_id": [stratum % 2 for stratum in strata],
            "domain": [["news", "wiki", None][stratum // 2] for stratum in strata],
            "group": groups,
        }
    )


@settings(deadline=None)
@given(rows=grouped_rows(), seed=st.integers(0, 100))
def test_no_group_is_parted_and_no_row_lost_whatever_the_groups(rows: pl.DataFrame, seed: int) -> None:
    rows = rows.with_columns(split=assign_splits(rows, SHARES, seed=seed))
    assert rows["split"].is_in(list(SHARES)).all()
    assert rows.group_by("group").agg(pl.col("split").n_unique())["split"].max() == 1
    # What rounding and the last groups cost: two of the largest groups, and a row a stratum.
    largest = rows.group_by("group").len()["len"].max()
    for split, share in SHARES.items():
        assert abs((rows["split"] == split).sum() - share * rows.height) <= 2 * largest + 6


@settings(deadline=None)
@given(rows=grouped_rows(), seed=st.integers(0, 100))
def test_splits_of_groups_do_not_depend_on_the_order_of_rows(rows: pl.DataFrame, seed: int) -> None:
    splits = dict(zip(rows["text"], assign_splits(rows, SHARES, seed=42), strict=True))
    # Other numbers for the groups, too.
    shuffled = rows.sample(fraction=1, shuffle=True, seed=seed).with_columns(
        group=(pl.col("group") * 37 + seed) % 61
    )
    assert dict(zip(shuffled["text"], assign_splits(shuffled, SHARES, seed=42), strict=True)) == splits


def test_groups_of_every_size_are_spread_by_the_shares() -> None:
    sizes = [1] * 2000 + [2] * 300 + [12] * 200 + [40] * 20
    groups = [group for group, size in enumerate(sizes) for _ in range(size)]
    rows = pl.DataFrame(
        {
            "text": [f"text {i}" for i in range(len(groups))],
            # Human and machine texts of one source, and of two domains now and then.
            "label_id": [i % 2 for i in range(len(groups))],
            "domain": [["news", "wiki"][(group + (i % 11 == 0)) % 2] for i, group in enumerate(groups)],
            "group": groups,
        }
    )
    rows = rows.with_columns(split=assign_splits(rows, SHARES, seed=42), size=pl.len().over("group"))
    shares = rows.group_by("domain", "label_id").agg(
        [(pl.col("split") == split).mean().alias(split) for split in SHARES]
    )
    for split, share in SHARES.items():
        # Single rows make up for what groups leave: exact to the row, of 1,300 or so in each stratum.
        assert shares[split].to_list() == pytest.approx([share] * 4, abs=1 / 1000)
    # Nor may the test split hold small groups only.
    by_size = rows.group_by("size").agg((pl.col("split") == "test").mean().alias("test")).sort("size")
    assert by_size["test"].to_list()[1:] == pytest.approx([0.1] * 3, abs=0.05)


def test_one_group_of_half_the_rows_goes_to_train_and_the_rest_makes_up_for_it() -> None:
    rows = make_rows(300).with_columns(
        group=pl.when(pl.int_range(pl.len()) < 150).then(0).otherwise(pl.int_range(300))
    )
    counts = assign_splits(rows, SHARES, seed=42).value_counts().rows()
    assert dict(counts) == {"train": 240, "validation": 30, "test": 30}


def test_hash_of_a_text_never_changes() -> None:
    digest = hash_texts(pl.Series(["häß\n"]), seed=42)[0]
    assert digest.hex() == "6031b6378bd2f543cec27a0829290cf1"
