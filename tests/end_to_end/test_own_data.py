"""Rows, labels, class weights and a tokenizer that a user of the class puts in, or changes between steps."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from qwenkit import Predictor
from qwenkit.artifacts import read_manifest
from qwenkit.errors import ConfigError, DataError
from qwenkit.files import read_json
from qwenkit.tokens.tokenizer import train_tokenizer

LABELS = ("AI_Generated", "Human_Written")


def test_a_data_frame_alone_is_split_trained_and_evaluated(make: Any, toy_csv: Path) -> None:
    pipeline = make(None)
    pipeline.train_dataset = pl.read_csv(toy_csv)
    pipeline.run()
    assert pipeline.dataset_info["kind"] == "memory"
    assert len(pipeline.test_dataset) == 32
    assert pipeline.post_metrics["rows"] == 32


def test_equal_rows_put_in_again_find_the_run_up_to_date(make: Any, toy_csv: Path) -> None:
    first, second, third = make(None), make(None), make(None)
    first.train_dataset = pl.read_csv(toy_csv)
    first.run()
    made_at = read_manifest(first.trained_folder).created_at
    second.train_dataset = pl.read_csv(toy_csv).to_pandas()
    second.run()
    assert second.trained_folder == first.trained_folder
    assert read_manifest(second.trained_folder).created_at == made_at
    third.train_dataset = pl.read_csv(toy_csv).head(200)
    third.run()
    assert third.trained_folder != first.trained_folder


def test_rows_changed_between_steps_are_the_rows_that_are_trained_on(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.train_dataset = pipeline.train_dataset.select(range(40))
    pipeline.train()
    assert len(pipeline.train_tokenized) == 40
    assert read_manifest(pipeline.trained_folder).identity["dataset"] == "toy-own"


def test_tokenized_rows_put_in_are_trained_on(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    pipeline.train_tokenized = pipeline.train_tokenized.select(range(48))
    pipeline.train()
    assert pipeline.trainer.train_dataset.num_rows == 48
    assert "rows_train_tokenized" in read_manifest(pipeline.trained_folder).identity


def test_tokenized_rows_without_ids_are_refused(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    pipeline.train_tokenized = pipeline.train_tokenized.remove_columns("input_ids")
    with pytest.raises(DataError, match=r"train_tokenized lacks input_ids; it has row_id"):
        pipeline.train()


def test_labels_put_in_another_order_number_the_rows_anew(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.labels = list(reversed(LABELS))
    pipeline.train()
    first = pipeline.train_dataset[0]
    assert pipeline.id2label == {0: "Human_Written", 1: "AI_Generated"}
    assert first["label_id"] == pipeline.label2id[first["label"]]
    assert read_json(pipeline.trained_folder / "qwenkit.json")["labels"] == list(reversed(LABELS))


def test_a_label_map_that_contradicts_the_rows_is_refused(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.id2label = dict(enumerate(reversed(LABELS)))
    with pytest.raises(ConfigError, match="the rows were labelled in the order AI_Generated, Human_Written"):
        pipeline.train()


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_class_weights_that_the_loss_cannot_use_are_refused(make: Any, weights: list[float]) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.class_weights = weights
    with pytest.raises(ConfigError, match="expected 2 positive numbers"):
        pipeline.train()


def test_class_weights_put_in_reach_the_loss_and_the_manifest(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    pipeline.class_weights = [3.0, 1.0]
    pipeline.train()
    assert list(pipeline.trainer.plan.class_weights) == [3.0, 1.0]
    assert read_manifest(pipeline.trained_folder).identity["class_weights"] == [3.0, 1.0]


def test_a_tokenizer_put_in_is_used_and_saved(make: Any) -> None:
    pipeline = make()
    pipeline.create_label_mappings()
    tokenizer = train_tokenizer(pipeline.train_dataset["text"], vocab_size=300, max_length=48)
    pipeline.tokenizer = tokenizer
    pipeline.train()
    assert len(Predictor.from_folder(pipeline.trained_folder).loaded.tokenizer) == len(tokenizer)


def test_another_tokenizer_after_tokenizing_tokenizes_again(make: Any) -> None:
    pipeline = make()
    pipeline.tokenize_datasets()
    before = pipeline.train_tokenized[0]["input_ids"]
    pipeline.tokenizer = train_tokenizer(pipeline.train_dataset["text"], vocab_size=300, max_length=48)
    pipeline.train()
    assert pipeline.train_tokenized[0]["input_ids"] != before
