"""The ways of training that `make bench-gpu` holds against each other, and the sizes at which it does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import prepare_model_for_kbit_training
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from qwenkit.config import Config, flatten_config, load_config
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.base import choose_device, load_base_model, resolve_dtype
from qwenkit.modeling.classifier import quiet_transformers
from qwenkit.modeling.device import describe_machine
from qwenkit.modeling.identity import identify_base
from qwenkit.training.arguments import count_spare_cores
from tests.benchmarks.workload import (
    LABELS,
    LONGEST,
    PAD,
    Speed,
    order_as_ours,
    time_ours,
    time_stock,
)
from tests.qwen3_sizes import REAL_SIZES

SKIPPED_STEPS = 2
# Of what fast.yaml changes, these matter for the evaluation only.
NOT_OF_A_STEP = ("training.eval_samples",)
SEED = 42


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        additions: Settings other than those of fast.yaml; each entry is measured beside it.
        overrides: Of every config.
    """

    sizes: dict[str, int]
    longest: int
    additions: tuple[tuple[str, ...], ...]
    overrides: tuple[str, ...] = ()

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.sizes["vocab_size"]


REAL = Scale(
    REAL_SIZES,
    LONGEST,
    (
        ("training.compile=false",),
        # Kernels by hand are what one takes instead of a compiler's.
        ("training.compile=false", "training.liger=true"),
        ("training.tf32=true",),
        ("training.gradient_checkpointing=true",),
    ),
)


TINY = Scale(
    {
        "vocab_size": 256,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    },
    24,
    (("training.gradient_checkpointing=true",),),
    (
        "training.per_device_train_batch_size=4",
        "training.gradient_accumulation_steps=2",
        "training.dataloader_num_workers=0",
    ),
)


@dataclass(frozen=True)
class Variant:
    """One way of training.

    Attributes:
        train: Trains an epoch of the documents in the folder.
    """

    name: str
    config: Config
    train: Callable[[Any, datasets.Dataset, Path], Speed]
    prepare: Callable[[Any], Any] | None = None


def read_config(name: str, base: Path, scale: Scale, *overrides: str) -> Config:
    """Take a shipped config for an epoch without evaluation and checkpoints, each step's loss logged."""
    always = ("training.num_train_epochs=1", "training.logging_steps=1", "wandb.enabled=false")
    steps = ("training.eval_steps=1000000", "training.save_steps=1000000")
    settings = (f"model.name={base}", *always, *steps, *scale.overrides, *overrides)
    return load_config(name, overrides=settings).config


def list_variants(base: Path, scale: Scale) -> list[Variant]:
    """List the ways of training: stock as shipped and mended, ours by both recipes, and each switch alone."""
    default = read_config("default", base, scale)
    plain = ("quantization.enabled=false", "peft.lora_dropout=0.0")

    def stock(config: Config) -> Callable[[Any, datasets.Dataset, Path], Speed]:
        def train(model: Any, documents: datasets.Dataset, folder: Path) -> Speed:
            ordered = order_as_ours(documents, config)
            return time_stock(
                model,
                ordered,
                config,
                folder,
                vocab_size=scale.vocab_size,
                skip=SKIPPED_STEPS,
                bf16=torch.cuda.is_available(),
                dataloader_num_workers=min(config.training.dataloader_num_workers, count_spare_cores()),
            )

        return train

    def ours(config: Config) -> Callable[[Any, datasets.Dataset, Path], Speed]:
        return lambda model, documents, folder: time_ours(
            model, documents, config, folder, skip=SKIPPED_STEPS
        )

    machine = describe_machine()
    possible = () if machine.has_compiler else ("training.compile=false",)
    mended = read_config("default", base, scale, *plain)
    fast = read_config("fast", base, scale, *possible)
    variants = [
        Variant("stock as shipped", default, stock(default), prepare_as_shipped),
        Variant("stock, bf16 without checkpointing", mended, stock(mended)),
        Variant("default.yaml", default, ours(default)),
        Variant("fast.yaml", fast, ours(fast)),
    ]
    for name, value in list_switches().items():
        if name == "training.compile" and not machine.has_compiler:
            continue
        config = read_config("default", base, scale, f"{name}={json.dumps(value)}")
        variants.append(Variant(f"default.yaml with {name}={value}", config, ours(config)))
    for addition in scale.additions:
        if addition == possible or ("training.liger=true" in addition and not machine.has_liger):
            continue
        config = read_config("fast", base, scale, *possible, *addition)
        variants.append(Variant(f"fast.yaml with {', '.join(addition)}", config, ours(config)))
    return variants


def prepare_as_shipped(model: Any) -> Any:
    """Prepare a quantized model as PEFT does, which switches checkpointing on whatever the config says."""
    return prepare_model_for_kbit_training(model, gradient_checkpointing_kwargs={"use_reentrant": False})


def list_switches() -> dict[str, Any]:
    """Name what fast.yaml changes about a step."""
    default, fast = (flatten_config(load_config(name).config) for name in ("default", "fast"))
    changed = {name: value for name, value in fast.items() if value != default[name]}
    return {name: value for name, value in changed.items() if name not in NOT_OF_A_STEP}


def save_random_base(folder: Path, scale: Scale) -> None:
    """Write a base of the wanted shape: bitsandbytes quantizes while it reads weights from disk."""
    torch.manual_seed(SEED)
    config = Qwen3Config(**scale.sizes, pad_token_id=PAD, num_labels=len(LABELS), use_cache=False)
    with torch.device(choose_device()):
        model = Qwen3ForSequenceClassification(config)
    with quiet_transformers():
        model.to(torch.bfloat16).save_pretrained(folder)


def load_variant(variant: Variant, scale: Scale) -> Any:
    """Load the base as the variant wants it and put the adapter on; all draw the same head and adapter."""
    config, device = variant.config, choose_device()
    model = load_base_model(
        identify_base(config.model),
        quantization=config.quantization,
        labels=LABELS,
        pad_token_id=PAD,
        vocab_size=scale.vocab_size,
        device=device,
        dtype=resolve_dtype(config.model.dtype, device),
        seed=SEED,
    )
    if variant.prepare is not None:
        model = variant.prepare(model)
    checkpointing = config.training.gradient_checkpointing
    return apply_adapter(model, config.peft, gradient_checkpointing=checkpointing, seed=SEED)
