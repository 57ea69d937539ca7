"""What is held out never trains: not its rows, and not rows of their groups beside it."""

import polars as pl
import pytest

from qwenkit.data.holdout import complete_classes, name_split
from qwenkit.data.prepared import read_prepared, write_prepared
from qwenkit.errors import DataError
from tests.data.test_groups import make_rows

MODELS = ["human", "gpt4", "human", "llama"]


@pytest.fixture
def rows() -> pl.DataFrame:
    """Two hundred rows; each four are a human text, one of gpt4, another human text, one of llama."""
    return make_rows(200).with_columns(
        label=pl.Series(["Human_Written", "AI_Generated"] * 100), model=pl.Series(MODELS * 50)
    )


def test_held_out_generator_has_a_test_split_of_its_own(prepare, rows) -> None:
    prepared = prepare(rows, holdout={"model": ["gpt4"]})
    assert list(prepared.splits) == ["train", "validation", "test", "test_holdout_model"]
    assert prepared.written["test_holdout_model"] == 50
    for split, frame in prepared.splits.items():
        assert (frame["model"] == "gpt4").all() is (split == "test_holdout_model")
        assert ("gpt4" in frame["model"]) is (split == "test_holdout_model")
    assert sum(prepared.written.values()) == 200
    assert prepared.labels.counts["test_holdout_model"] == {"AI_Generated": 50, "Human_Written": 0}


def test_columns_held_out_have_a_split_each(prepare, rows, tmp_path) -> None:
    rows = rows.with_columns(
        domain_name=pl.Series(["books", "wiki", "wiki", "wiki", "wiki", "books", "wiki", "wiki"] * 25)
    )
    prepared = prepare(rows, holdout={"domain_name": ["books"], "model": ["gpt4"]})
    names = ["test_holdout_domain_name", "test_holdout_model"]
    assert list(prepared.splits)[3:] == names
    # A book by gpt4 belongs to the first column that names it.
    assert [prepared.written[name] for name in names] == [50, 25]
    write_prepared(tmp_path, prepared)
    assert sorted(path.stem for path in tmp_path.glob("*.parquet"))[1:3] == names
    back = read_prepared(tmp_path)
    assert {**vars(back), "splits": None} == {**vars(prepared), "splits": None}
    assert all(back.splits[split].equals(frame) for split, frame in prepared.splits.items())


def test_held_out_row_beside_one_that_trains_is_dropped(prepare, rows) -> None:
    # Every human text has its machine text beside it, and gpt4 has ten that continue none.
    rows = rows.with_columns(source_id=pl.Series([f"s{i // 2}" for i in range(200)]))
    alone = make_rows(210)[200:].with_columns(
        label=pl.lit("AI_Generated"),
        model=pl.lit("gpt4"),
        source_id=pl.Series([f"own{i}" for i in range(10)]),
    )
    prepared = prepare(pl.concat([rows, alone]), holdout={"model": ["gpt4"]})
    held = prepared.splits["test_holdout_model"]
    seen = pl.concat([prepared.splits["train"], prepared.splits["validation"]])
    assert set(held["group"]).isdisjoint(seen["group"])
    assert set(alone["text"]) <= set(held["text"])
    (account,) = prepared.accounts.values()
    assert account.dropped["held_out"] == 60 - held.height > 20
    # The humans of the test split keep the machine texts that continue them.
    assert held.height > 10
    assert set(held["group"]) & set(prepared.splits["test"]["group"])


def test_rows_of_given_splits_are_held_out_too(prepare, rows) -> None:
    given = {"train": rows[:120], "validation": rows[120:160], "test": rows[160:]}
    prepared = prepare(given, holdout={"model": ["gpt4"]}, leakage="drop_from_train")
    assert prepared.written == {"train": 90, "validation": 30, "test": 30, "test_holdout_model": 50}
    held = prepared.splits["test_holdout_model"]
    assert held["row_id"].to_list() == list(range(1, 200, 4))


def test_copy_of_what_is_held_out_is_held_out_whichever_stays(prepare, rows) -> None:
    copy = rows[1:2].with_columns(model=pl.lit("llama"))
    for order in ([rows, copy], [copy, rows]):
        prepared = prepare(pl.concat(order), holdout={"model": ["gpt4"]})
        assert rows["text"][1] in prepared.splits["test_holdout_model"]["text"]


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        (
            {"modell": ["gpt4"]},
            'holdout column "modell" is not in the data; it has: text, label, domain, model',
        ),
        ({"model": ["gpt5"]}, 'dataset.holdout: model has no "gpt5"; it has: "human" (100), '),
        ({"model": ["human", "gpt4", "llama"]}, "train would be empty"),
    ],
)
def test_holdout_that_cannot_be_is_refused(prepare, rows, holdout, message) -> None:
    with pytest.raises(DataError) as raised:
        prepare(rows, holdout=holdout)
    assert message in str(raised.value)


def test_class_that_a_held_out_split_lacks_comes_from_test(prepare, rows) -> None:
    splits = prepare(rows, holdout={"model": ["gpt4"]}).splits
    completed = complete_classes(splits, "test_holdout_model")
    humans = splits["test"].filter(pl.col("label") == "Human_Written")
    assert 0 < humans.height < splits["test"].height
    assert completed.height == 50 + humans.height
    assert set(completed["row_id"]) == {*splits["test_holdout_model"]["row_id"], *humans["row_id"]}
    assert complete_classes(splits, "test").equals(splits["test"])


def test_name_of_a_split_is_safe_as_a_file() -> None:
    assert name_split("model") == "test_holdout_model"
    assert name_split("../../etc/passwd") == "test_holdout_etc_passwd"
    assert name_split("...") == "test_holdout_column"
