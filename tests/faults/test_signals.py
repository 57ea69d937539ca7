"""Ctrl-C and SIGTERM in a real process: the right exit code, one line, and the same command goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qwenkit.artifacts import verify
from tests.conftest import TINY_SETTINGS
from tests.end_to_end.processes import TIMEOUT_SECONDS, make_environment, run_alone

CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
SETTINGS = [part for setting in TINY_SETTINGS for part in ("--set", setting)]
TRACKED = ("--set", "wandb.enabled=true")
STEPS = 16

pytestmark = pytest.mark.slow


def interrupt(
    folder: Path,
    *words: object,
    number: signal.Signals,
    when: Callable[[], bool],
    module: str = "qwenkit",
) -> tuple[int, str]:
    """Start a command, send it a signal once `when` holds, and give its exit code and what it said."""
    with (folder / "told").open("w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *map(str, words)],
            cwd=folder,
            env=make_environment(folder, PYTHONUNBUFFERED="1"),
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not when():
            assert process.poll() is None, (folder / "told").read_text()
            assert time.monotonic() < deadline, (folder / "told").read_text()
            time.sleep(0.01)
        # A terminal sends Ctrl-C to the whole group: to the service that W&B starts, too.
        os.killpg(process.pid, number)
        code = process.wait(timeout=TIMEOUT_SECONDS)
    return code, (folder / "told").read_text()


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_in_training_leaves_a_checkpoint_that_the_same_command_goes_on_from(
    tmp_path: Path, toy_csv: Path, number: signal.Signals, code: int
) -> None:
    log = tmp_path / "output/tiny-toy/metrics.jsonl"
    options = (*SETTINGS, "--max-steps", STEPS, "--set", "early_stopping.enabled=false", *TRACKED)
    command = ("train", "--dataset", toy_csv, *options)
    found, told = interrupt(
        tmp_path,
        *command,
        number=number,
        when=lambda: log.is_file() and '"step": 3' in log.read_text(),
        module="tests.waiting_run",
    )
    assert found == code, told
    assert f"error: stopped by {number.name} after step" in told
    assert "Traceback" not in told
    assert not (log.parent / "trained").exists()
    again = run_alone(tmp_path, *command, environment=make_environment(tmp_path))
    assert again.code == 0, again.told
    assert "going on from output/tiny-toy/checkpoint-" in again.out
    verify(log.parent / "trained", deep=True)
    steps = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["step"] for record in steps if "loss" in record] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("number", "code"), CODES)
def test_a_signal_between_stages_leaves_nothing_half_made(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Making the demo's rows takes seconds, in which nothing is written yet."""
    found, told = interrupt(
        tmp_path,
        *("prepare", "--dataset", "demo"),
        number=number,
        when=lambda: "prepare  demo" in (tmp_path / "told").read_text(),
    )
    assert found == code, told
    assert "the same command goes on from what is finished." in told
    assert "Traceback" not in told
    assert not [path for path in tmp_path.glob("output/**/*") if path.is_file()]
