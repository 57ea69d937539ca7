"""What was scored once is measured again without the model: another target, slice or number of draws."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call
from tests.conftest import TINY_SETTINGS, write_toy_csv

TYPE = """
import sys
from qwenkit.cli.app import app
app(sys.argv[1:], standalone_mode=False)
heavy = {"torch", "transformers", "peft", "bitsandbytes", "datasets"} & set(sys.modules)
print("read:", *sorted(heavy))
"""


@pytest.fixture
def without_weights(finished: QwenTrainingPipeline, tmp_path: Path) -> Path:
    """A copy of the finished run whose weights and tokenizer are gone."""
    shutil.copytree(finished.config.paths.root, tmp_path / "output")
    run = tmp_path / "output" / finished.run_folder.name
    gone = [run / "trained" / name for name in ("adapter_model.safetensors", "tokenizer.json")]
    for path in gone:
        path.unlink()
    return run


@pytest.mark.parametrize(
    ("option", "value", "place"),
    [
        ("--operating-point", "fpr=0.2", lambda metrics: "fpr=0.2" in metrics["operating_points"]),
        (
            "--set",
            "evaluation.slice_columns=[characters]",
            lambda metrics: "characters" in {one["column"] for one in metrics["slices"]},
        ),
        ("--set", "evaluation.bootstrap_draws=300", lambda metrics: metrics["bootstrap"]["draws"] == 300),
    ],
)
def test_another_target_slice_or_interval_needs_no_model(without_weights, option, value, place) -> None:
    after = without_weights / "evaluated/after"
    before = json.loads((after / "metrics.json").read_text())
    assert not place(before)
    call("evaluate", without_weights, "--root", without_weights.parent, option, value)
    metrics = json.loads((after / "metrics.json").read_text())
    assert place(metrics)
    assert metrics["log_loss"] == before["log_loss"]
    # Scoring anew does need it, and says what is missing.
    printed = call("evaluate", without_weights, "--root", without_weights.parent, "--force", code=3)
    assert "adapter_model.safetensors" in " ".join(printed.split())


def test_a_saved_model_is_measured_with_the_class_weights_that_it_was_trained_with(tmp_path: Path) -> None:
    rows = pl.read_csv(write_toy_csv(tmp_path / "all.csv"))
    # Three rows of one class to one of the other: the weighted loss is another than the plain one.
    uneven = rows.filter((pl.col("label") == "AI_Generated") | (pl.int_range(pl.len()) % 3 == 0))
    uneven.write_csv(tmp_path / "toy.csv")
    settings = (*TINY_SETTINGS, "training.max_steps=4")
    options = [part for setting in settings for part in ("--set", setting)]
    call("run", "--dataset", tmp_path / "toy.csv", "--root", tmp_path / "output", *options)
    after = tmp_path / "output/tiny-toy/evaluated/after/metrics.json"
    trained = json.loads(after.read_text())
    assert max(trained["class_weights"]) > 1.3 * min(trained["class_weights"])
    call("evaluate", tmp_path / "output/tiny-toy", "--root", tmp_path / "output", "--force")
    again = json.loads(after.read_text())
    assert again["class_weights"] == trained["class_weights"]
    assert again["loss"] == pytest.approx(trained["loss"], abs=1e-6)


def test_no_model_library_is_even_imported(without_weights: Path) -> None:
    command = [
        sys.executable,
        "-c",
        TYPE,
        "evaluate",
        str(without_weights),
        "--root",
        str(without_weights.parent),
    ]
    command += ["--operating-point", "fpr=0.2", "--set", "evaluation.slice_columns=[characters]"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "its logits are taken" in finished.stderr + finished.stdout
    assert finished.stdout.splitlines()[-1] == "read:"
