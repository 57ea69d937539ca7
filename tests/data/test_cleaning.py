"""Each row is dropped for one stated reason or kept, and no text is left in two splits."""

import polars as pl
import pytest

from qwenkit.data.cleaning import REASONS, SplitAccount, count_rows, find_dropped
from qwenkit.data.splits import PRECEDENCE

Row = tuple[str, str | None, str | None]


def mark(rows: list[Row], *, deduplicate: bool = True) -> pl.DataFrame:
    """Mark rows given as (split, text, label); labels A and B are known."""
    frame = pl.DataFrame(rows, schema=["split", "text", "label"], orient="row", infer_schema_length=None)
    frame = frame.with_columns(
        row_id=pl.int_range(pl.len()),
        precedence=pl.col("split").replace_strict(PRECEDENCE),
        label_id=pl.col("label").cast(pl.String).replace_strict({"A": 0, "B": 1}, default=None),
        domain=pl.lit(None, dtype=pl.String),
        text=pl.col("text").cast(pl.String),
    )
    return find_dropped(frame, deduplicate=deduplicate)


def reasons(rows: list[Row], *, deduplicate: bool = True) -> list[str | None]:
    return mark(rows, deduplicate=deduplicate)["reason"].to_list()


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\t\r\n", "\u00a0\u2003\u3000", "\u200b", "\ufeff", "\u2060\u200d \u00ad"),
        *("\x00\x1f", "\u2028", "\u115f\u3164", "\u2800", "\ufe0f", "\x85"),
    ],
)
def test_text_without_a_visible_character_is_empty(text: str) -> None:
    assert reasons([("train", text, "A")]) == ["empty"]


@pytest.mark.parametrize(
    "text", ["x", " . ", "\u200bx\u200b", "\u0301", "🙂", "\ue000", "0", "null", "\ufffd"]
)
def test_text_with_a_visible_character_is_kept(text: str) -> None:
    assert reasons([("train", text, "A")]) == [None]


def test_row_counts_under_the_first_reason_that_fits() -> None:
    rows: list[Row] = [
        ("train", None, "A"),
        ("train", "x", None),
        ("train", None, "?"),
        ("train", "  ", "?"),
        ("train", "x", "?"),
        ("train", "x", "A"),
    ]
    assert reasons(rows) == ["null", "null", "null", "empty", "unknown_label", None]


def test_first_copy_of_a_text_is_kept() -> None:
    rows: list[Row] = [("train", "x", "A"), ("train", "y", "A"), ("train", "x", "A"), ("train", "x ", "A")]
    assert reasons(rows) == [None, None, "duplicate", None]


def test_evaluation_keeps_its_copies_and_train_gives_them_up() -> None:
    rows: list[Row] = [
        ("train", "x", "A"),
        ("train", "y", "A"),
        ("validation", "x", "A"),
        ("validation", "y", "A"),
        ("test", "x", "A"),
    ]
    marked = mark(rows)
    assert marked["reason"].to_list() == ["duplicate", "duplicate", "duplicate", None, None]
    assert marked["is_overlap"].to_list() == [True, True, True, False, False]


def test_text_under_two_labels_goes_altogether() -> None:
    rows: list[Row] = [("train", "x", "A"), ("test", "x", "B"), ("train", "y", "A"), ("train", "x", "A")]
    assert reasons(rows) == ["conflicting_label", "conflicting_label", None, "conflicting_label"]


def test_copy_with_an_unknown_label_makes_no_conflict() -> None:
    assert reasons([("train", "x", "?"), ("train", "x", "A"), ("train", None, "B")]) == [
        "unknown_label",
        None,
        "null",
    ]


def test_without_deduplication_copies_stay_but_in_one_split() -> None:
    rows: list[Row] = [
        ("train", "x", "A"),
        ("test", "x", "A"),
        ("test", "x", "A"),
        ("test", "x", "B"),
        ("train", "x", "B"),
        ("train", "y", "A"),
        ("train", "y", "A"),
    ]
    expected = ["conflicting_label", None, None, None, "conflicting_label", None, None]
    assert reasons(rows, deduplicate=False) == expected
    assert reasons([*rows[:3], *rows[5:]], deduplicate=False)[:2] == ["duplicate", None]


def test_accounts_list_every_reason_and_add_up() -> None:
    accounts = count_rows(
        mark([("train", "x", "A"), ("train", "x", "A"), ("test", "", "B"), ("test", "z", "?")])
    )
    none = dict.fromkeys(REASONS, 0)
    assert accounts == {
        "train": SplitAccount(2, 1, none | {"duplicate": 1}),
        "test": SplitAccount(2, 0, none | {"empty": 1, "unknown_label": 1}),
    }
    assert SplitAccount.from_json(accounts["test"].to_json()) == accounts["test"]
