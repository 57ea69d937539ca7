"""Predictions: joined with the right rows, exact in Parquet, harmless in CSV."""

import csv

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.errors import ArtifactError
from qwenkit.evaluation.predictions import (
    CSV_CELL_LIMIT,
    build_predictions,
    defuse_cell,
    find_slice_columns,
    read_logits,
    write_predictions,
)
from qwenkit.probabilities import softmax

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture
def written(tmp_path):
    def write(predictions):
        write_predictions(tmp_path, predictions)
        with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return write


def build(prepared, logits, **options):
    return build_predictions(logits, prepared["row_id"].to_numpy(), prepared, labels=LABELS, **options)


def test_each_row_of_logits_meets_the_row_that_it_belongs_to(make_prepared, make_logits):
    prepared = make_prepared(40)
    logits = make_logits(prepared)
    order = np.random.default_rng(1).permutation(40)[:25]
    row_ids = prepared["row_id"].to_numpy()[order]
    found = build_predictions(logits[order], row_ids, prepared, labels=LABELS)
    assert found["row_id"].to_list() == row_ids.tolist()
    assert found["label"].to_list() == [prepared["label"][int(at)] for at in order]
    assert found["domain_name"].to_list() == [prepared["domain_name"][int(at)] for at in order]
    assert np.array_equal(read_logits(found, LABELS), logits[order])
    assert (
        found["correct"].to_list()
        == (logits[order].argmax(1) == prepared["label_id"].to_numpy()[order]).tolist()
    )


def test_columns_have_the_agreed_names_and_the_probability_is_the_positive_classs(make_prepared, make_logits):
    prepared = make_prepared()
    logits = make_logits(prepared)
    found = build(prepared, logits, positive_label="Human_Written")
    assert found.columns == [
        "row_id",
        "label",
        "label_id",
        "predicted_label",
        "predicted_id",
        "correct",
        "probability",
        "logit_AI_Generated",
        "logit_Human_Written",
        "probability_AI_Generated",
        "probability_Human_Written",
        "domain_name",
        "characters",
    ]
    assert np.array_equal(found["probability"].to_numpy(), softmax(logits)[:, 1])
    assert build(prepared, logits)["probability"].to_list() == found["probability_AI_Generated"].to_list()
    assert [LABELS[k] for k in found["predicted_id"]] == found["predicted_label"].to_list()


def test_logits_of_other_data_are_refused(make_prepared, make_logits):
    prepared = make_prepared(4)
    with pytest.raises(ArtifactError, match=r"1 of 4 scored rows .* row_id 7\)"):
        build_predictions(make_logits(prepared), np.array([1000, 1001, 7, 1003]), prepared, labels=LABELS)


def test_source_columns_never_replace_ours(make_prepared, make_logits):
    taken = {name: ["theirs"] * 6 for name in ("correct", "source_correct", "probability", "true_label")}
    found = build(make_prepared(6, **taken), make_logits(make_prepared(6)))
    assert found["correct"].dtype == pl.Boolean
    assert found["probability"].dtype == pl.Float64
    theirs = {"source_correct", "source_source_correct", "source_probability", "source_true_label"}
    assert theirs < set(found.columns)


def test_prose_and_nested_columns_are_not_slices(make_prepared):
    prepared = make_prepared(
        4, prompt=["long " * 100] * 4, tags=[["a"]] * 4, blob=[b"x"] * 4, year=[1, 2, 3, 4], empty=[None] * 4
    )
    assert find_slice_columns(prepared) == ["domain_name", "year", "empty"]


def test_text_stays_in_the_prepared_split(make_prepared, make_logits):
    prepared = make_prepared(4)
    assert "text" not in build(prepared, make_logits(prepared)).columns


def test_parquet_is_exact_and_csv_has_the_originals_columns(make_prepared, make_logits, written, tmp_path):
    prepared = make_prepared(30, year=range(30), when=[None] * 30)
    predictions = build(prepared, make_logits(prepared))
    rows = written(predictions)
    assert pl.read_parquet(tmp_path / "predictions.parquet").equals(predictions)
    assert {"row_id", "true_label", "predicted_label", "correct"} < set(rows[0])
    assert [row["true_label"] for row in rows] == prepared["label"].to_list()
    assert [row["correct"] == "true" for row in rows] == predictions["correct"].to_list()
    # A spreadsheet must see numbers, negative ones too.
    assert [float(row["logit_AI_Generated"]) for row in rows] == pytest.approx(
        predictions["logit_AI_Generated"].to_list(), rel=1e-6
    )


@pytest.mark.parametrize(
    "hostile",
    [
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "＝1",
        '"=1',
        "'=1",
        "\u00a0=1",
    ],
)
def test_no_cell_starts_a_formula(hostile, make_prepared, make_logits, written):
    labels = [hostile, "fine"]
    prepared = make_prepared(4, labels=labels, **{hostile: [hostile] * 4})
    predictions = build_predictions(
        make_logits(prepared), prepared["row_id"].to_numpy(), prepared, labels=labels
    )
    rows = written(predictions)
    assert len(rows) == 4
    for cell in [*rows[0], *(value for row in rows for value in row.values())]:
        bare = cell.lstrip(' \t\r\n\u00a0"')
        is_number = bare.lstrip("+-").replace(".", "").replace("e", "").replace("-", "").isdigit()
        assert is_number or not bare.startswith(tuple("=+-@＝＋－＠")), cell


@given(st.text())
def test_no_control_character_or_formula_survives(text):
    cell = defuse_cell(text)
    assert not set(cell) & {"\x00", "\x1b", "\n", "\r", "\t", "\u202e", "\u200b", "\u2028"}
    assert not cell.strip('\u00a0 "').startswith(tuple("=@＝＋－＠"))


def test_plain_numbers_stay_numbers():
    assert [defuse_cell(text) for text in ("-1", "+1", "-0.5", "1e-5")] == ["-1", "+1", "-0.5", "1e-5"]
    assert defuse_cell("-1+1") == "'-1+1"


def test_an_endless_line_fits_a_spreadsheets_cell(make_prepared, make_logits, written):
    prepared = make_prepared(2)
    cells = pl.Series("cell", ["x" * 1_000_000, '\x1b[2J\u202e,"\n'])
    rows = written(build(prepared, make_logits(prepared)).with_columns(cells))
    assert len(rows[0]["cell"]) == CSV_CELL_LIMIT
    assert rows[1]["cell"] == '\\u001b[2J\\u202e,"\\u000a'
