"""What a command prints is ours alone, and what lies in the environment stays there.

With --quiet a command that goes well prints nothing at all, so whatever appears comes from a library.
"""

import os
from pathlib import Path

import pytest

from tests.end_to_end.processes import make_environment, run_alone
from tests.hub.hub_server import GOOD_TOKEN, LocalHub

SHORT = ("--set", "training.max_steps=2", "--set", "training.dataloader_num_workers=0")
SECRETS = {"WANDB_API_KEY": "c0ffee" * 6 + "c0ff", "HF_TOKEN": GOOD_TOKEN}


def find_files_with(folder: Path, secret: str) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.slow
def test_a_quiet_run_prints_nothing_tracks_offline_and_writes_no_secret(
    hub: LocalHub, tmp_path: Path
) -> None:
    environment = make_environment(tmp_path, endpoint=hub.endpoint, WANDB_MODE="offline", **SECRETS)
    # The rows of the test hub give their class away, and a warning is shown even then.
    settings = (*SHORT, "--set", "dataset.audit=false")
    outcome = run_alone(tmp_path, "run", "--dataset", "10k", *settings, "--quiet", environment=environment)
    assert outcome.code == 0, outcome.told
    assert (outcome.out, outcome.err) == ("", "")
    run = tmp_path / "output" / "qwen3-0.6b-10k"
    assert list((run / "wandb").glob("offline-run-*/*.wandb"))
    for secret in SECRETS.values():
        assert find_files_with(tmp_path, secret) == []


@pytest.mark.slow
def test_a_quiet_demo_prints_nothing(tmp_path: Path) -> None:
    environment = make_environment(tmp_path)
    outcome = run_alone(tmp_path, "demo", *SHORT, "--quiet", environment=environment)
    assert outcome.code == 0, outcome.told
    assert (outcome.out, outcome.err) == ("", "")


def test_help_needs_no_folder_and_writes_none(tmp_path: Path) -> None:
    outcome = run_alone(tmp_path, "--help", environment=make_environment(tmp_path))
    assert outcome.code == 0
    assert outcome.err == ""
    assert os.listdir(tmp_path) == []
