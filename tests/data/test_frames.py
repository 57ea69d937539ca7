"""Rows in memory, of whatever kind, become the same frame."""

from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from qwenkit.data.frames import UNSPLIT, frame_identity, to_frame, to_raw
from qwenkit.errors import DataError

ROWS = [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]
FRAME = pl.DataFrame(ROWS)
FRAME_IDENTITY = "c8c5df9071ec0b3111849eeef48b447108d1f3af867187d0285165ec498f57fa"


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
