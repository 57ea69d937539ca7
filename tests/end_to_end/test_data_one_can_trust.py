"""Overlap is shown and put on disk, and what is held out is scored apart: as a user types it."""

import json
from pathlib import Path

import polars as pl

from qwenkit.artifacts import read_manifest
from qwenkit.console import Console
from qwenkit.files import read_json
from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call
from tests.conftest import TINY_SETTINGS, write_toy_csv


def settings(*more: str) -> list[str]:
    return [part for setting in (*TINY_SETTINGS, *more) for part in ("--set", setting)]


def write_leaky_splits(folder: Path) -> Path:
    """Write 200 rows as three splits, with 10 rows of train in test too, in capital letters."""
    rows = pl.read_csv(write_toy_csv(folder / "toy.csv", rows=200))
    (folder / "leaky").mkdir()
    rows[:140].write_csv(folder / "leaky/train.csv")
    rows[140:160].write_csv(folder / "leaky/validation.csv")
    copies = rows[:10].with_columns(pl.col("text").str.to_uppercase())
    pl.concat([rows[160:], copies]).write_csv(folder / "leaky/test.csv")
    return folder / "leaky"


def test_overlap_of_given_splits_is_shown_and_written(tmp_path: Path) -> None:
    data, root = write_leaky_splits(tmp_path), tmp_path / "output"
    printed = call("prepare", "--dataset", data, "--root", root)
    assert "Overlap of the splits as they came" in printed
    words = " ".join(printed.split())
    assert "10 of 50 test rows (20.0%) have a near-duplicate in train: scores there are too good" in words
    folder = root / "datasets/leaky/prepared"
    pairs = {(pair["split"], pair["other"]): pair for pair in read_json(folder / "overlap.json")["pairs"]}
    assert pairs["test", "train"]["near"] == 10
    assert set(pairs["test", "train"]["domains"]) == {"news", "poetry"}
    assert read_manifest(folder).counts["overlap_exact_near"]["test with train"] == [0, 10]
    assert pl.read_parquet(folder / "test.parquet")["leaks_from_train"].sum() == 10
    again = call("prepare", "--dataset", data, "--root", root, "--set", "dataset.leakage=drop_from_train")
    assert "leakage: report -> drop_from_train" in again
    assert "- leak" in again
    test = pl.read_parquet(folder / "test.parquet")
    assert (test.height, test["leaks_from_train"].sum()) == (50, 0)


def test_setting_that_is_a_mapping_does_not_load_the_rows_twice(tmp_path: Path) -> None:
    data, root = write_toy_csv(tmp_path / "toy.csv", rows=100), tmp_path / "output"
    held = "dataset.holdout={domain_name: [poetry]}"
    assert "first load_datasets()" not in call("prepare", "--dataset", data, "--root", root)
    assert "first load_datasets()" not in call("prepare", "--dataset", data, "--root", root, "--set", held)
    pipeline = QwenTrainingPipeline(
        dataset=str(data), root=root, overrides=TINY_SETTINGS, console=Console(quiet=True)
    )
    pipeline.load_config()
    pipeline.load_datasets()
    pipeline.config.dataset.holdout["domain_name"] = ["news"]
    pipeline.create_label_mappings()
    held_out = pl.read_parquet(root / "datasets/toy/prepared/test_holdout_domain_name.parquet")
    assert set(held_out["domain_name"]) == {"news"}


def test_held_out_generator_is_scored_on_its_own(tmp_path: Path) -> None:
    rows = pl.read_csv(write_toy_csv(tmp_path / "toy.csv"))
    is_machine = pl.col("label") == "AI_Generated"
    model = (
        pl.when(~is_machine).then(pl.lit("human")).when(pl.int_range(pl.len()) % 10 < 2).then(pl.lit("gpt4"))
    )
    rows.with_columns(model=model.otherwise(pl.lit("llama"))).write_csv(tmp_path / "toy.csv")
    root, held = tmp_path / "output", "dataset.holdout={model: [gpt4]}"
    options = settings(held, "training.max_steps=4", "evaluation.run_pre_training_eval=false")
    printed = call("train", "--dataset", tmp_path / "toy.csv", "--root", root, *options)
    assert "test_holdout_model" in printed
    prepared = root / "datasets/toy/prepared"
    train = pl.read_parquet(prepared / "train.parquet")
    assert set(train["model"]) == {"human", "llama"}
    run = root / "tiny-toy"
    call("evaluate", run, "--split", "test_holdout_model", "--root", root)
    metrics = json.loads((run / "evaluated/test_holdout_model/metrics.json").read_text())
    humans = pl.read_parquet(prepared / "test.parquet").filter(pl.col("model") == "human").height
    # The generator's own rows, and test's human ones beside them.
    assert metrics["rows"] == rows.height // 10 + humans
    assert 0 <= metrics["auroc"] <= 1
    missing = call("evaluate", run, "--split", "test_holdout_domain", "--root", root, code=3)
    assert "it has: train, validation, test, test_holdout_model" in " ".join(missing.split())
