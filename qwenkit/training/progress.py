"""What a person and the logs see of a run while it goes on: speed, loss, time left, results."""

import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from transformers import TrainerCallback

from qwenkit.console import Console, ProgressBar


class StepLogger(Protocol):
    """What the tracker must offer."""

    def log(self, record: Mapping[str, Any], *, step: int) -> None:
        """Record one logged step."""

    def restart_from(self, step: int) -> None:
        """Forget what was logged after the step that training resumes from."""


class TokenMeter:
    """Measures real tokens (no padding) a second of training; evaluation and saving do not count as time."""

    def __init__(self) -> None:
        self.last_step_tokens = 0
        self._tokens = 0
        self._paused_seconds = 0.0
        self._started = time.perf_counter()

    def count_step(self, tokens: int) -> None:
        """Add the tokens of one step, over all ranks."""
        self.last_step_tokens = tokens
        self._tokens += tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time that the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._paused_seconds += time.perf_counter() - started

    def restart(self) -> None:
        """Begin a new measurement."""
        self._tokens, self._paused_seconds, self._started = 0, 0.0, time.perf_counter()

    def read(self) -> float:
        """Return tokens a second since the last reading, and begin anew."""
        seconds = time.perf_counter() - self._started - self._paused_seconds
        rate = self._tokens / max(seconds, 1e-9)
        self.restart()
        return rate


def read_peak_memory_gib(device: torch.device) -> float:
    """Tell the most memory that tensors took on a GPU, or this process on a CPU, since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


class ProgressReporter(TrainerCallback):
    """Shows tokens a second, time left and the latest loss, and a line for each evaluation."""

    def __init__(self, console: Console, meter: TokenMeter, *, tokens_per_epoch: int) -> None:
        self._console = console
        self._meter = meter
        self._tokens_per_epoch = tokens_per_epoch
        self._context: AbstractContextManager[ProgressBar] | None = None
        self._bar: ProgressBar | None = None
        self._fields: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar over the tokens that are left."""
        self._meter.restart()
        if not state.is_world_process_zero:
            return
        steps_per_epoch = len(kwargs["train_dataloader"])
        tokens_left = self._tokens_per_epoch * (state.max_steps - state.global_step) / steps_per_epoch
        description = f"training from step {state.global_step}" if state.global_step else "training"
        self._context = self._console.progress(description, max(tokens_left, 1), "tokens")
        self._bar = self._context.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar by the step's tokens."""
        if self._bar is not None:
            self._bar.advance(
                self._meter.last_step_tokens, step=f"{state.global_step}/{state.max_steps}", **self._fields
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show the loss from now on."""
        if logs and "loss" in logs:
            self._fields = {"loss": float(logs["loss"])}

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Print one line: how good the model is after this step."""
        if not state.is_world_process_zero or not metrics or self._bar is None:
            return
        name = args.metric_for_best_model or "eval_loss"
        shown = dict.fromkeys(["eval_loss", name])
        figures = "  ".join(f"{key} {metrics[key]:.4f}" for key in shown if key in metrics)
        self._console.info(f"step {state.global_step}/{state.max_steps}  {figures}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.close()

    def close(self) -> None:
        """Close the bar whatever happened; safe to call twice."""
        if self._context is not None:
            self._context.__exit__(None, None, None)
        self._context = self._bar = None


class LogAtCheckpoints(TrainerCallback):
    """Logs at each evaluation and save as well, so that no logged mean spans a checkpoint.

    A resumed run begins its means at the checkpoint; with this an uninterrupted one does so too.
    """

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a log where there will be, or may be, a checkpoint."""
        if control.should_save or control.should_evaluate:
            control.should_log = True


class TrackerLogger(TrainerCallback):
    """Hands each log of the Trainer to the tracker, under the Trainer's own names."""

    def __init__(self, tracker: StepLogger) -> None:
        self._tracker = tracker

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Drop what a killed run had logged beyond the checkpoint that is resumed."""
        if state.is_world_process_zero:
            self._tracker.restart_from(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record one logged step."""
        if state.is_world_process_zero and logs:
            self._tracker.log(dict(logs), step=state.global_step)
