"""Options of evaluate and export, and --json everywhere, as a user types them."""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from qwenkit.artifacts import verify
from qwenkit.cli.app import app
from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call, call_for_json
from tests.conftest import TINY_SETTINGS, write_toy_csv

TEXTS = ["the dog in the mud, said my brother", "delve into the seamless tapestry"]


@pytest.fixture(scope="module")
def run(finished: QwenTrainingPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run, and of all that lies under its root, to be worked on."""
    root = tmp_path_factory.mktemp("copy") / "output"
    shutil.copytree(finished.config.paths.root, root)
    return root / finished.run_folder.name


def read_metrics(folder: Path) -> dict[str, Any]:
    verify(folder, deep=True)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


# ---- evaluate ----


def test_evaluate_out_takes_the_results_and_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = sorted(run.rglob("*"))
    call("evaluate", run, "--root", run.parent, "--out", tmp_path / "results")
    assert read_metrics(tmp_path / "results")["rows"] == 32
    assert (tmp_path / "results" / "report.html").is_file()
    assert sorted(run.rglob("*")) == before


def test_evaluate_data_scores_all_rows_of_any_labelled_file(run: Path, tmp_path: Path) -> None:
    data = write_toy_csv(tmp_path / "other.csv", rows=48, seed=5)
    call("evaluate", run, "--root", run.parent, "--data", data)
    metrics = read_metrics(run / "evaluated" / "other")
    assert metrics["rows"] == 48
    assert metrics["auroc"] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--detector-name", "mine", "--contact", "me@x.org"),
            "--detector-name, --contact: only with --raid",
        ),
        (("--raid", "raid.csv", "--robustness"), "--robustness: not beside --raid"),
        (("--raid", "raid.csv", "--operating-point", "fpr=0.02"), "--operating-point: not beside --raid"),
    ],
)
def test_evaluate_refuses_options_that_would_do_nothing(
    run: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert message in call("evaluate", run, "--root", run.parent, *arguments, code=2)


def test_evaluate_warns_of_rows_that_the_model_was_trained_on(
    run: Path, toy_csv: Path, tmp_path: Path
) -> None:
    fresh = write_toy_csv(tmp_path / "fresh.csv", rows=16, seed=11)
    for data, warning in ((fresh, ""), (toy_csv, "warning: 256 of 320 rows are in the train split of")):
        words = ("evaluate", run, "--data", data, "--root", run.parent, "--out", tmp_path / data.stem)
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        assert result.stderr.startswith(warning)
        assert bool(result.stderr) == bool(warning)


def test_settings_of_training_are_refused_where_a_saved_model_is_used(run: Path) -> None:
    for command in ("evaluate", "export"):
        asked = (command, run, "--root", run.parent, "--set", "training.seed=3", "--set", "peft.lora_r=4")
        assert "--set training.seed, peft.lora_r: the model is as it was" in call(*asked, code=2)
    call("evaluate", run, "--root", run.parent, "--set", "training.per_device_eval_batch_size=4")


def test_a_run_that_is_not_finished_names_the_command_that_finishes_it(run: Path, tmp_path: Path) -> None:
    root = tmp_path / "my output"
    shutil.copytree(run.parent, root)
    begun = root / run.name
    shutil.rmtree(begun / "trained")
    config = (begun / "config.yaml").read_text()
    [written] = [line for line in config.splitlines() if line.startswith("  root: ")]
    (begun / "config.yaml").write_text(config.replace(written, f'  root: "{root}"'))
    command = re.findall(r"finish it with `qwenkit (.*)`", call("evaluate", begun, "--root", root, code=3))[0]
    assert f"going on from {begun}/checkpoint-" in call(*shlex.split(command))
    assert "(--force starts over)" not in call(*shlex.split(command), "--force", "--resume", "auto")
    verify(begun / "trained", deep=True)


def test_the_rows_that_a_model_learned_from_are_called_so(run: Path, tmp_path: Path) -> None:
    asked = ("--root", run.parent, "--split", "train", "--out", tmp_path / "out")
    assert "these are the rows that the model learned from" in call("evaluate", run, *asked)


def test_a_column_that_is_not_there_is_told_before_anything_is_scored(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwenkit.steps.evaluating.score_rows", None)
    words = ("--data", write_toy_csv(tmp_path / "x.csv", rows=16), "--out", tmp_path / "out")
    asked = ("--root", run.parent, "--set", "evaluation.slice_columns=[genre]")
    assert 'slice_columns names "genre"' in call("evaluate", run, *words, *asked, code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_file_named_like_the_runs_own_evaluation_does_not_take_its_place(
    run: Path, tmp_path: Path, name: str
) -> None:
    own = (run / "evaluated" / name / "metrics.json").read_bytes()
    call("evaluate", run, "--root", run.parent, "--data", write_toy_csv(tmp_path / f"{name}.csv", rows=16))
    assert (run / "evaluated" / name / "metrics.json").read_bytes() == own
    assert read_metrics(run / "evaluated" / f"data-{name}")["rows"] == 16


def test_results_on_one_file_do_not_give_way_to_those_on_another_of_its_name(
    run: Path, tmp_path: Path
) -> None:
    for folder, rows in (("a", 16), ("b", 24)):
        (tmp_path / folder).mkdir()
        write_toy_csv(tmp_path / folder / "same.csv", rows=rows, seed=rows)
    evaluate = ("evaluate", run, "--root", run.parent, "--data")
    call(*evaluate, tmp_path / "a/same.csv")
    refused = call(*evaluate, tmp_path / "b/same.csv", code=4)
    assert f"holds results on {tmp_path}/a/same.csv, not {tmp_path}/b/same.csv" in refused
    assert read_metrics(run / "evaluated/same")["rows"] == 16
    call(*evaluate, tmp_path / "b/same.csv", "--force")
    assert read_metrics(run / "evaluated/same")["rows"] == 24


@pytest.mark.parametrize(
    "options",
    [
        ("--data", "a.csv", "--split", "validation"),
        ("--data", "a.csv", "--dataset", "10k"),
        ("--raid", "a.csv", "--data", "a.csv"),
    ],
)
def test_evaluate_is_told_one_thing_to_score(run: Path, options: tuple[str, ...]) -> None:
    assert "each say what is scored: give one of them" in call("evaluate", run, *options, code=2)


def test_evaluate_data_with_other_column_names(run: Path, tmp_path: Path) -> None:
    table = pl.read_csv(write_toy_csv(tmp_path / "x.csv", rows=24, seed=6)).rename(
        {"text": "body", "label": "class"}
    )
    table.write_parquet(tmp_path / "renamed.parquet")
    columns = ("--set", "model.text_column=body", "--set", "model.label_column=class")
    data = ("--data", tmp_path / "renamed.parquet")
    call("evaluate", run, "--root", run.parent, *data, *columns, "--out", tmp_path / "out")
    assert read_metrics(tmp_path / "out")["rows"] == 24


def test_evaluate_on_the_models_own_data_set_scores_its_test_rows_only(run: Path, toy_csv: Path) -> None:
    printed = call("evaluate", run, "--root", run.parent, "--dataset", toy_csv)
    assert "the test split of toy" in printed
    assert "up to date, skipped" in printed
    assert read_metrics(run / "evaluated" / "after")["rows"] == 32


def test_evaluate_on_its_own_data_set_never_splits_it_anew(run: Path, toy_csv: Path) -> None:
    prepared = run.parent / "datasets/toy/prepared/manifest.json"
    before = prepared.read_bytes()
    options = ("--set", "dataset.shuffle_seed=7")
    call("evaluate", run, "--root", run.parent, "--dataset", toy_csv, *options)
    assert prepared.read_bytes() == before


def test_evaluate_on_another_data_set_scores_its_test_split(run: Path, tmp_path: Path) -> None:
    data = write_toy_csv(tmp_path / "another.csv", rows=80, seed=7)
    printed = call("evaluate", run, "--root", run.parent, "--dataset", data)
    assert "the test split of another" in printed
    assert read_metrics(run / "evaluated" / "another")["rows"] == 8


def test_evaluate_refuses_a_data_set_of_the_same_name_from_elsewhere(run: Path, tmp_path: Path) -> None:
    same_name = write_toy_csv(tmp_path / "toy.csv", rows=80, seed=8)
    call("evaluate", run, "--root", run.parent, "--dataset", same_name, code=4)


@pytest.mark.parametrize("command", ["evaluate", "export", "raid"])
def test_results_of_another_model_are_not_overwritten_unless_told_to(
    run: Path, tmp_path: Path, command: str
) -> None:
    data = write_toy_csv(tmp_path / "other.csv", rows=16, seed=5)
    pl.DataFrame({"id": ["a", "b"], "generation": TEXTS}).write_csv(tmp_path / "raid.csv")
    out = ("--root", run.parent, "--out", tmp_path / "out")
    made = {
        "evaluate": ("evaluate", "{}", "--data", data, *out),
        "export": ("export", "{}", "--format", "adapter", *out),
        "raid": ("evaluate", "{}", "--raid", tmp_path / "raid.csv", *out),
    }
    checkpoint = next(run.glob("checkpoint-*"))

    def make(kind: str, model: Path, *more: str, code: int = 0) -> str:
        return call(*(model if word == "{}" else word for word in made[kind]), *more, code=code)

    make(command, run)
    assert "holds results of another model" in make(command, checkpoint, code=4)
    make(command, checkpoint, "--force")
    if command == "raid":
        make("evaluate", checkpoint, "--force")
        assert "holds results of another kind" in make("raid", checkpoint, code=4)


# ---- export ----


def test_export_out_takes_every_format_and_leaves_the_run_alone(run: Path, tmp_path: Path) -> None:
    before = sorted(run.rglob("*"))
    formats = ("--format", "merged", "--format", "adapter")
    call("export", run, "--root", run.parent, *formats, "--out", tmp_path / "exports")
    for name in ("merged", "adapter"):
        verify(tmp_path / "exports" / name, deep=True)
        (record,) = call_for_json("predict", tmp_path / "exports" / name, "the dog in the mud")
        assert record["label"] == "Human_Written"
    assert sorted(run.rglob("*")) == before


# ---- --json ----


def test_json_of_each_stage_command_is_one_object_and_nothing_else(toy_csv: Path, tmp_path: Path) -> None:
    root = ("--root", tmp_path / "output")
    settings = [part for setting in TINY_SETTINGS for part in ("--set", setting)]
    data = ("--dataset", toy_csv, *settings)
    run = tmp_path / "output" / "tiny-toy"
    commands: dict[str, tuple[object, ...]] = {
        "prepare": data,
        "tokenize": data,
        "train": (*data, "--max-steps", "2"),
        "evaluate": (run,),
        "export": (run, "--format", "adapter"),
        "run": (*data, "--max-steps", "2"),
    }
    made = {"prepare": "prepare", "tokenize": "tokenize", "train": "train", "run": "export"}
    for command, arguments in commands.items():
        (result,) = call_for_json(command, *arguments, *root)
        folder = Path(result["folders"][made.get(command, command)])
        assert (folder / "manifest.json").is_file(), command
        assert result["run"] == (None if command in ("prepare", "tokenize") else str(run)), command
        if command in ("evaluate", "run"):
            assert result["post_metrics"]["rows"] == 32
    (states,) = call_for_json("status", *root)
    assert {state["stage"] for state in states["artifacts"]} >= {
        "prepare",
        "tokenize",
        "train",
        "evaluate",
        "export",
    }


def test_force_redoes_what_the_command_makes_and_nothing_before_it(toy_csv: Path, tmp_path: Path) -> None:
    settings = [word for setting in TINY_SETTINGS for word in ("--set", setting)]
    asked = ("tokenize", "--dataset", toy_csv, "--root", tmp_path, *settings)
    call(*asked)
    prepared = tmp_path / "datasets/toy/prepared/manifest.json"
    (tokenized,) = tmp_path.glob("datasets/toy/tokenized/*/manifest.json")
    before = [path.stat().st_mtime_ns for path in (prepared, tokenized)]
    call(*asked, "--force")
    after = [path.stat().st_mtime_ns for path in (prepared, tokenized)]
    assert after[0] == before[0] and after[1] != before[1]


def test_json_of_an_error_leaves_stdout_empty(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "none"), "--json"])
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
