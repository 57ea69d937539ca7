"""Rows of one group stay together: copies, near-duplicates, and what a column says is of one source."""

import polars as pl
import pytest

from qwenkit.errors import DataError
from tests.data.documents import ATTACKS, attack_all, make_documents

LABELS = ("AI_Generated", "Human_Written")


def make_rows(n: int = 100) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "text": make_documents(n, n_words=40),
            "label": [LABELS[i % 2] for i in range(n)],
            "domain": ["news" if i < n // 2 else "wiki" for i in range(n)],
        }
    )


def groups_of(prepared) -> dict[str, int]:
    return {
        text: group
        for frame in prepared.splits.values()
        for text, group in frame.select("text", "group").rows()
    }


def test_group_is_the_row_id_of_its_first_row(prepare) -> None:
    rows = make_rows()
    variants = rows.head(30).with_columns(
        text=pl.Series(attack_all(rows["text"].head(30).to_list(), ATTACKS["homoglyph"]))
    )
    prepared = prepare(pl.concat([rows, variants]))
    every = pl.concat(prepared.splits.values())
    assert every.height == 130
    expected = [row_id if row_id < 100 else row_id - 100 for row_id in every["row_id"]]
    assert every["group"].to_list() == expected
    assert every.group_by("group").agg(pl.col("leaks_from_train").any())["leaks_from_train"].sum() == 0
    crossing = (
        pl.concat([frame.select("group").unique() for frame in prepared.splits.values()])
        .group_by("group")
        .len()
    )
    assert crossing["len"].max() == 1
    summary = prepared.groups
    assert (summary.rows, summary.groups, summary.rows_in_company, summary.largest) == (130, 100, 60, 2)
    assert prepared.warnings == ()
    assert "60 of 130 rows share a group with others (near-duplicates); 100 groups" in prepared.notes[-1]


def test_near_duplicates_can_be_left_alone(prepare) -> None:
    rows = make_rows()
    variants = rows.with_columns(pl.col("text").str.to_uppercase())
    data = pl.concat([rows, variants])
    assert prepare(data).groups.groups == 100
    off = prepare(data, near_duplicates={"enabled": False})
    assert off.groups.groups == 200
    assert len(set(groups_of(off).values())) == 200


@pytest.mark.parametrize("deduplicate", [True, False])
def test_exact_copies_are_one_group_even_where_nothing_is_compared(prepare, deduplicate: bool) -> None:
    rows = pl.concat([make_rows(), make_rows().head(40)])
    prepared = prepare(rows, deduplicate=deduplicate, near_duplicates={"enabled": False})
    assert prepared.groups.groups == 100
    assert prepared.groups.rows == (100 if deduplicate else 140)


def test_rows_of_one_source_are_one_group(prepare) -> None:
    rows = make_rows().with_columns(source_id=pl.Series([f"s{i // 2}" for i in range(98)] + [None, ""]))
    prepared = prepare(rows)
    groups = groups_of(prepared)
    assert [groups[text] for text in rows["text"]] == [*(i // 2 * 2 for i in range(98)), 98, 99]
    assert prepared.groups.columns == ("source_id",)
    assert "equal source_id" in prepared.notes[-1]
    assert prepare(rows, group_columns=[]).groups.groups == 100


def test_attacked_machine_and_human_text_of_raid_are_one_group(prepare) -> None:
    rows = make_rows().with_columns(
        id=pl.Series([f"id{i}" for i in range(100)]),
        # Humans are their own source, machine texts continue the human beside them.
        source_id=pl.Series([f"id{i // 4 * 4}" for i in range(100)]),
        adv_source_id=pl.Series([f"id{i // 2 * 2}" for i in range(100)]),
    )
    assert prepare(rows).groups.groups == 25
    # Only the attack's origin, given as the id of another row.
    attacked = rows.drop("source_id")
    assert prepare(attacked).groups.groups == 50
    # Where no column refers to it, an id is a number of its own: 1 is not the source 1.
    numbered = rows.select("text", "label", "domain", id=pl.int_range(100), source_id=99 - pl.int_range(100))
    assert prepare(numbered).groups.groups == 100


def test_columns_to_group_by_can_be_named(prepare) -> None:
    rows = make_rows().with_columns(prompt=pl.int_range(100) // 10, page=pl.int_range(100) % 50)
    assert prepare(rows, group_columns=["page"]).groups.groups == 50
    prepared = prepare(rows, group_columns=["prompt"])
    assert prepared.groups.groups == 10
    # Whole prompts in every split, though each domain has but five.
    assert prepared.written == {"train": 80, "validation": 10, "test": 10}
    # Page 0 is in prompts 0 and 5, and so on.
    both = prepare(rows, group_columns=["prompt", "page"], split_ratios=[0.6, 0.2, 0.2])
    assert both.groups.largest == 20
    assert both.written == {"train": 60, "validation": 20, "test": 20}
    with pytest.raises(
        DataError, match=r'group column "prompts" is not in the data; it has: .*group_columns'
    ):
        prepare(rows, group_columns=["prompts"])


def test_column_that_names_the_corpus_groups_nothing_unless_it_is_named(prepare) -> None:
    rows = make_rows(300).with_columns(source_id=pl.Series(["raid", "other"] * 150))
    prepared = prepare(rows)
    assert prepared.groups.groups == 300
    assert any("source_id groups no rows" in note for note in prepared.notes)
    with pytest.raises(
        DataError, match=r"300 usable rows in 2 groups .* validation would be empty.*threshold"
    ):
        prepare(rows, group_columns=["source_id"])


def test_dropped_copy_joins_what_its_source_says(prepare) -> None:
    rows = make_rows().with_columns(source_id=pl.Series([f"s{i}" for i in range(100)]))
    # The same text again, from the source of another row: whichever copy stays, the two rows belong together.
    copy = rows.head(1).with_columns(source_id=pl.lit("s7"))
    for order in ([rows, copy], [copy, rows]):
        prepared = prepare(pl.concat(order))
        groups = groups_of(prepared)
        assert groups[rows["text"][0]] == groups[rows["text"][7]]
        assert prepared.groups.groups == 99


def test_group_too_large_to_split_is_warned_of(prepare) -> None:
    boilerplate = " ".join(make_documents(1, seed=9, n_words=60))
    texts = [f"{boilerplate} {own}" for own in make_documents(300, seed=5, n_words=10)]
    rows = pl.concat([make_rows(300), make_rows(300).with_columns(text=pl.Series(texts))])
    prepared = prepare(rows)
    assert prepared.groups.largest == 300
    (warning,) = prepared.warnings
    assert "one group holds 300 rows (50%)" in warning
    assert "raise dataset.near_duplicates.threshold" in warning
    assert prepare(rows, near_duplicates={"threshold": 0.95}).warnings == ()
