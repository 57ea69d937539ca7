"""The rehearsal: what would fail in the third hour of a long run is tried in its first minute.

One step on the longest documents, one evaluation batch, one checkpoint written and read back, the disk held
against the checkpoints to come. Afterwards weights, optimizer, schedule and random numbers are as they were.
"""

import copy
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from qwenkit.artifacts import verify
from qwenkit.errors import ArtifactError, ResourceError
from qwenkit.modeling.predictor import round_up
from qwenkit.modeling.sharding import list_trained
from qwenkit.tokens.tokenized import read_numbers
from qwenkit.training.checkpoints import list_checkpoints, stage_checkpoint, write_checkpoint
from qwenkit.training.micro_batches import free_cached_memory
from qwenkit.training.steps import StepDocuments, collate_step
from qwenkit.training.validation import predict_dataset

# A rehearsal takes about as long as two steps, so with these it is at most a few hundredths of the run.
LONG_RUN_STEPS = 50
FOLDER_NAME = "rehearsal"


def is_rehearsal_due(wanted: bool | Literal["auto"], *, steps_left: int) -> bool:
    """Decide whether to rehearse; auto does so before long runs."""
    return steps_left >= LONG_RUN_STEPS if wanted == "auto" else wanted and steps_left > 0


def rehearse(trainer: Any, model: Any) -> None:
    """Try everything that the run will do, and leave no trace.

    Args:
        trainer: A QwenTrainer whose optimizer and schedule are made.
        model: As the engine has wrapped it.

    Raises:
        ResourceError: Memory does not hold one document, or the disk not the checkpoints to come.
        DivergedError: The loss of the longest documents is not finite.
        ArtifactError: A checkpoint reads back other than it was written.
    """
    console = trainer.plan.console
    started = time.perf_counter()
    with keep_state(trainer, model), trainer.meter.paused():
        documents, longest = _rehearse_step(trainer, model)
        rows = _rehearse_evaluation(trainer)
        checkpoint_bytes = _rehearse_checkpoint(trainer)
    count, free = count_checkpoints_to_come(trainer), shutil.disk_usage(trainer.run_folder).free
    check_disk(count, checkpoint_bytes=checkpoint_bytes, free_bytes=free, folder=trainer.run_folder)
    console.info(
        f"rehearsed in {time.perf_counter() - started:.1f} s: a step on the {documents} longest documents "
        f"(up to {longest} tokens), {rows} documents scored, a checkpoint of {_show_bytes(checkpoint_bytes)} "
        f"written and read back; {_show_bytes(free)} are free for {count} of them"
    )


@contextmanager
def keep_state(trainer: Any, model: Any) -> Iterator[None]:
    """Set back, to the last bit, all that the steps to come depend on."""
    weights = _copy_to_host(dict(list_trained(trainer.model)))
    optimizer = _copy_to_host(trainer.optimizer.state_dict())
    schedule = copy.deepcopy(trainer.lr_scheduler.state_dict())
    callbacks, was_training = trainer.state.stateful_callbacks, model.training
    try:
        with _keep_random_state(trainer.args.device):
            yield
    finally:
        for name, part in list_trained(trainer.model):
            part.copy_(weights[name])
        model.zero_grad()
        trainer.optimizer.load_state_dict(optimizer)
        trainer.lr_scheduler.load_state_dict(schedule)
        trainer.state.stateful_callbacks = callbacks
        model.train(was_training)
        free_cached_memory(trainer.args.device)


def remove_rehearsal(run_folder: Path) -> None:
    """Delete the checkpoint of a rehearsal, whole or not, that a killed process may have left too."""
    for leftover in (run_folder / FOLDER_NAME, *run_folder.glob(f".{FOLDER_NAME}.staging-*")):
        shutil.rmtree(leftover, ignore_errors=True)
    (run_folder / f".{FOLDER_NAME}.lock").unlink(missing_ok=True)


def count_checkpoints_to_come(trainer: Any) -> int:
    """Count how many more checkpoints will lie on disk at once: those kept, and the one being written."""
    arguments, limit = trainer.args, trainer.plan.save_total_limit
    steps_left = trainer.state.max_steps - trainer.state.global_step
    # Each evaluation may find a new best, which is saved.
    interval = arguments.eval_steps if arguments.load_best_model_at_end else arguments.save_steps
    planned = math.ceil(steps_left / interval)
    if limit is None:
        return planned
    # The best and the newest always stay, so a limit of 1 may hold 2.
    room = max(2, limit) + 1 - len(list_checkpoints(trainer.run_folder))
    # One is written before those over the limit are deleted.
    return min(planned, max(1, room))


def check_disk(count: int, *, checkpoint_bytes: int, free_bytes: int, folder: Path) -> None:
    """Hold the checkpoints to come, and the trained model of about that size, against the free disk.

    Raises:
        ResourceError: They do not fit.
    """
    needed = (count + 1) * checkpoint_bytes
    if needed <= free_bytes:
        return
    raise ResourceError(
        f"{count} checkpoints of {_show_bytes(checkpoint_bytes)} and the trained model need "
        f"{_show_bytes(needed)} in {folder}, where {_show_bytes(free_bytes)} are free: free some, keep fewer "
        "(training.save_total_limit), or choose another disk with --root."
    )


def _rehearse_step(trainer: Any, model: Any) -> tuple[int, int]:
    """Run a whole step on the longest documents; returns how many, and the length of the longest."""
    lengths = read_numbers(trainer.train_dataset, "length")
    size = math.ceil(trainer.args.per_device_train_batch_size / trainer.args.world_size)
    rows = np.argsort(-lengths, kind="stable")[:size]
    inputs = collate_step(StepDocuments(trainer.train_dataset).__getitems__(rows.tolist()))
    divisor = torch.tensor(float(len(rows) * trainer.args.world_size))
    trainer.training_step(model, inputs, divisor.to(trainer.args.device))
    limit = trainer.args.max_grad_norm or math.inf
    trainer._get_grad_norm(model, grad_norm=trainer.accelerator.clip_grad_norm_(model.parameters(), limit))
    trainer._divergence.check()
    trainer.optimizer.step()
    return len(rows), int(lengths[rows[0]])


def _rehearse_evaluation(trainer: Any) -> int:
    """Score one batch of the longest validation documents; returns how many there were."""
    if trainer.eval_dataset is None:
        return 0
    lengths = read_numbers(trainer.eval_dataset, "length")
    width = round_up(int(lengths.max()), trainer.plan.pad_to_multiple_of)
    size = max(1, trainer.plan.eval_batch_tokens // width) * trainer.args.world_size
    rows = np.argsort(-lengths, kind="stable")[:size]
    predict_dataset(trainer.model, trainer.eval_dataset.select(rows), trainer.plan, trainer.args)
    return len(rows)


def _rehearse_checkpoint(trainer: Any) -> int:
    """Write a checkpoint, load it as a resume would, and delete it; returns its bytes."""
    folder = trainer.run_folder / FOLDER_NAME
    written = _copy_to_host(dict(list_trained(trainer.model)))
    arguments = trainer.args
    with stage_checkpoint(
        folder,
        record=trainer.plan.record,
        seed=arguments.seed,
        counts={"step": trainer.state.global_step},
        is_main=arguments.should_save,
        world_size=arguments.world_size,
    ) as staging:
        write_checkpoint(trainer, staging, write_extra=trainer.plan.write_extra)
    try:
        size = sum(output.bytes for output in verify(folder, deep=True).outputs)
        trainer._load_from_checkpoint(str(folder))
        trainer._load_optimizer_and_scheduler(str(folder))
        trainer.accelerator.wait_for_everyone()
    finally:
        if arguments.should_save:
            remove_rehearsal(trainer.run_folder)
    changed = [
        name for name, part in list_trained(trainer.model) if not torch.equal(part.cpu(), written[name])
    ]
    if changed:
        raise ArtifactError(
            f"a checkpoint in {trainer.run_folder} reads back other than it was written, e.g. {changed[0]}: "
            "check the disk."
        )
    return size


@contextmanager
def _keep_random_state(device: torch.device) -> Iterator[None]:
    """Set back the generators of torch, numpy and Python."""
    import random

    numpy_state, python_state = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def _copy_to_host(value: Any) -> Any:
    """Copy weights or an optimizer's state, to the host's memory: a second one may not fit on the device."""
    if type(value) is not torch.Tensor and isinstance(value, torch.Tensor):
        # A sharded one belongs to a mesh of devices and stays there; it is small by being sharded.
        return value.detach().clone()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _copy_to_host(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copy_to_host(each) for each in value]
    return copy.deepcopy(value)


def _show_bytes(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
