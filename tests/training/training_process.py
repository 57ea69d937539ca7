"""Trains in a process of its own, alone or as one rank of torchrun: `training_process.py JOB.json`.

The job names the base, the run folder, the number of rows and the training settings; `pause_seconds` makes
steps slow enough to be hit by a signal, `stop_after` sends one from inside, `poisoned_row` makes that row's
loss NaN, `full` trains all weights, `write_seconds` makes a checkpoint slow, `exchange_seconds` limits the
exchanges between ranks, `lacks_memory` is the rank, step and micro-batch where memory is short once. What was
logged goes to `result`, with the micro-batches of each step and rank: those with documents, and all.
"""

import json
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback

from qwenkit.errors import DivergedError, Interrupted
from qwenkit.modeling.sharding import is_sharded
from qwenkit.ranks import find_ranks
from qwenkit.training.checkpoints import find_resumable_checkpoint
from qwenkit.training.trainer import QwenTrainer
from tests.sharding_on_cpu import offer_fsdp_on_cpu
from tests.training.tiny_training import (
    build_tiny_trainer,
    load_base,
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


class CountingTrainer(QwenTrainer):
    """Remembers how many micro-batches of each step had documents, and how many there were."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.micro_batches: list[tuple[int, int]] = []

    lacks_memory: list[int] | None = None

    def _run_micro_batch(self, *args: Any) -> torch.Tensor:
        self.runs += 1
        if [find_ranks().rank, self.state.global_step + 1, self.runs] == self.lacks_memory:
            self.lacks_memory = None
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super()._run_micro_batch(*args)

    def _cut_share(self, lengths: list[int]) -> list[slice]:
        self.runs = 0
        cuts = super()._cut_share(lengths)
        self.micro_batches.append((sum(cut.stop > cut.start for cut in cuts), len(cuts)))
        return cuts


def load_model(job: dict[str, Any]) -> Any:
    base_folder = Path(job["base_folder"])
    if job.get("full"):
        return load_base(base_folder).requires_grad_(True)
    return load_lora(base_folder, dropout=job.get("dropout", 0.0))


def train(job: dict[str, Any]) -> int:
    """Train once; returns the exit code."""
    run_folder = Path(job["run_folder"])
    if "exchange_seconds" in job:
        PartialState(cpu=True, timeout=timedelta(seconds=job["exchange_seconds"]))
    model, rows = load_model(job), make_rows(job["rows"])
    if "poisoned_row" in job:
        poison(model)
        rows = poison_row(rows, job["poisoned_row"])
    trainer = build_tiny_trainer(
        Path(job["base_folder"]),
        run_folder,
        model=model,
        trainer_class=CountingTrainer,
        config=make_config(**job["training"]),
        train_dataset=rows,
        callbacks=[Pace(job)],
        write_extra=lambda folder: time.sleep(job.get("write_seconds", 0.0)),
    )
    trainer.lacks_memory = job.get("lacks_memory")
    trainer.args.eval_on_start = job.get("eval_on_start", False)
    exit_code, message = 0, ""
    try:
        trainer.train(find_resumable_checkpoint(run_folder) if job.get("resume") else None)
    except (DivergedError, Interrupted) as stop:
        exit_code, message = stop.exit_code, str(stop)
    micro_batches = find_ranks().gather(trainer.micro_batches)
    trainer.save_model(str(run_folder / "in_the_end"))
    if trainer.is_world_process_zero():
        result = {
            "exit_code": exit_code,
            "message": message,
            "log": trainer.state.log_history,
            "world_size": trainer.args.world_size,
            "sharded": [type(module).__name__ for module in trainer.model.modules() if is_sharded(module)],
            "micro_batches": micro_batches,
        }
        Path(job["result"]).write_text(json.dumps(result), encoding="utf-8")
    return exit_code


if __name__ == "__main__":
    offer_fsdp_on_cpu()
    jobs = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    codes = [train(job) for job in jobs]
    sys.exit(codes[-1])
