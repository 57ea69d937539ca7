"""A part of the rows: of the wanted size, with every kind's share, whatever the order, all accounted for."""

from hashlib import blake2b

import polars as pl
import pytest

from qwenkit.data.sampling import choose_proportionally, digest_keys
from qwenkit.errors import DataError


def texts_of(prepared) -> dict[str, set[str]]:
    return {split: set(frame["text"]) for split, frame in prepared.splits.items()}


def test_digests_do_not_change_over_versions_and_machines() -> None:
    digests = digest_keys(pl.Series(["a", "é", None]), seed=42).tolist()
    for text, digest in zip(["a", "é", ""], digests, strict=True):
        expected = blake2b(text.encode(), key=b"42", digest_size=16).digest()[:8]
        assert digest == int.from_bytes(expected, "big")
    assert digest_keys(pl.Series(["a"]), seed=43)[0] != digests[0]


def test_max_rows_keeps_the_share_of_every_domain_and_label(prepare, rows: pl.DataFrame) -> None:
    prepared = prepare(rows, max_rows=100)
    account = prepared.accounts["all"]
    assert (account.rows_in, account.kept, account.dropped["not_sampled"]) == (200, 100, 100)
    whole = pl.concat(prepared.splits.values())
    counts = {(domain, label): n for domain, label, n in whole.group_by("domain_name", "label").len().rows()}
    assert counts == {
        (domain, label): n
        for domain in ("news", "wiki")
        for label, n in (("AI_Generated", 30), ("Human_Written", 20))
    }
    assert prepare(rows, max_rows=200).written == prepare(rows).written


def test_same_rows_are_taken_in_any_order_of_the_file(prepare, rows: pl.DataFrame) -> None:
    taken = texts_of(prepare(rows, max_rows=90))
    assert texts_of(prepare(rows.reverse(), max_rows=90)) == taken
    assert texts_of(prepare(rows, max_rows=90, shuffle_seed=1)) != taken


def test_given_splits_share_max_rows_by_their_ratios(prepare, rows: pl.DataFrame) -> None:
    splits = {"train": rows[:100], "validation": rows[100:150], "test": rows[150:]}
    prepared = prepare(splits, max_rows=100)
    assert prepared.written == {"train": 80, "validation": 10, "test": 10}
    assert [account.rows_in for account in prepared.accounts.values()] == [100, 50, 50]
    small = prepare({**splits, "train": rows[:20]}, max_rows=100)
    assert small.written == {"train": 20, "validation": 40, "test": 40}
    half = prepare({"train": rows[:100], "test": rows[100:]}, max_rows=90)
    assert half.accounts["train"].kept == 80
    assert half.written["test"] == 10


@pytest.mark.parametrize("column", ["text", "label"])
def test_a_part_of_data_without_its_column_is_refused_like_all_of_it(
    prepare, rows: pl.DataFrame, column: str
) -> None:
    with pytest.raises(DataError, match=f'{column} column "{column}" is not in the data'):
        prepare(rows.drop(column, "domain_name"), max_rows=5)


def test_a_part_of_data_whose_labels_are_lists_is_refused_with_the_setting(
    prepare, rows: pl.DataFrame
) -> None:
    with pytest.raises(DataError, match=r"holds List\(String\), not text. Set model.label_column"):
        prepare(rows.with_columns(label=pl.concat_list("label")), max_rows=5)


def test_max_rows_that_would_empty_a_given_split_is_refused(prepare, rows: pl.DataFrame) -> None:
    splits = {"train": rows[:100], "validation": rows[100:150], "test": rows[150:]}
    with pytest.raises(DataError, match="max_rows 5 leaves no row for validation and test: raise it"):
        prepare(splits, max_rows=5)
    with pytest.raises(DataError, match="would be empty"):
        prepare(rows, max_rows=2)


def test_final_splits_are_cut_to_the_rows_wanted_of_each(prepare, rows: pl.DataFrame) -> None:
    limits = {"max_train_samples": 100, "max_validation_samples": 15, "max_test_samples": 10}
    prepared = prepare(rows, **limits)
    assert prepared.written == {"train": 100, "validation": 15, "test": 10}
    train = prepared.splits["train"].group_by("domain_name", "label").len()
    assert set(train["len"]) == {30, 20}
    account = prepared.accounts["all"]
    assert (account.rows_in, account.kept, account.dropped["not_sampled"]) == (200, 125, 75)
    # What is left is a part of what there was, in the same splits.
    whole, part = texts_of(prepare(rows)), texts_of(prepared)
    assert all(part[split] < whole[split] for split in part)
    assert texts_of(prepare(rows.reverse(), **limits)) == part
    assert prepare(rows, max_train_samples=1000).written == prepare(rows).written


def test_class_weights_follow_from_the_rows_that_are_left(prepare, rows: pl.DataFrame) -> None:
    table = prepare(rows, max_train_samples=20).labels
    assert table.counts["train"] == {"AI_Generated": 12, "Human_Written": 8}
    assert table.class_weights == pytest.approx((20 / 24, 20 / 16), rel=1e-6)


def test_limit_of_test_goes_for_what_is_held_out_too(prepare, rows: pl.DataFrame) -> None:
    prepared = prepare(rows, holdout={"domain_name": ["wiki"]}, max_test_samples=10)
    assert prepared.written["test"] == 10
    assert prepared.written["test_holdout_domain_name"] == 10


def test_row_whose_copy_in_train_is_not_sampled_leaks_no_more(prepare, rows: pl.DataFrame) -> None:
    near = rows[:40].with_columns(pl.col("text").str.to_uppercase())
    splits = {"train": rows[:150], "validation": rows[150:], "test": near}
    assert prepare(splits).splits["test"]["leaks_from_train"].sum() == 40
    train = prepare(splits, max_train_samples=30).splits["train"]
    left = prepare(splits, max_train_samples=30).splits["test"]
    seen = set(train["text"].str.to_uppercase())
    assert left["leaks_from_train"].to_list() == [text in seen for text in left["text"]]
    assert 0 < left["leaks_from_train"].sum() < 40


def test_rows_without_text_or_label_can_be_sampled_and_are_dropped_as_such(
    prepare, rows: pl.DataFrame
) -> None:
    holes = pl.DataFrame({"text": [None] * 20, "label": ["AI_Generated"] * 20})
    unknown = pl.DataFrame({"text": [f"u {i}" for i in range(20)], "label": [None] * 20})
    account = prepare(pl.concat([rows, holes, unknown], how="diagonal_relaxed"), max_rows=120).accounts["all"]
    assert account.rows_in == 240
    assert account.dropped["not_sampled"] == 120
    assert account.dropped["null"] == 20
    assert account.kept + sum(account.dropped.values()) == 240


def test_missing_text_column_is_told_as_without_max_rows(prepare, rows: pl.DataFrame) -> None:
    with pytest.raises(DataError, match='text column "text" is not in the data'):
        prepare(rows.drop("text"), max_rows=10)


def test_proportions_hold_where_every_stratum_is_small() -> None:
    strata = pl.DataFrame({"kind": [str(i // 2) for i in range(1000)]})
    texts = pl.Series([f"t {i}" for i in range(1000)])
    chosen = choose_proportionally(texts, strata, 100, seed=1)
    assert chosen.sum() == 100
    assert strata.filter(chosen)["kind"].n_unique() == 100
