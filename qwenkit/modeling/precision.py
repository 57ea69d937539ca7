"""In what precision documents are scored: bfloat16 where that is asked or met, the logits in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from qwenkit.modeling.quantization import HEAD_NAME


def find_dtype(model: nn.Module) -> str:
    """Tell in what a model computes unless asked otherwise: in bfloat16 where some weights are held in it."""
    return "bfloat16" if any(p.dtype == torch.bfloat16 for p in model.parameters()) else "float32"


@contextmanager
def adapter_inputs_kept(model: Any, *, is_wanted: bool) -> Iterator[None]:
    """Have plain LoRA layers take their inputs as they come while inside; under autocast that is the same.

    Otherwise PEFT copies each projection's input to float32, and autocast copies that back to bfloat16 for
    the product: two passes over memory that change no value, and a copy that the backward pass keeps. Where
    a dropout lies between the two they stay, since on a CPU it would round its scale to bfloat16 too.
    """
    layers: list[Any] = []
    if is_wanted and hasattr(model, "peft_config"):
        from peft.tuners.lora.layer import LoraLayer

        layers = [each for each in model.modules() if isinstance(each, LoraLayer) and _is_plain(each)]
    before = [layer.cast_input_dtype_enabled for layer in layers]
    for layer in layers:
        layer.cast_input_dtype_enabled = False
    try:
        yield
    finally:
        for layer, casts in zip(layers, before, strict=True):
            layer.cast_input_dtype_enabled = casts


def _is_plain(layer: Any) -> bool:
    """Tell whether an adapter is two products and no more; DoRA takes norms in the input's type."""
    return not layer.lora_variant and all(
        isinstance(each, nn.Identity) for each in layer.lora_dropout.values()
    )


@contextmanager
def arithmetic(model: nn.Module, dtype: str) -> Iterator[None]:
    """Compute in bfloat16 where that is asked or met, but the logits themselves in float32.

    In bfloat16 a logit has eight bits: documents would tie by the hundred where a low false-positive rate
    is decided.
    """
    device_type = next(model.parameters()).device.type
    head = next(module for name, module in model.named_modules() if name.split(".")[-1] == HEAD_NAME)

    def compute_in_float32(module: Any, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        if output.dtype == torch.float32:
            return output
        with torch.autocast(device_type, enabled=False):
            return nn.functional.linear(args[0].float(), module.weight.float())

    hook = head.register_forward_hook(compute_in_float32)
    try:
        with torch.autocast(device_type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            yield
    finally:
        hook.remove()
