"""One row a document: what the model said, what is true, and the columns to slice by."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from qwenkit.console import safe_text
from qwenkit.errors import ArtifactError
from qwenkit.metrics import find_positive_id
from qwenkit.probabilities import softmax

# A string column longer than this on average is prose (a prompt, a title page), not something to slice by.
MAX_SLICE_BYTES = 200
# What a spreadsheet would run as a formula, behind white space and quotes too; plain numbers are harmless.
FORMULA_START = re.compile(r"^[\s'\"]*[=+\-@＝＋－＠]")
PLAIN_NUMBER = re.compile(r"^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$")
# The most that a cell of a spreadsheet holds is 32,767 characters.
CSV_CELL_LIMIT = 32_000


def build_predictions(
    logits: np.ndarray,
    row_ids: np.ndarray,
    prepared: pl.DataFrame,
    *,
    labels: Sequence[str],
    positive_label: str | None = None,
    temperature: float = 1.0,
) -> pl.DataFrame:
    """Join logits with the rows they belong to.

    Args:
        logits: Raw scores, shape (rows, classes).
        row_ids: The `row_id` of each row of logits, shape (rows,); any subset of `prepared`, in any order.
        prepared: A prepared split: row_id, text, label, label_id, and the source's other columns.
        labels: Class names in id order.
        positive_label: `probability` is the probability of this class; None takes the first.
        temperature: Divides the logits before they become probabilities; the logits stay as they are.

    Returns:
        row_id, label, label_id, predicted_label, predicted_id, correct, probability, logit_<label>... and
        probability_<label>... in id order, then the source's columns that one can slice by. A source column
        whose name is taken is called source_<name>. `characters` is the text's length; the text itself stays
        in the prepared split.

    Raises:
        ArtifactError: A row id is not in `prepared`: the logits belong to other data.
    """
    rows = _find_rows(prepared, row_ids)
    probabilities = softmax(logits / np.float64(temperature))
    predicted_ids = logits.argmax(axis=1).astype(np.int64)
    label_ids = rows["label_id"].to_numpy()
    columns = {
        "row_id": rows["row_id"],
        "label": rows["label"],
        "label_id": rows["label_id"],
        "predicted_label": pl.Series([labels[index] for index in predicted_ids], dtype=pl.String),
        "predicted_id": predicted_ids,
        "correct": predicted_ids == label_ids,
        "probability": probabilities[:, find_positive_id(labels, positive_label)],
        **{f"logit_{name}": logits[:, index] for index, name in enumerate(labels)},
        **{f"probability_{name}": probabilities[:, index] for index, name in enumerate(labels)},
    }
    for name in find_slice_columns(rows):
        columns[_free_name(name, columns)] = rows[name]
    columns.setdefault("characters", rows["text"].str.len_chars())
    return pl.DataFrame(columns)


ADDED_SLICE_COLUMNS = ("label", "predicted_label", "correct", "characters")
"""Columns of the predictions that one can group by beside the source's own."""


def find_slice_columns(prepared: pl.DataFrame) -> list[str]:
    """Name the source's columns that one can group by: flat values, and no prose."""
    canonical = {"row_id", "text", "label", "label_id"}
    return [
        name
        for name, dtype in prepared.schema.items()
        if name not in canonical and not dtype.is_nested() and dtype not in (pl.Binary, pl.Object)
        if dtype != pl.String or not _is_prose(prepared[name])
    ]


def find_groups(prepared: pl.DataFrame, row_ids: np.ndarray) -> np.ndarray | None:
    """Find the group of near-duplicates of each scored row; None where the data were not grouped."""
    if "group" not in prepared.columns:
        return None
    wanted = pl.DataFrame({"row_id": np.asarray(row_ids, dtype=np.int64)})
    known = prepared.select("row_id", "group")
    return wanted.join(known, on="row_id", how="left", maintain_order="left")["group"].to_numpy()


def read_logits(predictions: pl.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Read the logits back out of a predictions frame, shape (rows, classes)."""
    return predictions.select([f"logit_{name}" for name in labels]).to_numpy()


def write_predictions(folder: Path, predictions: pl.DataFrame) -> None:
    """Write predictions.parquet (exact) and predictions.csv (for people, safe to open in a spreadsheet)."""
    predictions.write_parquet(folder / "predictions.parquet")
    for_people = predictions.rename({"label": "true_label"}, strict=True)
    safe = pl.DataFrame([_defuse_column(column) for column in for_people.get_columns()])
    safe.columns = _unique_names([defuse_cell(name) for name in safe.columns])
    safe.write_csv(folder / "predictions.csv", quote_style="non_numeric")


def defuse_cell(text: str) -> str:
    """Make a CSV cell harmless: control characters visible, no formula, no endless line.

    Source: OWASP, "CSV Injection": a leading single quote makes spreadsheets read the cell as text.
    """
    shown = safe_text(text, limit=CSV_CELL_LIMIT)
    return f"'{shown}" if FORMULA_START.match(shown) and not PLAIN_NUMBER.match(shown) else shown


def _is_prose(column: pl.Series) -> bool:
    present = column.drop_nulls()
    return present.str.len_bytes().sum() > MAX_SLICE_BYTES * len(present)


def _find_rows(prepared: pl.DataFrame, row_ids: np.ndarray) -> pl.DataFrame:
    wanted = pl.DataFrame({"row_id": np.asarray(row_ids, dtype=np.int64)})
    rows = wanted.join(prepared, on="row_id", how="left", maintain_order="left", validate="m:1")
    unknown = rows.filter(pl.col("label_id").is_null())
    if unknown.height:
        raise ArtifactError(
            f"{unknown.height} of {rows.height} scored rows are not in the prepared split (the first has "
            f"row_id {unknown['row_id'][0]}): tokenized and prepared data do not belong together. "
            "Run `qwenkit tokenize` again."
        )
    return rows


def _defuse_column(column: pl.Series) -> pl.Series:
    if column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype == pl.Boolean:
        return column
    # Labels and slices repeat: each distinct value is worked on once.
    values = column.cast(pl.String)
    distinct = values.unique().drop_nulls().to_list()
    safe = pl.Series([defuse_cell(value) for value in distinct], dtype=pl.String)
    return values.replace_strict(pl.Series(distinct, dtype=pl.String), safe, default=None)


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    # The CSV calls the label true_label.
    while name in taken or name == "true_label":
        name = f"source_{name}"
    return name


def _unique_names(names: Sequence[str]) -> list[str]:
    """Tell apart header cells that became equal when they were made safe."""
    unique: list[str] = []
    for name in names:
        unique.append(name if name not in unique else f"{name}_{len(unique)}")
    return unique
