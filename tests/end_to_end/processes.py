"""Commands in a process of their own, as a user has it: with a home, an empty hub cache and no keys."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("command_worker.py")
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """What a command left with and printed; `trace` is there only for what is no exit."""

    code: int
    out: str
    err: str
    trace: str = ""
    seconds: float = 0.0

    @property
    def told(self) -> str:
        """Everything, for the message of an assertion."""
        return f"exit {self.code}\n{self.out}\n{self.err}\n{self.trace}"


def make_environment(home: Path, *, endpoint: str = "http://127.0.0.1:9", **more: str) -> dict[str, str]:
    """Give the whole environment of a user without accounts; without an endpoint there is no hub."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(REPOSITORY),
        **more,
    }


class CommandProcess:
    """A living process that runs commands in `folder`, one after the other, without importing anew."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stderr = (folder.parent / f"{folder.name}.stderr").open("w+")
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
        )

    def call(self, command: str | list[str]) -> Outcome:
        """Run a command, written as in a shell (a leading `qwenkit` is dropped) or as words."""
        words = shlex.split(command) if isinstance(command, str) else list(command)
        return self._ask({"words": words[1:] if words[0] == "qwenkit" else words})

    def execute(self, code: str) -> Outcome:
        """Run a Python script."""
        return self._ask({"python": code})

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(timeout=TIMEOUT_SECONDS)
        self._process.stdout.close()
        self._stderr.close()

    def _ask(self, request: dict[str, Any]) -> Outcome:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._stderr.seek(0)
            raise AssertionError(f"the process died of {request}:\n{self._stderr.read()[-4000:]}")
        return Outcome(**json.loads(line))


def run_alone(folder: Path, *words: object, environment: Mapping[str, str], **options: Any) -> Outcome:
    """Run one command in a fresh process, to its end: exactly what a user would see."""
    finished = subprocess.run(
        [sys.executable, "-m", "qwenkit", *map(str, words)],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        **options,
    )
    return Outcome(finished.returncode, finished.stdout, finished.stderr)
