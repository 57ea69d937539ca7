"""When training ends before its last step: patience ran out, someone asked, or the numbers broke down."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainerCallback

from qwenkit.errors import DivergedError, Interrupted
from qwenkit.ranks import find_ranks

MOST_ROWS_NAMED = 20


class EarlyStopping(EarlyStoppingCallback):
    """The library's early stopping, which on a resume also remembers that patience had already run out."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop before the first step if the run that is resumed was about to stop."""
        super().on_train_begin(args, state, control, **kwargs)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True


class EvaluationStopped(Exception):
    """A stop was requested between two batches of an evaluation."""


class StopRequest:
    """Remembers Ctrl-C or SIGTERM until the running step is complete; a second signal acts at once.

    Not so under a launcher: the ranks then hear of one request from it and from the system, and it kills by
    itself what does not stop in time.
    """

    def __init__(self) -> None:
        self.signal_number = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the two signals over; threads other than the main one cannot, and leave them alone."""
        self.signal_number = 0
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        self._previous = previous
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def check_between_batches(self, rows: int, tokens: int) -> None:
        """Leave a running evaluation; it may take longer than the time that SIGTERM leaves before SIGKILL.

        Raises:
            EvaluationStopped: A signal came.
        """
        if self.signal_number:
            raise EvaluationStopped

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_number = number
        if find_ranks().world_size > 1:
            return
        for each, handler in self._previous.items():
            signal.signal(each, handler)

    def is_heard_by_any(self) -> bool:
        """Tell whether a signal has reached any rank; all call this at the same step, to stop together.

        The number goes round between the processes alone, so that nobody waits for a GPU.
        """
        self.signal_number = find_ranks().find_highest(self.signal_number)
        return bool(self.signal_number)


class StopOnRequest(TrainerCallback):
    """Turns a stop request into a checkpoint at the end of the running step, and then into Interrupted.

    The library's own way saves in the middle of a step and leaves with exit code 0.
    """

    def __init__(self, request: StopRequest, *, run_folder: Path) -> None:
        self._request = request
        self._run_folder = run_folder

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint; logging too, so that the losses since the last log are not lost."""
        if self._request.is_heard_by_any():
            control.should_log = control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave, now that the checkpoint is in place."""
        if self._request.is_heard_by_any():
            raise_interrupted(self._request, self._run_folder, step=state.global_step)


def raise_interrupted(request: StopRequest, run_folder: Path, *, step: int) -> None:
    """Raise Interrupted with where the run stands and how it goes on."""
    name = signal.Signals(request.signal_number).name
    checkpoint = run_folder / f"checkpoint-{step}"
    # The last step of a run that stopped early need not have been saved.
    kept = f"{checkpoint} is complete" if checkpoint.is_dir() else "the newest checkpoint is complete"
    raise Interrupted(
        f"stopped by {name} after step {step}; {kept}. The same command goes on from there; to one with "
        "--force add --resume auto.",
        request.signal_number,
    )


@dataclass
class _StepNumbers:
    step: int
    losses: torch.Tensor
    row_ids: list[torch.Tensor]
    grad_norm: Any = None

    def is_finite(self) -> torch.Tensor:
        """Say it on the device, without waiting for it."""
        is_fine = torch.isfinite(self.losses).all()
        if self.grad_norm is None:
            return is_fine
        norm = torch.as_tensor(self.grad_norm, device=is_fine.device)
        # Of a model in shards it comes in shards too.
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        return is_fine & torch.isfinite(norm)


class DivergenceGuard(TrainerCallback):
    """Stops at the first loss or gradient that is not finite, before it can reach a checkpoint or a metric.

    On a GPU the numbers of the latest steps stay on the device and are read when the loop waits for it anyway
    (logging, evaluation, saving); on a CPU after each step.
    """

    def __init__(self, *, run_folder: Path) -> None:
        self._run_folder = run_folder
        self._pending: list[_StepNumbers] = []

    def record_losses(self, step: int, losses: torch.Tensor, row_ids: list[torch.Tensor]) -> None:
        """Keep the losses of a step's micro-batches, shape (micro-batches,), and the rows in each."""
        self._pending.append(_StepNumbers(step, losses, row_ids))

    def record_grad_norm(self, grad_norm: Any) -> None:
        """Keep the step's gradient norm; being that of all ranks, it shows what broke on any of them."""
        if self._pending:
            self._pending[-1].grad_norm = grad_norm

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check where waiting costs nothing."""
        if args.device.type == "cpu" or control.should_log or control.should_save or control.should_evaluate:
            self.check()

    def check(self) -> None:
        """Look at everything recorded since the last check.

        Raises:
            DivergedError: A loss or a gradient norm is not finite.
        """
        pending, self._pending = self._pending, []
        # One question for all steps: each would wait for the device anew.
        if not pending or bool(torch.stack([numbers.is_finite() for numbers in pending]).all()):
            return
        for numbers in pending:
            is_finite = torch.isfinite(numbers.losses)
            norm = float(numbers.grad_norm) if numbers.grad_norm is not None else 0.0
            is_norm_finite = norm - norm == 0.0
            if bool(is_finite.all()) and is_norm_finite:
                continue
            broken = [
                rows for rows, is_fine in zip(numbers.row_ids, is_finite.tolist(), strict=True) if not is_fine
            ]
            # The norm is that of all ranks, so all are here now, and each can name what broke on any of them.
            parts = [(broken, numbers.row_ids)]
            parts = parts if is_norm_finite else find_ranks().gather(parts[0])
            broken, row_ids = ([rows for part in parts for rows in part[place]] for place in (0, 1))
            self._raise(numbers.step, "loss" if broken else "gradient norm", broken or row_ids)

    def _raise(self, step: int, what: str, row_ids: list[torch.Tensor]) -> None:
        from qwenkit.training.checkpoints import find_resumable_checkpoint

        rows = torch.cat(row_ids).tolist()
        named = ", ".join(map(str, rows[:MOST_ROWS_NAMED])) + (", ..." if len(rows) > MOST_ROWS_NAMED else "")
        checkpoint = find_resumable_checkpoint(self._run_folder)
        last_good = (
            f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint was written yet"
        )
        raise DivergedError(
            f"training diverged: the {what} of step {step} is not finite, at row_id {named} "
            f"({len(rows)} documents); {last_good}. Lower training.learning_rate, or look at these rows, and "
            "train again."
        )
