"""The tiny base: a random Qwen3 for a demo or a test, drawn anew from its seed wherever it is needed."""

from collections.abc import Mapping
from typing import Any


def build_tiny(settings: Mapping[str, int]) -> Any:
    """Draw a small random Qwen3 decoder; the same settings always give the same weights.

    Args:
        settings: The model.tiny section, completed by vocab_size and pad_token_id.
    """
    import torch
    from transformers import Qwen3Config, Qwen3Model

    settings = dict(settings)
    if "vocab_size" not in settings:
        raise ValueError("a tiny base must pass through complete_identity before it is loaded")
    seed = settings.pop("seed")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3Model(Qwen3Config(**settings))


def hash_weights(state_dict: dict[str, Any]) -> str:
    """Hash tensors by name, dtype, shape and bytes, whatever order they come in."""
    import hashlib

    import torch

    digest = hashlib.sha256()
    for name in sorted(state_dict):
        tensor = state_dict[name].detach().cpu().contiguous()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
