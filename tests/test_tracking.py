"""Where a run's numbers go: whether Weights & Biases is online is decided without asking anybody."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from qwenkit.console import Console
from qwenkit.errors import ConfigError
from qwenkit.tracking import choose_wandb_mode, start_wandb
from tests.wandb_server import serve_wandb

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


def test_a_mode_that_the_service_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "off")
    with pytest.raises(ConfigError, match='WANDB_MODE is "off"; expected online, offline, disabled'):
        choose_wandb_mode(None)
    assert choose_wandb_mode("offline") == "offline"


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


def run_script(script: str, home: Path, address: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, logged in to the service at the address."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "WANDB_API_KEY": SECRET,
        "WANDB_BASE_URL": address,
        "NO_COLOR": "1",
    }
    finished = subprocess.run(
        [sys.executable, "-c", script], cwd=home, env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return finished


def test_a_service_that_cannot_be_reached_costs_one_line_and_the_run_goes_on_offline(home: Path) -> None:
    finished = run_script(START, home, "http://127.0.0.1:9")
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    assert line.startswith("warning: Weights & Biases cannot be reached (")
    assert line.endswith("); this run is recorded offline.")
    assert "\\u" not in line
    assert list((home / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert not [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


# ---- A service that is silent ----

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


@pytest.mark.parametrize("manner", ["silent", "stalling"])
def test_a_service_that_is_silent_delays_a_run_by_seconds_and_stops_nothing(home: Path, manner) -> None:
    with serve_wandb(manner) as address:
        finished = run_script(FOLLOW, home, address)
    assert len(finished.stderr.splitlines()) <= 1, finished.stderr
    seconds = json.loads(finished.stdout)
    # The limit is 2 s; the rest is the library's own process on a busy machine.
    assert seconds["log"] < 2 and seconds["finish"] < 15
    assert len((home / "run" / "metrics.jsonl").read_text().splitlines()) == 200
    # What `wandb sync` sends later.
    assert list(home.glob("run/wandb/*run-*/run-*.wandb"))


DISTURBED = """
import os, signal, threading, time
from pathlib import Path
import psutil, typer
from qwenkit.cli.frame import command_frame
from qwenkit.tracking import MetricsLog, Tracker, start_wandb

def disturb():
    time.sleep(1)
    if EVENT == "its process is killed":
        for helper in psutil.Process().children(recursive=True):
            helper.kill()
    else:
        os.kill(os.getpid(), signal.SIGTERM)

try:
    with command_frame() as console:
        run = start_wandb(
            folder=Path("run"), project="p", entity=None, name="n", tags=[], notes=None, mode="online",
            config={}, console=console, finish_timeout_seconds=30,
        )
        tracker = Tracker(MetricsLog(Path("run/metrics.jsonl")), console=console, wandb_run=run)
        tracker.log({"loss": 1.0}, step=1)
        threading.Thread(target=disturb).start()
        tracker.finish()
    print("went on")
except typer.Exit as end:
    print("left with", end.exit_code)
"""


@pytest.mark.parametrize(
    ("event", "end", "said"),
    [
        # As for lack of memory.
        (
            "its process is killed",
            "went on",
            "warning: Weights & Biases failed and is off for the rest of this run: ",
        ),
        ("SIGTERM comes", "left with 143", "error: terminated; "),
    ],
)
def test_what_happens_while_a_run_waits_for_the_service(home: Path, event: str, end: str, said: str) -> None:
    with serve_wandb("stalling") as address:
        finished = run_script(DISTURBED.replace("EVENT", repr(event)), home, address)
    assert finished.stdout.strip() == end
    assert finished.stderr.startswith(said)


def test_an_address_that_is_none_costs_one_line_that_names_it(home: Path) -> None:
    finished = run_script(FOLLOW, home, "nonsense")
    (line,) = finished.stderr.splitlines()
    assert line.startswith("warning: Weights & Biases is off for this run: base_url: Input should be a valid")
    assert len((home / "run" / "metrics.jsonl").read_text().splitlines()) == 200


# ---- A model to upload ----

UPLOAD = """
import json, sys, time
from pathlib import Path
from qwenkit.cli.frame import command_frame
from qwenkit.tracking import MetricsLog, Tracker, start_wandb

with command_frame() as console:
    run = start_wandb(
        folder=Path("run"), project="p", entity=None, name="my run", tags=[], notes=None, mode="online",
        config={}, console=console, finish_timeout_seconds=15,
    )
    tracker = Tracker(MetricsLog(Path("run/metrics.jsonl")), console=console, wandb_run=run)
    started = time.perf_counter()
    tracker.upload_model(Path("run/trained"), name="my run", timeout_seconds=LIMIT)
    uploaded = time.perf_counter()
    tracker.finish()
    seconds = {"upload": uploaded - started, "finish": time.perf_counter() - uploaded}
    Path("seconds.json").write_text(json.dumps(seconds))
"""
MODEL = b"weights" * 100


@pytest.fixture
def trained(home: Path) -> Path:
    folder = home / "run" / "trained"
    folder.mkdir(parents=True)
    (folder / "adapter.safetensors").write_bytes(MODEL)
    return folder


def test_a_model_is_uploaded_as_it_lies_under_a_name_that_the_service_allows(
    home: Path, trained: Path
) -> None:
    uploads: dict[str, bytes] = {}
    with serve_wandb("taking", uploads=uploads) as address:
        finished = run_script(UPLOAD.replace("LIMIT", "60"), home, address)
    assert finished.stderr == ""
    assert finished.stdout.strip() == "Weights & Biases: uploading the model as my-run"
    assert uploads["/artifact/adapter.safetensors"] == MODEL
    assert "adapter.safetensors" in json.loads(uploads["/artifact/manifest"])["contents"]
    assert not [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_an_upload_that_stands_still_is_given_up_after_its_limit_and_leaves_no_process(
    home: Path, trained: Path
) -> None:
    with serve_wandb("without artifacts") as address:
        finished = run_script(UPLOAD.replace("LIMIT", "8"), home, address)
        # Its helpers see by themselves that it is gone.
        helpers = [process for process in psutil.process_iter() if _home_of(process) == str(home)]
        _, left = psutil.wait_procs(helpers, timeout=20)
    (line,) = finished.stderr.splitlines()
    assert line == (
        "warning: Weights & Biases: the model was not uploaded (not done after 8 s); this does it: "
        f"wandb artifact put --type model --name e/p/my-run {trained}"
    )
    seconds = json.loads((home / "seconds.json").read_text())
    # Without the limit it would never end; the rest is the library's own process on a busy machine.
    assert 8 <= seconds["upload"] < 15 and seconds["finish"] < 15
    assert left == []


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except psutil.Error:
        return None


def test_what_the_service_refuses_is_told_with_the_command_to_type(home: Path, trained: Path) -> None:
    with serve_wandb("refusing artifacts") as address:
        finished = run_script(UPLOAD.replace("LIMIT", "60"), home, address)
    (line,) = finished.stderr.splitlines()
    assert line.startswith("warning: Weights & Biases: the model was not uploaded (")
    assert line.endswith(f"); this does it: wandb artifact put --type model --name e/p/my-run {trained}")


def test_offline_the_model_waits_with_the_run(home: Path, trained: Path) -> None:
    finished = run_script(
        UPLOAD.replace('"online"', '"offline"').replace("LIMIT", "1"), home, "http://127.0.0.1:9"
    )
    assert (finished.stdout, finished.stderr) == ("", "")
    (record,) = home.glob("run/wandb/offline-run-*/*.wandb")
    assert b"adapter.safetensors" in record.read_bytes()


def test_a_tag_too_long_for_the_service_is_cut(home: Path) -> None:
    """As that of a data set with a long name."""
    options = {"project": "p", "entity": None, "notes": None, "config": {}, "console": Console(quiet=True)}
    tag = "dataset-" + "long" * 20
    run = start_wandb(folder=home, name="n", tags=[tag, ""], mode="offline", **options)
    assert run.tags == (tag[:64],)
    run.finish()


def test_a_run_that_cannot_even_be_recorded_is_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"entity": None, "tags": [], "notes": None, "config": {}, "console": Console()}
    assert start_wandb(folder=home, project="a/b", name="n", mode="offline", **options) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: Weights & Biases is off for this run: Invalid project name")
