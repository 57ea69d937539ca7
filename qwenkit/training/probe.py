"""training.micro_batch_tokens: auto, the largest micro-batch that fits, found by trying before step one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from qwenkit.errors import ResourceError
from qwenkit.exhaustion import is_out_of_memory
from qwenkit.modeling.memory import OPTIMIZER_BYTES
from qwenkit.modeling.predictor import round_up
from qwenkit.tokens.tokenized import read_numbers
from qwenkit.training.micro_batches import CURE, RandomState, free_cached_memory
from qwenkit.training.schedule import CPU_MICRO_BATCH_TOKENS, FREE_MEMORY_SHARE


def settle_micro_batches(trainer: Any, model: Any) -> None:
    """Settle what "auto" means on this device, unless a checkpoint has brought what fitted before.

    Weights, gradients and random numbers are afterwards as they were.
    """
    plan = trainer.plan
    if not plan.probes_micro_batches:
        return
    if trainer.args.device.type == "cpu":
        tokens, reason = max(CPU_MICRO_BATCH_TOKENS, find_width(trainer)), "what a CPU gets"
    else:
        tokens, reason = probe_micro_batch_tokens(trainer, model), "the largest that fits"
    trainer.plan = replace(plan, micro_batch_tokens=tokens, probes_micro_batches=False)
    plan.console.info(f"micro-batches of at most {tokens:,} tokens: {reason} (training.micro_batch_tokens)")


def probe_micro_batch_tokens(trainer: Any, model: Any) -> int:
    """Run forward and backward on ever more documents of the greatest length, until memory is short.

    Returns:
        A token budget, padding included; of several ranks the least.

    Raises:
        ResourceError: Not even one document fits.
    """
    width, device = find_width(trainer), trainer.args.device
    random_state = RandomState.capture(device)
    limit = _find_limit(trainer)
    try:
        documents = find_largest(
            lambda count: _fits(trainer, model, documents=count, width=width, limit=limit),
            most=trainer.args.per_device_train_batch_size,
        )
    finally:
        model.zero_grad()
        free_cached_memory(device)
        random_state.restore(device)
        if limit is not None:
            # What was tried is no part of what training is said to have taken.
            torch.cuda.reset_peak_memory_stats(device)
    documents = int(trainer.accelerator.gather(torch.tensor([documents], device=device)).min())
    if documents == 0:
        raise ResourceError(f"out of memory: not even one document of {width} tokens fits: {CURE}.")
    return documents * width


def find_largest(fits: Callable[[int], bool], *, most: int) -> int:
    """Find about the largest number that fits: double from 2 on, then halve the gap down to an eighth.

    One is a size of its own to a compiler, so it is tried only where two do not fit.

    Returns:
        A number that fitted, at most `most`; 0 where not even 1 did.
    """
    good, bad = 0, most + 1
    while good < most and bad - good > max(1, good // 8):
        middle = (good + bad) // 2 if bad <= most else min(max(2, 2 * good), most)
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


def find_width(trainer: Any) -> int:
    """Give the padded length of the longest training document."""
    longest = int(read_numbers(trainer.train_dataset, "length").max())
    return round_up(longest, trainer.plan.pad_to_multiple_of)


def _fits(trainer: Any, model: Any, *, documents: int, width: int, limit: int | None) -> bool:
    """Try it once; the peak must stay under the limit."""
    device = trainer.args.device
    free_cached_memory(device)
    if limit is not None:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        _run(trainer, model, documents=documents, width=width)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        model.zero_grad()
    return limit is None or torch.cuda.max_memory_allocated(device) <= limit


def _run(trainer: Any, model: Any, *, documents: int, width: int) -> None:
    any_token = int(trainer.plan.pad_token_id == 0)
    step = {
        "input_ids": torch.full((documents * width,), any_token),
        "lengths": torch.full((documents,), width),
        "labels": torch.zeros(documents, dtype=torch.long),
    }
    model.train()
    # The ranks try alone, so none may wait for another's gradients.
    with trainer.accelerator.no_sync(model):
        trainer._run_micro_batches(
            model, step, [width] * documents, [slice(0, documents)], torch.tensor(float(documents)), []
        )


def _find_limit(trainer: Any) -> int | None:
    """Count the bytes that tensors may take: what is free or ours, less a margin and the coming optimizer."""
    device = trainer.args.device
    if device.type != "cuda":
        return None
    free_cached_memory(device)
    free, _ = torch.cuda.mem_get_info(device)
    available = free + torch.cuda.memory_allocated(device)
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    to_come = (
        0 if trainer.optimizer.state else trained * OPTIMIZER_BYTES.get(str(trainer.args.optim.value), 8)
    )
    return int(available * (1 - FREE_MEMORY_SHARE)) - to_come
