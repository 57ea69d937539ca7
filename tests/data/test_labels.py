"""Labels are matched exactly, their order is never guessed, and their weights follow the rows really used."""

import numpy as np
import polars as pl
import pytest
from sklearn.utils.class_weight import compute_class_weight

from qwenkit.data.labels import (
    LabelTable,
    choose_class_weights,
    compute_class_weights,
    count_labels,
    match_labels,
)
from qwenkit.errors import ConfigError, DataError

NAMES = ("AI_Generated", "Human_Written")


def test_weights_are_rows_over_classes_times_rows_of_the_class() -> None:
    label_ids = np.repeat([0, 1], [428_884, 393_249])
    weights = compute_class_weights(label_ids, 2)
    # The figures that were published for these counts, four decimals.
    assert weights == pytest.approx([0.9585, 1.0453], abs=1e-4)
    assert weights.dtype == np.float32
    assert weights[label_ids].mean(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)


def test_weights_equal_the_balanced_rule_of_scikit_learn() -> None:
    label_ids = np.random.default_rng(0).integers(0, 4, 999)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=label_ids)
    assert compute_class_weights(label_ids, 4) == pytest.approx(expected, rel=1e-6)


def test_class_without_a_row_has_no_weight() -> None:
    with pytest.raises(DataError, match="class 1 has no training row"):
        compute_class_weights(np.array([0, 0, 2]), 3)
    with pytest.raises(DataError, match="id 2 is out of range"):
        compute_class_weights(np.array([0, 1, 2]), 2)


def test_weights_can_be_off_or_given() -> None:
    label_ids = np.array([0, 0, 0, 1])
    assert choose_class_weights(label_ids, NAMES, enabled=False).tolist() == [1, 1]
    assert choose_class_weights(label_ids, NAMES).tolist() == pytest.approx([2 / 3, 2])
    manual = choose_class_weights(label_ids, NAMES, method="manual", manual_weights=[3.0, 0.5])
    assert manual.tolist() == [3.0, 0.5]


@pytest.mark.parametrize("weights", [None, [1.0], [1.0, 2.0, 3.0], [1.0, 0.0], [1.0, float("nan")]])
def test_given_weights_must_fit_the_labels(weights: list[float] | None) -> None:
    with pytest.raises(ConfigError, match="for each of AI_Generated, Human_Written, in this order"):
        choose_class_weights(np.array([0, 1]), NAMES, method="manual", manual_weights=weights)


def test_label_order_is_the_order_of_the_config() -> None:
    values = pl.Series("label", ["a", "z", "a"])
    assert match_labels(values, ["z", "a"], column="label")[0].to_list() == [1, 0, 1]
    assert match_labels(values, ["a", "z"], column="label")[0].to_list() == [0, 1, 0]


def test_unknown_labels_are_counted_and_names_must_match_exactly() -> None:
    values = pl.Series("label", ["AI_Generated", "ai_generated", "x", "x", None, " Human_Written"])
    label_ids, unknown, notes = match_labels(values, NAMES, column="label")
    assert label_ids.to_list() == [0, None, None, None, None, None]
    assert unknown == {"x": 2, " Human_Written": 1, "ai_generated": 1}
    assert notes == []


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, 0, None, 1]),
        pl.Series(["1", "0", None, "1"]),
        pl.Series([1.0, 0.0, None, 1.0]),
        pl.Series([True, False, None, True]),
        pl.Series(["True", "False", None, "True"]),
    ],
    ids=["int", "digits", "float", "bool", "words"],
)
def test_column_of_ids_is_read_in_label_order_and_says_so(values: pl.Series) -> None:
    label_ids, unknown, notes = match_labels(values, NAMES, column="y")
    assert label_ids.to_list() == [1, 0, None, 1]
    assert unknown == {}
    assert "holds ids" in notes[0]
    assert "= AI_Generated" in notes[0]


def test_labels_named_like_numbers_are_names() -> None:
    label_ids, _, notes = match_labels(pl.Series([1, 0, 1]), ["1", "0"], column="label")
    assert label_ids.to_list() == [0, 1, 0]
    assert notes == []


def test_id_beside_names_is_unknown() -> None:
    label_ids, unknown, _ = match_labels(pl.Series(["AI_Generated", "1"]), NAMES, column="label")
    assert label_ids.to_list() == [0, None]
    assert unknown == {"1": 1}


@pytest.mark.parametrize("values", [["human", "machine", "machine"], ["0", "1", "2"], ["-1", "0", "0"]])
def test_labels_that_are_all_unknown_are_listed(values: list[str]) -> None:
    with pytest.raises(DataError) as raised:
        match_labels(pl.Series(values), NAMES, column="kind")
    message = str(raised.value)
    assert 'The label column "kind" holds: ' in message
    assert "model.labels (AI_Generated, Human_Written)" in message
    assert all(f'"{value}" ({values.count(value)})' in message for value in set(values))


def test_found_labels_cannot_steer_the_terminal() -> None:
    with pytest.raises(DataError) as raised:
        match_labels(pl.Series(["\x1b[2Jevil", "x" * 500]), NAMES, column="label")
    assert "\x1b" not in str(raised.value)
    assert "x" * 100 not in str(raised.value)


def test_labels_in_lists_are_refused() -> None:
    with pytest.raises(DataError, match=r'column "label" holds List\(String\), not text'):
        match_labels(pl.Series([["a"], ["b"]]), NAMES, column="label")


def test_every_label_is_counted_even_without_rows() -> None:
    assert count_labels(pl.Series([1, 1]), ["a", "b", "c"]) == {"a": 0, "b": 2, "c": 0}


def test_label_table_survives_json() -> None:
    table = LabelTable(NAMES, {"train": {"AI_Generated": 3, "Human_Written": 1}}, (0.6666667, 2.0), NAMES[0])
    assert LabelTable.from_json(table.to_json()) == table
    assert table.label2id == {"AI_Generated": 0, "Human_Written": 1}
    assert table.id2label == {0: "AI_Generated", 1: "Human_Written"}


MAPPING = {"0": "Human_Written", "1": "AI_Generated", "2": None}


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([1, 0, None, 2]),
        pl.Series(["1", "0", None, "2"]),
        pl.Series([1.0, 0.0, None, 2.0]),
        pl.Series([1, 0, None, 2], dtype=pl.UInt8),
    ],
    ids=["int", "digits", "float", "byte"],
)
def test_mapping_says_which_id_is_which_class(values: pl.Series) -> None:
    label_ids, dropped, notes = match_labels(values, NAMES, column="y", mapping=MAPPING)
    assert label_ids.to_list() == [0, 1, None, None]
    assert dropped == {values.cast(pl.String)[3]: 1}
    assert notes == []


@pytest.mark.parametrize("values", [[True, False], ["True", "False"], ["TRUE", "false"]])
def test_mapping_of_booleans_takes_every_way_to_write_them(values: list[object]) -> None:
    mapping = {"true": "Human_Written", "false": "AI_Generated"}
    assert match_labels(pl.Series(values), NAMES, column="y", mapping=mapping)[0].to_list() == [1, 0]


def test_exact_key_of_a_mapping_wins_over_another_way_to_write_it() -> None:
    mapping = {"1": "AI_Generated", "1.0": "Human_Written", "True": "Human_Written", "true": "AI_Generated"}
    values = pl.Series(["1", "1.0", "True", "true", "TRUE"])
    assert match_labels(values, NAMES, column="y", mapping=mapping)[0].to_list() == [0, 1, 1, 0, 0]


def test_many_values_may_be_one_class_and_a_class_is_known_by_its_own_name() -> None:
    mapping = {"gpt4": "AI_Generated", "llama": "AI_Generated", "human": "Human_Written"}
    values = pl.Series(["gpt4", "human", "llama", "Human_Written", "AI_Generated"])
    assert match_labels(values, NAMES, column="y", mapping=mapping)[0].to_list() == [0, 1, 0, 1, 0]


def test_mapping_may_turn_the_names_themselves_around() -> None:
    mapping = {"AI_Generated": "Human_Written", "Human_Written": "AI_Generated"}
    assert match_labels(pl.Series(NAMES), NAMES, column="y", mapping=mapping)[0].to_list() == [1, 0]


def test_value_that_the_mapping_lacks_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(DataError) as raised:
        match_labels(pl.Series([0, 1, 1, 3]), NAMES, column="kind", mapping=MAPPING)
    assert 'model.label_mapping says nothing about "3" (1)' in str(raised.value)
    assert 'The label column "kind" holds: "1" (2), "0" (1), "3" (1)' in str(raised.value)
    assert "null to drop its rows" in str(raised.value)
