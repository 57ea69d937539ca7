"""Where a run's numbers go: whether Weights & Biases is online is decided without asking anybody."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from qwenkit.cli.frame import command_frame

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


# ---- A service that is silent ----

TAKES_A_RUN = {
    "upsertBucket": {
        "bucket": {
            "id": "x",
            "name": "n",
            "displayName": "n",
            "config": "{}",
            "project": {"id": "p", "name": "p", "entity": {"id": "e", "name": "e"}},
            "historyLineCount": 0,
        },
        "inserted": True,
    }
}


class TakesARunAndFallsSilent(BaseHTTPRequestHandler):
    """Answers the mutation that opens a run, and nothing after it."""

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        released: threading.Event = self.server.released  # type: ignore[attr-defined]
        if b"UpsertBucket" not in body or self.server.has_run:  # type: ignore[attr-defined]
            released.wait()
            return
        self.server.has_run = True  # type: ignore[attr-defined]
        answer = json.dumps({"data": TAKES_A_RUN}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@contextmanager
def serve_a_silent_service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TakesARunAndFallsSilent)
    server.released, server.has_run = threading.Event(), False  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()


@contextmanager
def listen_without_an_answer() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


FOLLOW = """
import json, time
from pathlib import Path
from qwenkit import tracking
from qwenkit.cli.frame import command_frame
from qwenkit.config import Config
from qwenkit.stages import TRAIN, StagePlan
from qwenkit.steps import active_run

tracking.INIT_TIMEOUT_SECONDS = active_run.FINISH_TIMEOUT_SECONDS = 2
plan = StagePlan(TRAIN, Path("run/trained"), settings={}, inputs={}, identity={"dataset": "d"})
with command_frame() as console:
    with active_run.open_run(
        Path("run"), plan=plan, config=Config(), wandb_mode="online", console=console
    ) as tracker:
        started = time.perf_counter()
        for step in range(200):
            tracker.log({"loss": 1.0, "tokens_per_second": 5.0}, step=step)
        logged = time.perf_counter()
    print(json.dumps({"log": logged - started, "finish": time.perf_counter() - logged}))
"""


@pytest.mark.parametrize("service", [listen_without_an_answer, serve_a_silent_service])
def test_a_service_that_is_silent_delays_a_run_by_seconds_and_stops_nothing(home: Path, service) -> None:
    with service() as url:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "WANDB_API_KEY": SECRET,
            "WANDB_BASE_URL": url,
            "NO_COLOR": "1",
        }
        command = [sys.executable, "-c", FOLLOW]
        finished = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=120
        )
    assert finished.returncode == 0, finished.stderr
    assert len(finished.stderr.splitlines()) <= 1, finished.stderr
    seconds = json.loads(finished.stdout)
    # The limit is 2 s; the rest is the library's own process on a busy machine.
    assert seconds["log"] < 2 and seconds["finish"] < 15
    assert len((home / "run" / "metrics.jsonl").read_text().splitlines()) == 200
    # What `wandb sync` sends later.
    assert list(home.glob("run/wandb/*run-*/run-*.wandb"))
