"""Rows come in from folders and files, with their splits where they have some."""

from pathlib import Path

import pytest

from qwenkit.data.frames import UNSPLIT
from qwenkit.data.loading import load_source, read_folder
from qwenkit.data.sources import resolve_source


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
