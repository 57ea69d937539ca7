"""An evaluation at Weights & Biases: where its training was, and never at the price of a long wait."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from qwenkit.config.schema import Wandb
from qwenkit.pipeline import QwenTrainingPipeline
from qwenkit.steps.tracked_evaluation import choose_wandb_settings
from tests.wandb_server import serve_wandb

SECRET = "c0ffee" * 6 + "c0ff"
FIGURES = {"roc", "roc_low_fpr", "precision_recall", "scores", "reliability", "coverage"}
FIGURES |= {"training_loss", "validation_scores"}


@pytest.fixture
def run(finished: QwenTrainingPipeline, tmp_path: Path) -> Path:
    """A copy of the finished run, which was trained with W&B off."""
    shutil.copytree(finished.config.paths.root, tmp_path / "output")
    return tmp_path / "output" / finished.run_folder.name


def evaluate(run: Path, *options: str, **variables: str) -> tuple[str, float]:
    """Type the command in a process of its own; give what it says on stderr, and the seconds it took."""
    home = run.parents[1]
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "NO_COLOR": "1", **variables}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "qwenkit", "evaluate", str(run), "--root", str(run.parent), "--quiet"]
    start = time.monotonic()
    done = subprocess.run(
        [*command, *options], cwd=home, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, time.monotonic() - start


def test_figures_numbers_and_confusion_matrix_are_shown(run: Path) -> None:
    said, _ = evaluate(run, "--set", "wandb.enabled=true", "--set", "evaluation.bootstrap_draws=300")
    assert said == ""
    (files,) = run.glob("wandb/offline-run-*/files/media")
    images = list(files.glob("images/evaluation/*.png"))
    assert {path.name.rpartition("_0_")[0] for path in images} == FIGURES
    for path in images:
        image = Image.open(path)
        assert min(image.size) > 300
        # Readable on a dark page too: nothing shines through.
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)
        assert image.mode == "RGB" or image.getextrema()[3] == (255, 255)
    (table,) = files.glob("html/evaluation/*.html")
    (first, second) = json.loads((run / "evaluated/after/metrics.json").read_text())["confusion_matrix"]
    assert (
        "<table><tr><th>true class</th><th>called AI_Generated</th><th>called Human_Written</th></tr>"
        f"<tr><td>AI_Generated</td><td>{first[0]}</td><td>{first[1]}</td></tr>"
        f"<tr><td>Human_Written</td><td>{second[0]}</td><td>{second[1]}</td></tr></table>"
    ) in table.read_text()


def test_it_is_tracked_where_its_training_was_unless_one_says_otherwise(run: Path) -> None:
    assert choose_wandb_settings(run, Wandb()).enabled is False
    assert choose_wandb_settings(run, Wandb(enabled=True)).enabled is True
    config = (run / "config.yaml").read_text().replace("enabled: false", "enabled: true", 1)
    (run / "config.yaml").write_text(config.replace("project: qwenkit", "project: thesis"))
    assert choose_wandb_settings(run, Wandb()).project == "thesis"
    assert choose_wandb_settings(run, Wandb(enabled=False)).enabled is False
    assert choose_wandb_settings(None, Wandb(project="mine")).project == "mine"
    (run / "config.yaml").write_text("wandb: [broken")
    assert choose_wandb_settings(run, Wandb(project="mine")).project == "mine"


def test_without_tracking_nothing_of_it_is_written(run: Path) -> None:
    evaluate(run, "--set", "evaluation.bootstrap_draws=300", WANDB_API_KEY=SECRET)
    evaluate(run, "--set", "wandb.enabled=true", "--no-wandb", WANDB_API_KEY=SECRET)
    assert not list(run.parents[1].rglob("wandb"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("manner", "line"),
    [
        ("silent", "warning: Weights & Biases cannot be reached ("),
        ("stalling", "warning: Weights & Biases is too slow to wait for: `wandb sync "),
    ],
)
def test_a_service_that_does_not_answer_costs_seconds_and_one_line(run: Path, manner, line) -> None:
    _, alone = evaluate(run, "--no-wandb", "--set", "evaluation.bootstrap_draws=300")
    with serve_wandb(manner) as address:
        said, watched = evaluate(
            run,
            *("--set", "wandb.enabled=true", "--set", "evaluation.bootstrap_draws=301"),
            WANDB_API_KEY=SECRET,
            WANDB_BASE_URL=address,
        )
    (warning,) = said.splitlines()
    assert warning.startswith(line)
    # The server would never have answered. Two waits of 8 s at most, and starting W&B on a busy machine.
    assert watched - alone < 45
    assert (run / "evaluated/after/report.html").is_file()
    assert not [p for p in run.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
