"""qwenkit plan as it is typed: what it says next can be typed too, and trained."""

import json
from pathlib import Path

import pytest

from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call, call_for_json


def plan_next(output: str) -> str:
    return output.splitlines()[-1].partition("next: ")[2]


def test_the_next_command_keeps_to_the_data_set_that_the_config_names(tmp_path: Path) -> None:
    told = call("plan", "--config", "demo", "--root", tmp_path)
    assert plan_next(told) == f"qwenkit prepare --config demo --root {tmp_path}"
    told = call("plan", "--config", "demo", "--dataset", "mine.csv", "--root", tmp_path)
    assert plan_next(told) == f"qwenkit prepare --dataset mine.csv --config demo --root {tmp_path}"
    told = call("plan", "--set", "model.name=tiny", "--root", tmp_path)
    assert plan_next(told) == f"qwenkit prepare --dataset 10k --set model.name=tiny --root {tmp_path}"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--batch-size", "200"), "a step takes 400 documents, more than the 256 of the train split"),
        (("--epochs", "0.01"), "0.05 of 1 steps is 1 of warm-up"),
    ],
)
def test_no_run_is_planned_that_the_rows_at_hand_do_not_allow(
    finished: QwenTrainingPipeline, options: tuple[str, ...], problem: str
) -> None:
    told = call("plan", "--config", finished.run_folder / "config.yaml", *options, code=2)
    assert problem in told
    assert "next:" not in told


def test_what_a_config_gives_way_to_is_said_as_when_it_is_trained(tmp_path: Path) -> None:
    told = call("plan", "--config", "demo", "--epochs", "2", "--root", tmp_path)
    assert "training.max_steps 150" in told and "gives way to --epochs" in told
    config = tmp_path / "config.yaml"
    config.write_text("model: {name: tiny}\ndataset: {name: demo}\ntraining: {max_steps: 150}\n")
    [answer] = call_for_json("plan", "--config", config, "--epochs", "2", "--root", tmp_path)
    assert answer["model"] == "tiny"


def test_a_rate_that_is_no_number_is_refused(tmp_path: Path) -> None:
    options = ("--config", "demo", "--root", tmp_path, "--json", "--tokens-per-second")
    call("plan", *options, "inf", code=2)
    assert json.loads(call("plan", *options, "50000"))["rate"]["tokens_per_second"] == 50000
