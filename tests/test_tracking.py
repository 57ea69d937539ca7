"""Where a run's numbers go: whether Weights & Biases is online is decided without asking anybody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwenkit.tracking import choose_wandb_mode

SECRET = "c0ffee" * 6 + "c0ff"
VARIABLES = ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without any login."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write_login(path: Path, host: str) -> Path:
    path.write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    path.chmod(0o600)
    return path


def test_without_a_key_runs_are_recorded_offline_and_nothing_is_said(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert choose_wandb_mode(None) == "offline"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("variable", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_a_key_in_the_environment_means_online(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "x")
    assert choose_wandb_mode(None) == "online"


def test_a_login_counts_for_its_own_server_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_login(home / ".netrc", "api.wandb.ai")
    assert choose_wandb_mode(None) == "online"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert choose_wandb_mode(None) == "offline"
    monkeypatch.setenv("NETRC", str(write_login(home / "logins", "wandb.example.org")))
    assert choose_wandb_mode(None) == "online"


def test_a_login_file_that_cannot_be_read_is_none(home: Path) -> None:
    (home / ".netrc").write_text("machine machine machine")
    assert choose_wandb_mode(None) == "offline"


@pytest.mark.parametrize(
    ("variable", "mode"),
    [("offline", "offline"), ("dryrun", "offline"), ("run", "online"), ("disabled", "disabled")],
)
def test_the_users_own_choice_stands(variable: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setenv("WANDB_MODE", variable)
    assert choose_wandb_mode(None) == mode
    assert choose_wandb_mode("online") == "online"


START = """
from pathlib import Path
from qwenkit import tracking
from qwenkit.cli.options import command_frame

tracking.INIT_TIMEOUT_SECONDS = 2
with command_frame() as console:
    run = tracking.start_wandb(
        folder=Path("run"), project="p", entity=None, name="n", tags=["t"], notes=None, mode="online",
        config={}, console=console,
    )
    run.log({"loss": 1.0}, step=1)
    run.finish()
"""


def test_a_service_that_cannot_be_reached_costs_one_line_and_the_run_goes_on_offline(home: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "WANDB_API_KEY": SECRET,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "NO_COLOR": "1",
    }
    finished = subprocess.run(
        [sys.executable, "-c", START], cwd=home, env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("warning: Weights & Biases cannot be reached (")
    assert line.endswith("); this run is recorded offline.")
    assert "\\u" not in line
    assert list((home / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert not [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
