"""Rows come in from folders, files and objects, with their splits where they have some."""

from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from qwenkit.data.frames import UNSPLIT, frame_identity, load_source, read_folder, to_frame, to_raw
from qwenkit.data.sources import resolve_source
from qwenkit.errors import DataError

ROWS = [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]
FRAME = pl.DataFrame(ROWS)
FRAME_IDENTITY = "c8c5df9071ec0b3111849eeef48b447108d1f3af867187d0285165ec498f57fa"


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text,label\ntext of {name},A\n")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.csv", "validation.csv", "test.csv"], {"train": 1, "validation": 1, "test": 1}),
        (["train-00000-of-00002.csv", "train-00001-of-00002.csv", "dev.csv"], {"train": 2, "validation": 1}),
        (["train/a.csv", "train/b.csv", "val/a.csv"], {"train": 2, "validation": 1}),
        (["data/Train_1.csv", "data/valid2.csv"], {"train": 1, "validation": 1}),
        (["testimonials.csv", "trains.csv", "valuable.csv"], {UNSPLIT: 3}),
        (["a.csv"], {UNSPLIT: 1}),
    ],
)
def test_folder_splits_by_the_first_word_of_a_name(
    tmp_path: Path, names: list[str], splits: dict[str, int]
) -> None:
    write_files(tmp_path, *names)
    raw = read_folder(tmp_path)
    assert {name: frame.height for name, frame in raw.splits.items()} == splits


def test_folder_says_what_it_does_not_read(tmp_path: Path) -> None:
    write_files(tmp_path, "train.csv", "test.csv", "extra.csv")
    raw = read_folder(tmp_path)
    assert list(raw.splits) == ["train", "test"]
    assert "extra.csv" in raw.notes[0]


def test_shards_with_other_columns_are_joined_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,A\n")
    (tmp_path / "b.csv").write_text("label,domain,text\nB,news,b\n")
    frame = read_folder(tmp_path).splits[UNSPLIT]
    assert frame.to_dicts() == [
        {"text": "a", "label": "A", "domain": None},
        {"text": "b", "label": "B", "domain": "news"},
    ]


def test_column_named_split_takes_a_file_apart(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,split\na,A,train\nb,B,dev\nc,A,test\nd,B,train\n")
    raw = load_source(resolve_source(str(path)))
    texts = {name: frame["text"].to_list() for name, frame in raw.splits.items()}
    assert texts == {"train": ["a", "d"], "validation": ["b"], "test": ["c"]}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["train", "left"], 'it has rows with "left"'),
        (["train", ""], "it has rows without a value"),
        (["test", "dev"], "it has no row of train"),
    ],
)
def test_column_split_that_is_not_followed_is_said_to_be(tmp_path: Path, values: list[str], why: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,split\n" + "".join(f"a{value},A,{value}\n" for value in values))
    raw = load_source(resolve_source(str(path)))
    assert list(raw.splits) == [UNSPLIT]
    assert why in raw.notes[0]


def test_column_split_that_means_something_else_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label,split\na,A,left\nb,B,right\n")
    assert load_source(resolve_source(str(path))).notes == ()


@pytest.mark.parametrize(
    "rows",
    [
        FRAME,
        FRAME.lazy(),
        pd.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
        datasets.Dataset.from_list(ROWS),
        datasets.Dataset.from_list(ROWS).with_format("numpy", columns=["text"]),
        ROWS,
        {"text": ["a", "b"], "label": ("A", "B")},
    ],
    ids=["polars", "lazy", "pandas", "arrow", "datasets", "formatted", "dicts", "columns"],
)
def test_rows_in_memory_become_a_frame(rows: Any) -> None:
    assert to_frame(rows).rows() == FRAME.rows()
    assert list(to_raw(rows).splits) == [UNSPLIT]
    assert list(to_raw({"train": rows, "test": rows}).splits) == ["train", "test"]


def test_selected_and_shuffled_dataset_gives_the_rows_that_it_shows() -> None:
    dataset = datasets.Dataset.from_dict({"text": list("abcdef"), "label": list("AABBAB")})
    chosen = dataset.shuffle(seed=1).select([4, 0, 2])
    assert to_frame(chosen)["text"].to_list() == chosen["text"][:]


def test_class_labels_of_a_dataset_become_their_names() -> None:
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["human", "machine"])}
    )
    dataset = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    assert to_frame(dataset)["label"].to_list() == ["machine", "human", None]
    splits = to_raw(datasets.DatasetDict({"train": dataset})).splits
    assert splits["train"]["label"].to_list() == ["machine", "human", None]


@pytest.mark.parametrize("rows", [7, "text", [], ["a", "b"], {"text": ["a"], "label": ["A", "B", "C"]}, None])
def test_what_holds_no_rows_is_refused(rows: Any) -> None:
    with pytest.raises(DataError):
        to_frame(rows)


def test_identity_follows_content_and_not_memory_layout() -> None:
    frame = pl.DataFrame(
        {"text": ["ä", None, "c"], "n": [1.5, float("nan"), None], "tags": [["x"], [], None]}
    )
    identity = frame_identity(frame)
    in_chunks = pl.concat([frame.head(1), frame.slice(1)], rechunk=False)
    assert frame_identity(in_chunks) == identity
    assert frame_identity(pl.concat([frame, frame]).slice(3)) == identity
    assert frame_identity(frame.rename({"n": "m"})) != identity
    assert frame_identity(frame.reverse()) != identity
    assert frame_identity(frame.with_columns(pl.col("text").fill_null("None"))) != identity
    assert frame_identity(frame.with_columns(pl.col("n").fill_nan(None))) != identity
    assert frame_identity(frame.with_columns(pl.col("n").cast(pl.Float32))) != identity


def test_identity_is_the_same_tomorrow() -> None:
    # A stored fingerprint holds it: should it change with a polars version, everything is prepared anew.
    assert frame_identity(FRAME) == FRAME_IDENTITY


def test_rows_that_are_python_objects_have_no_identity() -> None:
    with pytest.raises(DataError, match="Python objects"):
        frame_identity(pl.DataFrame({"image": pl.Series([object()], dtype=pl.Object)}))
