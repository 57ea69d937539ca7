"""Trains in a process of its own, alone or as one rank of torchrun: `training_process.py JOB.json`.

The job names the base, the run folder, the number of rows and the training settings; `pause_seconds` makes
steps slow enough to be hit by a signal, `stop_after` sends one from inside, `poisoned_row` makes that row's
loss NaN. What was logged goes to `result`.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from qwenkit.errors import DivergedError, Interrupted
from qwenkit.training.checkpoints import find_resumable_checkpoint
from tests.training.tiny_training import (
    build_tiny_trainer,
    load_lora,
    make_config,
    make_rows,
    poison,
    poison_row,
)


class Pace(TrainerCallback):
    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        time.sleep(self.job.get("pause_seconds", 0.0))
        if state.global_step + 1 == self.job.get("stop_after"):
            signal.raise_signal(signal.SIGTERM)


def train(job: dict[str, Any]) -> int:
    """Train once; returns the exit code."""
    run_folder = Path(job["run_folder"])
    base_folder = Path(job["base_folder"])
    model, rows = load_lora(base_folder, dropout=job.get("dropout", 0.0)), make_rows(job["rows"])
    if "poisoned_row" in job:
        poison(model)
        rows = poison_row(rows, job["poisoned_row"])
    trainer = build_tiny_trainer(
        base_folder,
        run_folder,
        model=model,
        config=make_config(**job["training"]),
        train_dataset=rows,
        callbacks=[Pace(job)],
    )
    exit_code, message = 0, ""
    try:
        trainer.train(find_resumable_checkpoint(run_folder) if job.get("resume") else None)
    except (DivergedError, Interrupted) as stop:
        exit_code, message = stop.exit_code, str(stop)
    if trainer.is_world_process_zero():
        result = {
            "exit_code": exit_code,
            "message": message,
            "log": trainer.state.log_history,
            "world_size": trainer.args.world_size,
        }
        Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    return exit_code


if __name__ == "__main__":
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    codes = [train(job) for job in jobs]
    sys.exit(codes[-1])
