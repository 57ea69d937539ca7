"""How many steps there are, and after how many there is a log, an evaluation, a checkpoint: plain numbers."""

import math
from typing import TYPE_CHECKING

from qwenkit.errors import ConfigError

if TYPE_CHECKING:
    from qwenkit.config import Config

EVALUATIONS_PER_EPOCH = 10
# What training.micro_batch_tokens: auto takes on a CPU, which has no limit that could be tried: the system
# ends a process that takes too much. Larger micro-batches gain nothing there either.
CPU_MICRO_BATCH_TOKENS = 4096
# The share of a GPU's memory that auto leaves free: for pieces that do not fit together, and other shapes.
FREE_MEMORY_SHARE = 0.1


def documents_per_step(config: "Config") -> int:
    """Count the documents of one optimizer step (32 x 8 = 256 by default), on however many ranks they are."""
    return config.training.per_device_train_batch_size * config.training.gradient_accumulation_steps


def count_steps(train_rows: int, documents_per_step: int) -> int:
    """Count the optimizer steps of one epoch; the last one may have fewer documents."""
    return max(1, math.ceil(train_rows / documents_per_step))


def choose_logging_steps(steps_per_epoch: int) -> int:
    """Choose how often to log: each step of a short epoch, about twenty times in a longer one."""
    if steps_per_epoch < 10:
        return 1
    if steps_per_epoch < 50:
        return max(1, steps_per_epoch // 20)
    return min(200, max(5, steps_per_epoch // 20))


def choose_eval_and_save_steps(
    steps_per_epoch: int, *, eval_steps: int | None, save_steps: int | None
) -> tuple[int, int]:
    """Fill in the intervals that the config leaves open: ten evaluations an epoch, a checkpoint at each.

    Where only save_steps is set, evaluation takes that of its divisors which is nearest to ten an epoch, but
    at most twenty: a prime number would have each step evaluated.

    Raises:
        ConfigError: A checkpoint would fall between two evaluations, so the best weights could not be kept.
    """
    usual = max(1, steps_per_epoch // EVALUATIONS_PER_EPOCH)
    if eval_steps is None and save_steps is not None:
        least = min(save_steps, math.ceil(usual / 2))
        divisors = (step for step in range(least, save_steps + 1) if save_steps % step == 0)
        eval_steps = min(divisors, key=lambda step: max(step / usual, usual / step))
    chosen_eval = eval_steps or usual
    chosen_save = save_steps or chosen_eval
    if chosen_save % chosen_eval:
        raise ConfigError(
            f"training.save_steps ({chosen_save}) is not a multiple of training.eval_steps ({chosen_eval}), "
            f"so the best checkpoint could not be kept. Set save_steps to {chosen_eval} or a multiple of it."
        )
    return chosen_eval, chosen_save
