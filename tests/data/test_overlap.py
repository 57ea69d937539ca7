"""What given splits share is counted as it is, told, and mended only as asked."""

import polars as pl
import pytest

from qwenkit.data.overlap import Overlap
from qwenkit.stages import SPLITS
from tests.data.documents import ATTACKS, attack_all
from tests.data.test_groups import make_rows


@pytest.fixture
def leaky() -> dict[str, pl.DataFrame]:
    """One hundred documents in train, twenty others in validation, twenty others in test; and copies.

    Validation has 1 attacked copy of train; test has 6 of train (news), 2 of validation, and 4 exact ones of
    train.
    """
    rows = make_rows(144)
    train, validation, test = rows[:100], rows[100:120], rows[120:140]

    def attack(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(text=pl.Series(attack_all(frame["text"].to_list(), ATTACKS["homoglyph"])))

    return {
        "train": train,
        "validation": pl.concat([validation, attack(train[10:11])]),
        "test": pl.concat([test, attack(train[:6]), attack(validation[:2]), train[20:24]]),
    }


def count_crossings(prepared) -> int:
    """Count the groups that stand in more than one split."""
    groups = pl.concat([frame.select("group").unique() for frame in prepared.splits.values()])
    return (groups.group_by("group").len()["len"] > 1).sum()


def test_overlap_of_every_two_splits_is_counted(prepare, leaky) -> None:
    overlap = {(each.split, each.other): each for each in prepare(leaky).overlap}
    assert len(overlap) == 6
    counts = {pair: (each.rows, each.exact, each.near) for pair, each in overlap.items()}
    assert counts == {
        # 4 rows of train are gone, as exact copies of test rows.
        ("train", "validation"): (96, 0, 1),
        ("train", "test"): (96, 4, 6),
        ("validation", "train"): (21, 0, 1),
        ("validation", "test"): (21, 0, 2),
        ("test", "train"): (32, 4, 6),
        ("test", "validation"): (32, 0, 2),
    }
    assert overlap["test", "train"].near_share == 6 / 32
    domains = overlap["test", "train"].domains
    assert domains["news"] == {"rows": 10, "exact": 4, "near": 6}
    assert {name: sum(each[name] for each in domains.values()) for name in ("rows", "exact", "near")} == {
        "rows": 32,
        "exact": 4,
        "near": 6,
    }
    again = Overlap.from_json(overlap["test", "train"].to_json())
    assert again == overlap["test", "train"]


def test_set_in_one_piece_has_no_overlap(prepare) -> None:
    assert prepare(make_rows()).overlap == ()


def test_report_keeps_every_row_and_flags_what_leaks(prepare, leaky) -> None:
    prepared = prepare(leaky)
    assert prepared.written == {"train": 96, "validation": 21, "test": 32}
    flags = {split: frame["leaks_from_train"].sum() for split, frame in prepared.splits.items()}
    assert flags == {"train": 0, "validation": 1, "test": 6}
    test = prepared.splits["test"]
    assert set(test.filter("leaks_from_train")["text"]) == set(leaky["test"]["text"][20:26])
    assert len(prepared.warnings) == 2
    assert (
        "6 of 32 test rows (18.8%) have a near-duplicate in train: scores there are too good"
        in prepared.warnings[1]
    )


def test_drop_from_train_keeps_what_evaluates(prepare, leaky) -> None:
    prepared = prepare(leaky, leakage="drop_from_train")
    # Test goes before validation, which loses the originals of two test rows.
    assert prepared.written == {"train": 96 - 6 - 1, "validation": 21 - 2, "test": 32}
    assert prepared.accounts["train"].dropped["leak"] == 7
    assert prepared.accounts["train"].rows_in == 100
    assert prepared.accounts["validation"].dropped["leak"] == 2
    assert count_crossings(prepared) == 0
    assert not any(frame["leaks_from_train"].any() for frame in prepared.splits.values())
    assert prepared.warnings == ()
    assert any("6 of 32 test rows" in note and "dropped" in note for note in prepared.notes)


def test_drop_from_eval_keeps_what_trains(prepare, leaky) -> None:
    prepared = prepare(leaky, leakage="drop_from_eval")
    assert prepared.written == {"train": 96, "validation": 21 - 1, "test": 32 - 6 - 2}
    assert prepared.accounts["test"].dropped["leak"] == 8
    assert count_crossings(prepared) == 0
    assert set(prepared.splits["train"]["text"]) == set(leaky["train"]["text"]) - set(
        leaky["train"]["text"][20:24]
    )


def test_resplit_cuts_all_anew_by_group(prepare, leaky) -> None:
    prepared = prepare(leaky, leakage="resplit")
    assert sum(prepared.written.values()) == 149
    # A tenth of 149 rows, give or take the pairs that cannot be parted.
    assert abs(prepared.written["test"] - 14.9) <= 2
    assert count_crossings(prepared) == 0
    assert [account.rows_in for account in prepared.accounts.values()] == [100, 21, 32]
    assert all(frame["row_id"].is_sorted() for frame in prepared.splits.values())
    shuffled = {split: frame.sample(fraction=1, shuffle=True, seed=1) for split, frame in leaky.items()}
    again = prepare(shuffled, leakage="resplit")
    for split in SPLITS:
        assert set(again.splits[split]["text"]) == set(prepared.splits[split]["text"])
    assert any("the given splits are thrown together" in note for note in prepared.notes)


def test_splits_with_columns_of_their_own_can_be_thrown_together(prepare, leaky) -> None:
    leaky["test"] = leaky["test"].with_columns(extra=pl.lit(1))
    train = prepare(leaky, leakage="resplit").splits["train"]
    assert train.columns[-1] == "extra"
    assert train["extra"].null_count() > 0


def test_missing_split_is_cut_from_what_train_keeps(prepare, leaky) -> None:
    del leaky["validation"]
    prepared = prepare(leaky, leakage="drop_from_train")
    assert prepared.accounts["train"].dropped["leak"] == 6
    assert prepared.written["train"] + prepared.written["validation"] == 90
    assert count_crossings(prepared) == 0


def test_split_that_leaks_altogether_is_refused(prepare, leaky) -> None:
    leaky["validation"] = leaky["validation"][20:]
    with pytest.raises(Exception, match=r"no row of validation is usable: 1 in, dropped 1 leak"):
        prepare(leaky, leakage="drop_from_eval")
