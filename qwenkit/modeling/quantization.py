"""How the frozen weights are stored: 4-bit, 8-bit or as they are, on a GPU and on a CPU alike.

The score head is never quantized, and the 4-bit layers keep their layout on every kind of CPU.
"""

import logging
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from qwenkit.errors import ResourceError

Method = Literal["none", "int8", "nf4", "fp4"]
HEAD_NAME = "score"


class QuantizationSettings(Protocol):
    """What is read of the config's quantization section."""

    @property
    def method(self) -> Method: ...
    @property
    def bnb_4bit_use_double_quant(self) -> bool: ...
    @property
    def bnb_4bit_compute_dtype(self) -> str: ...


class QuantizationRecord(BaseModel):
    """How the weights of a trained model's base were stored, enough to quantize the same base again."""

    model_config = ConfigDict(extra="forbid")

    method: Method = "none"
    bnb_4bit_use_double_quant: bool = True
    bnb_4bit_compute_dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"


def record_quantization(settings: QuantizationSettings) -> QuantizationRecord:
    """Keep of the quantization section what a reload needs."""
    return QuantizationRecord(
        method=settings.method,
        bnb_4bit_use_double_quant=settings.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=settings.bnb_4bit_compute_dtype,
    )


def build_bitsandbytes_config(quantization: QuantizationSettings) -> Any | None:
    """Translate the settings for transformers; None where nothing is quantized.

    Raises:
        ResourceError: bitsandbytes is not installed or does not load here.
    """
    if quantization.method == "none":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    _import_bitsandbytes(quantization.method)
    # A skip list of our own replaces the library's, which holds the head back: so it must name the head.
    skip = [HEAD_NAME]
    if quantization.method == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skip)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.method,
        bnb_4bit_use_double_quant=quantization.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=getattr(torch, quantization.bnb_4bit_compute_dtype),
        llm_int8_skip_modules=skip,
    )


def disable_cpu_repacking(model: Any) -> int:
    """Keep bitsandbytes from rewriting 4-bit weights in place at the first forward in eval mode.

    On CPUs with AVX512-BF16 it does so for speed; from then on the adapters get no gradient, and what is
    dequantized for a merge is wrong, both without a word.

    Returns:
        How many 4-bit layers there are.
    """
    layers = [module for module in model.modules() if type(module).__name__ == "Linear4bit"]
    # PEFT's wrapper of the same name holds the real layer as its base_layer and has no such flag.
    quantized = [layer for layer in layers if hasattr(layer, "support_avx512bf16_for_cpu")]
    for layer in quantized:
        layer.support_avx512bf16_for_cpu = False
    return len(quantized)


def dequantize(model: Any) -> Any:
    """Replace each quantized layer by a float32 one with the values that its forward really multiplies by.

    4-bit values pass through the compute dtype on their way into the multiplication, so they do here too.
    """
    import torch
    from torch import nn
    from transformers.integrations.bitsandbytes import dequantize_bnb_weight

    for name, layer in list(model.named_modules()):
        if not is_quantized(layer):
            continue
        weight = dequantize_bnb_weight(layer.weight, getattr(layer, "state", None))
        if (compute_dtype := getattr(layer, "compute_dtype", None)) is not None:
            weight = weight.to(compute_dtype)
        plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        plain.weight = nn.Parameter(weight.to(torch.float32), requires_grad=False)
        if layer.bias is not None:
            plain.bias = nn.Parameter(layer.bias.detach().to(torch.float32), requires_grad=False)
        model.set_submodule(name, plain)
    _forget_quantization(model)
    return model.to(torch.float32)


def is_quantized(module: Any) -> bool:
    """Tell whether a module's own weight is a bitsandbytes one."""
    return type(getattr(module, "weight", None)).__name__ in ("Params4bit", "Int8Params")


def _forget_quantization(model: Any) -> None:
    """Drop the marks that make transformers and PEFT treat a model as quantized."""
    for name in (
        "hf_quantizer",
        "quantization_method",
        "is_loaded_in_4bit",
        "is_loaded_in_8bit",
        "is_quantized",
    ):
        if name in vars(model):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def quiet_bitsandbytes() -> None:
    """Drop its warnings: of an optional kernel at its import, which PEFT causes, and of each int8 cast."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _import_bitsandbytes(method: str) -> None:
    try:
        import bitsandbytes  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        raise ResourceError(
            f"{method} weights need the bitsandbytes library, which does not load here ({error}): "
            "install it with `pip install bitsandbytes`, or use quantization.enabled=false to train and a "
            "merged export to predict."
        ) from error
