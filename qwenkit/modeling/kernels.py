"""Which kernels a GPU takes while a model trains or scores; what that changes in libraries is put back."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers.integrations import sdpa_attention

_choose_shared_keys = sdpa_attention.use_gqa_in_sdpa


@contextmanager
def fused_attention() -> Iterator[None]:
    """Keep attention on fused kernels that take documents of any number and length at no cost, while inside.

    Two choices of the libraries cost more than they give here. cuDNN's kernel, which torch prefers on an H100
    from 2.11 on, plans for each new shape, tens of milliseconds long, and hardly two micro-batches of a step
    have the same. And in float32 no fused kernel of a GPU shares keys among heads: torch then holds all
    scores, documents x heads x tokens x tokens, so the keys are repeated instead.
    """
    had_cudnn, before = torch.backends.cuda.cudnn_sdp_enabled(), sdpa_attention.use_gqa_in_sdpa
    torch.backends.cuda.enable_cudnn_sdp(False)
    # One function for all time: a new one would have each compiled layer compiled anew.
    sdpa_attention.use_gqa_in_sdpa = shares_keys
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(had_cudnn)
        sdpa_attention.use_gqa_in_sdpa = before


@contextmanager
def tf32_products(*, is_wanted: bool) -> Iterator[None]:
    """Have a GPU round the factors of float32 products to 10 bits of mantissa, if wanted, while inside.

    The library's own switch stays on for all that a process computes later, and works only once in it.
    torch keeps this choice twice, and refuses to tell the older one where the newer contradicts it: so both
    are made here, and both are put back.
    """
    if not is_wanted:
        yield
        return
    newer: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
    before = [products.fp32_precision for products in newer]
    for products in newer:
        products.fp32_precision = "ieee"
    older = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(older)
        for products, precision in zip(newer, before, strict=True):
            products.fp32_precision = precision


def shares_keys(attention_mask: Any, key: torch.Tensor, value: torch.Tensor) -> bool:
    """Decide as transformers does whether torch shares keys among heads, but for float32 on a GPU."""
    computes_in_float32 = key.dtype == torch.float32 and not torch.is_autocast_enabled(key.device.type)
    if key.device.type == "cuda" and computes_in_float32:
        return False
    return bool(_choose_shared_keys(attention_mask, key, value))


@contextmanager
def library_module_kept(model: Any) -> Iterator[None]:
    """Put the names in the library's module of a model's class back afterwards.

    Liger's kernels take the place of classes and functions there for all models to come, also for one that
    is loaded onto a CPU to be exported, where they cannot run.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # A user's own class may lie in their script, whose names are theirs to change meanwhile.
    modules = [kind.__module__ for kind in type(base).__mro__ if kind.__module__.startswith("transformers.")]
    before = [(vars(sys.modules[name]), dict(vars(sys.modules[name]))) for name in modules]
    try:
        yield
    finally:
        for names, kept in before:
            names.update(kept)
