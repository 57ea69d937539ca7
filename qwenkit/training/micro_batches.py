"""How large a micro-batch may be: halved where the memory is too small, kept for a resumed run.

The step stays what it is: the same documents, weighed by the same divisor, only cut finer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from qwenkit.errors import ResourceError
from qwenkit.modeling.predictor import round_up
from qwenkit.training.plan import TrainingPlan
from qwenkit.training.steps import cut_step

CURE = (
    "set training.gradient_checkpointing=true, hold the base in fewer bits (--quantization nf4), lower "
    "tokenization.max_length, or free memory on the device"
)


def halve_micro_batches(plan: TrainingPlan, lengths: Sequence[int]) -> TrainingPlan:
    """Cut a step's largest micro-batch in two from now on.

    Args:
        lengths: Of the step's documents, longest first.

    Raises:
        ResourceError: Each micro-batch is down to one document already.
    """
    # A long document that goes alone cannot be cut: by its size no budget would ever get smaller.
    divisible = [cut for cut in cut_step(lengths, plan) if cut.stop - cut.start > 1]
    if not divisible:
        raise ResourceError(
            f"out of memory: not even one document of {max(lengths, default=1)} tokens fits: {CURE}."
        )
    if plan.micro_batch_tokens is None:
        return replace(plan, documents_per_micro_batch=max(cut.stop - cut.start for cut in divisible) // 2)
    multiple = plan.pad_to_multiple_of
    sizes = [(cut.stop - cut.start) * round_up(lengths[cut.start], multiple) for cut in divisible]
    return replace(plan, micro_batch_tokens=max(sizes) // 2)


def describe_micro_batches(plan: TrainingPlan) -> str:
    """Say how a step is cut, as a person sets it."""
    if plan.micro_batch_tokens is None:
        return f"{plan.documents_per_micro_batch} documents"
    return f"{plan.micro_batch_tokens:,} tokens"


def record_micro_batches(plan: TrainingPlan) -> dict[str, Any]:
    """Give what a checkpoint keeps of it."""
    return {"documents": plan.documents_per_micro_batch, "tokens": plan.micro_batch_tokens}


def recall_micro_batches(plan: TrainingPlan, counts: Mapping[str, Any]) -> TrainingPlan:
    """Go on with what fitted when a checkpoint was written.

    Args:
        counts: Of the checkpoint's manifest; older ones do not say.
    """
    kept = counts.get("micro_batches")
    if kept is None:
        return plan
    return replace(
        plan,
        documents_per_micro_batch=kept["documents"],
        micro_batch_tokens=kept["tokens"],
        probes_micro_batches=False,
    )


@dataclass(frozen=True)
class RandomState:
    """The generators that dropout draws from, so that a step can be repeated as it was."""

    cpu: torch.Tensor
    cuda: torch.Tensor | None

    @classmethod
    def capture(cls, device: torch.device) -> "RandomState":
        """Remember them; nothing waits for the device."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), cuda)

    def restore(self, device: torch.device) -> None:
        """Set them back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)


def free_cached_memory(device: torch.device) -> None:
    """Give back what the allocator keeps in pieces that may be too small."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
