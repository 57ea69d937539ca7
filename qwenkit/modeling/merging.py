"""Adapters merged into their base for a pass over many documents, and taken out again to the last bit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


@contextmanager
def merged_where_exact(model: Any, score: Callable[[], np.ndarray], *, tolerance: float) -> Iterator[bool]:
    """Merge the adapter for the block if some documents then score as before.

    Args:
        score: Computes their logits with the model as it stands.
        tolerance: Greatest difference of a logit that is let pass.

    Yields:
        Whether the adapter is merged.
    """
    layers = _find_mergeable(model)
    expected = score() if layers else None
    with _merged(layers) as is_merged:
        if is_merged and float(np.abs(score() - expected).max()) <= tolerance:
            yield True
            return
    yield False


@contextmanager
def _merged(layers: list[Any]) -> Iterator[bool]:
    """Add each adapter's product to a copy of its base weight, and put the originals back afterwards."""
    originals = [layer.get_base_layer().weight.data for layer in layers]
    try:
        for layer in layers:
            weight = layer.get_base_layer().weight
            weight.data = weight.data.clone()
            layer.merge()
        has_room = True
    except torch.OutOfMemoryError:
        has_room = False
    try:
        yield has_room and bool(layers)
    finally:
        for layer, original in zip(layers, originals, strict=True):
            layer.get_base_layer().weight.data = original
            layer.merged_adapters.clear()


def _find_mergeable(model: Any) -> list[Any]:
    """List the adapted layers; empty where one is not plain LoRA over weights that are not quantized.

    bitsandbytes would round the sum of base and adapter anew.
    """
    if not hasattr(model, "peft_config"):
        return []
    from peft.tuners.lora import Linear
    from peft.tuners.lora.layer import LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    is_plain = all(
        isinstance(layer, Linear)
        and type(layer.get_base_layer()) is nn.Linear
        # What is spread over ranks is of another type.
        and type(layer.get_base_layer().weight.data) is torch.Tensor
        and not layer.lora_variant
        and not layer.merged
        for layer in layers
    )
    return layers if is_plain else []
