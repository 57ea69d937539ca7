"""The class: steps one by one, changes in between, names for other settings."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from qwenkit import QwenTrainingPipeline
from qwenkit.artifacts import read_manifest
from qwenkit.console import Console
from qwenkit.inventory import list_states
from qwenkit.runs import Workspace
from tests.conftest import TINY_SETTINGS
from tests.modeling.tiny_models import make_tokenizer


def make(dataset: Path, root: Path, **more: Any) -> QwenTrainingPipeline:
    return QwenTrainingPipeline(
        str(dataset), root=root, overrides=TINY_SETTINGS, console=Console(quiet=True), **more
    )


def test_an_alias_names_its_hub_id_without_the_network() -> None:
    pipeline = QwenTrainingPipeline(dataset="10k", epochs=1)
    pipeline.load_config()
    assert pipeline.dataset_name == "codefactory4791/raid_aligned_10k"
    pipeline.config["training"]["num_train_epochs"] = 10
    pipeline.load_config()
    assert pipeline.config.training.num_train_epochs == 10


def test_a_late_step_runs_what_it_lacks(
    toy_csv: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = make(toy_csv, tmp_path, max_steps=2)
    pipeline.load_config()
    pipeline.load_datasets()
    try:
        pipeline.train()
    finally:
        pipeline.cleanup()
    assert (tmp_path / "tiny-toy/trained/manifest.json").exists()
    assert capsys.readouterr().out == ""


def test_rows_are_tokenized_without_a_whole_split_in_memory(
    toy_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tokenizer().save_pretrained(tmp_path / "tokenizer")
    make(toy_csv, tmp_path).create_label_mappings()

    def refuse(folder: Path, split: str) -> None:
        raise AssertionError(f"{split} was read whole")

    monkeypatch.setattr("qwenkit.data.prepared.read_split", refuse)
    pipeline = make(toy_csv, tmp_path)
    pipeline.load_config()
    pipeline.config.tokenization.tokenizer = str(tmp_path / "tokenizer")
    pipeline.tokenize_datasets()
    assert len(pipeline.train_tokenized) > 10


def test_the_size_that_auto_settles_on_is_kept_with_the_model(toy_csv: Path, tmp_path: Path) -> None:
    pipeline = make(toy_csv, tmp_path, max_steps=2)
    pipeline.load_config()
    pipeline.config.training.micro_batch_tokens = "auto"
    try:
        pipeline.train()
    finally:
        pipeline.cleanup()
    counts = read_manifest(tmp_path / "tiny-toy/trained").counts
    assert counts["micro_batches"] == {"documents": 8, "tokens": 4096}
    (trained,) = [
        each for each in list_states(Workspace(tmp_path), settings=None, deep=False) if each.stage == "train"
    ]
    assert trained.detail == "2 steps, weights of step 2, micro-batches of 4,096 tokens"


def test_a_subset_is_scored_while_training_and_all_rows_at_its_end(toy_csv: Path, tmp_path: Path) -> None:
    pipeline = make(toy_csv, tmp_path, max_steps=2)
    pipeline.load_config()
    pipeline.config.training.eval_samples, pipeline.config.training.eval_steps = 10, 1
    try:
        pipeline.train()
    finally:
        pipeline.cleanup()
    assert [row["eval_rows"] for row in pipeline.trainer.state.log_history if "eval_rows" in row] == [10, 10]
    stored = pl.read_parquet(pipeline.trained_folder / "validation_predictions.parquet")
    assert stored.height == len(pipeline.val_tokenized) > 10


def test_force_overwrites_no_run_with_other_settings_that_nobody_named(toy_csv: Path, tmp_path: Path) -> None:
    made = [make(toy_csv, tmp_path, max_steps=steps) for steps in (2, 3)]
    again = make(toy_csv, tmp_path, max_steps=3, force=["train"])
    named = make(toy_csv, tmp_path, max_steps=4, force=["train"], run_name="tiny-toy")
    for pipeline in (*made, again, named):
        try:
            pipeline.train()
        finally:
            pipeline.cleanup()
    folders = [pipeline.run_folder.name for pipeline in (*made, again, named)]
    assert folders == ["tiny-toy", "tiny-toy-2", "tiny-toy-2", "tiny-toy"]


def test_a_threshold_of_ones_own_waits_until_there_is_a_trained_model(toy_csv: Path, tmp_path: Path) -> None:
    pipeline = make(toy_csv, tmp_path, max_steps=2)
    pipeline.load_config()
    pipeline.config.evaluation.extra_target_fprs = [0.2]
    try:
        pipeline.run_pre_evaluation()
        assert pipeline.pre_metrics["rows"] == 20
        pipeline.run_post_evaluation()
    finally:
        pipeline.cleanup()
    assert "fpr=0.2" in pipeline.post_metrics["operating_points"]


def test_a_run_with_other_settings_takes_the_next_name(toy_csv: Path, tmp_path: Path) -> None:
    for steps in (2, 3):
        pipeline = make(toy_csv, tmp_path, max_steps=steps)
        pipeline.load_config()
        try:
            pipeline.train()
        finally:
            pipeline.cleanup()
    assert pipeline.run_folder.name == "tiny-toy-2"


def test_rows_that_a_user_puts_in_are_used_and_kept_apart(toy_csv: Path, tmp_path: Path) -> None:
    pipeline = make(toy_csv, tmp_path)
    pipeline.load_config()
    pipeline.load_datasets()
    pipeline.train_dataset = pipeline.train_dataset.select(range(50))
    pipeline.create_label_mappings()
    assert sum(pipeline._prepared.labels.counts["train"].values()) == 50
    assert not (tmp_path / "datasets/toy/prepared").exists()


def test_a_finished_run_that_is_found_late_is_scored_with_its_trained_model(
    toy_csv: Path, tmp_path: Path
) -> None:
    first = make(toy_csv, tmp_path, max_steps=4)
    first.run()
    shutil.rmtree(first.run_folder / "evaluated/after")
    again = make(toy_csv, tmp_path, max_steps=5)
    again.load_config()
    again.apply_lora()
    # Only now it is the run that is finished already; what is in hand is its base.
    again.config.training.max_steps = 4
    again.run_post_evaluation()
    assert again.run_folder == first.run_folder
    assert again.post_metrics is not None and first.post_metrics is not None
    assert again.post_metrics["loss"] == first.post_metrics["loss"]
