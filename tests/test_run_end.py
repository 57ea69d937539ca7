"""How a run ended, as Weights & Biases is told."""

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

END = """
import sys
from contextlib import ExitStack
from pathlib import Path
from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.stages import TRAIN, StagePlan
from qwenkit.steps.active_run import open_run

plan = StagePlan(TRAIN, Path("run/trained"), settings={}, inputs={}, identity={"dataset": "d"})
resources = ExitStack()
tracker = resources.enter_context(
    open_run(Path("run"), plan=plan, config=Config(), wandb_mode="offline", console=Console(quiet=True))
)
try:
    tracker.log({"loss": 1.0}, step=1)
    if sys.argv[1] == "fails":
        sys.exit(6)
finally:
    resources.close()
"""


def read_record(path: Path, kind: str) -> Any:
    """Find a record in an offline run; they are checksum (4 bytes), length, kind of piece and content."""
    from wandb.proto import wandb_internal_pb2

    content, at = path.read_bytes(), len(b":W&B") + 3
    while at < len(content):
        length, _ = struct.unpack_from("<HB", content, at + 4)
        record = wandb_internal_pb2.Record.FromString(content[at + 7 : at + 7 + length])
        if record.WhichOneof("record_type") == kind:
            return getattr(record, kind)
        at += 7 + length
    raise AssertionError(f"the run has no {kind}")


@pytest.mark.parametrize(("end", "exit_code"), [("is done", 0), ("fails", 1)])
def test_a_run_has_its_group_and_one_that_failed_is_told_from_one_that_finished(
    tmp_path: Path, end: str, exit_code: int
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", END, end], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 6 * exit_code
    (path,) = tmp_path.glob("run/wandb/offline-run-*/*.wandb")
    assert read_record(path, "exit").exit_code == exit_code
    # The group that its evaluations join, and what goes on after an interruption.
    run = read_record(path, "run")
    assert (run.run_group, run.job_type) == ("run", "train")
