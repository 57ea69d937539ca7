"""Files of one set are laid under each other by column name; what does not fit is named with its file."""

from pathlib import Path

import polars as pl
import pytest

from qwenkit.data.frames import UNSPLIT
from qwenkit.data.loading import read_folder
from qwenkit.data.shards import Drift, join_shards
from qwenkit.errors import DataError


def join(*shards: dict[str, list[object]], **more: pl.DataFrame) -> tuple[pl.DataFrame, Drift]:
    frames = {Path(f"{'abc'[place]}.jsonl"): pl.DataFrame(rows) for place, rows in enumerate(shards)}
    return join_shards(frames | {Path(f"{name}.parquet"): frame for name, frame in more.items()})


def test_order_of_columns_and_widths_of_numbers_do_not_matter() -> None:
    narrow = pl.DataFrame({"n": [3]}, schema={"n": pl.Int8}).with_columns(text=pl.lit("c"))
    frame, drift = join({"text": ["a"], "n": [1]}, {"n": [2], "text": ["b"]}, narrow=narrow)
    assert frame.rows() == [("a", 1), ("b", 2), ("c", 3)]
    assert drift == Drift()


def test_column_of_nulls_takes_the_kind_of_the_others() -> None:
    frame, drift = join({"tags": [None, None]}, {"tags": [["x"], None]})
    assert frame["tags"].to_list() == [None, None, ["x"], None]
    assert drift == Drift()


def test_column_that_a_file_lacks_is_null_there_and_said_to_be() -> None:
    frame, drift = join({"text": ["a"], "n": [1]}, {"text": ["b", "c"]})
    assert frame["n"].to_list() == [1, None, None]
    assert drift.describe() == ['no column "n" in b.jsonl (2 rows; it has: text): null there']


@pytest.mark.parametrize(
    ("one", "other", "joined", "said"),
    [
        ([7], ["x7"], ["7", "x7"], "a number in a.jsonl, but text in b.jsonl"),
        ([True], ["yes"], ["true", "yes"], "true or false in a.jsonl, but text in b.jsonl"),
        ([True], [0], ["true", "0"], "true or false in a.jsonl, but a number in b.jsonl"),
    ],
)
def test_ids_of_two_kinds_become_text(
    one: list[object], other: list[object], joined: list[str], said: str
) -> None:
    frame, drift = join({"id": one}, {"id": other})
    assert frame["id"].to_list() == joined
    assert drift.describe() == [f'the column "id" is {said}: read as text']


@pytest.mark.parametrize("values", [[{"a": 1}], [[1]], [b"bytes"]])
def test_what_has_no_one_text_form_beside_text_is_refused(values: list[object]) -> None:
    with pytest.raises(DataError, match=r'column "x" is text in a\.jsonl, but .* in b\.jsonl'):
        join({"x": ["a"]}, {"x": values})


def test_objects_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(DataError, match="columns that do not fit together"):
        join({"x": [{"a": 1}]}, {"x": [{"a": [1]}]})


def test_notes_about_many_columns_are_cut() -> None:
    _, drift = join({"text": ["a"]}, {f"c{i}": [1] for i in range(9)})
    assert len(drift.describe()) == 6
    assert drift.describe()[-1] == "5 more columns differ between files"


def test_hostile_names_cannot_steer_the_terminal() -> None:
    _, drift = join({"\x1b[31m": ["a"]}, {"text": ["b"]})
    assert "\x1b" not in "".join(drift.describe())


def test_shard_without_rows_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,A\n")
    (tmp_path / "b.csv").write_text("text,label\n")
    assert read_folder(tmp_path).splits[UNSPLIT].rows() == [("a", "A")]
