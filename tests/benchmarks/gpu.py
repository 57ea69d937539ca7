"""Training the real 0.6B shape on a GPU, ours against stock: `make bench-gpu`, one JSON object a line.

Random weights and token ids do, since neither changes what a step costs; documents are as long as RAID's. The
reference is the stock Trainer as the original ships it: nf4, the checkpointing that PEFT's preparation
switches on, padding and mask, dropout. Losses are held against the stock Trainer without these. `--tiny` runs
all of it with a toy on the CPU, to see that it works; its figures say nothing.
"""

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import datasets
import numpy as np
import torch
from peft import prepare_model_for_kbit_training
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from qwenkit.config import Config, flatten_config, load_config
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.base import choose_device, load_base_model, resolve_dtype
from qwenkit.modeling.classifier import quiet_transformers
from qwenkit.modeling.cost import Training, count_flops, read_shape
from qwenkit.modeling.device import describe_machine
from qwenkit.modeling.identity import identify_base
from tests.benchmarks.workload import (
    LABELS,
    LONGEST,
    PAD,
    Speed,
    draw_documents,
    order_as_ours,
    time_ours,
    time_stock,
)

DATASHEET_FLOPS = 989e12
"""Dense bfloat16 products of an H100 SXM."""
SKIPPED_STEPS, MEASURED_STEPS = 2, 4
# Of what fast.yaml changes, these matter for the evaluation only.
NOT_OF_A_STEP = ("training.eval_samples",)
SEED = 42


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        additions: Switches that neither recipe turns on; each is measured beside fast.yaml.
        overrides: Of every config.
    """

    sizes: dict[str, int]
    longest: int
    additions: tuple[str, ...]
    overrides: tuple[str, ...] = ()

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.sizes["vocab_size"]


# As in the config.json of Qwen/Qwen3-0.6B.
REAL = Scale(
    {
        "vocab_size": 151_936,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    LONGEST,
    (
        "training.compile=true",
        "training.liger=true",
        "training.tf32=true",
        "training.gradient_checkpointing=true",
        "training.micro_batch_tokens=auto",
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
    ("training.gradient_checkpointing=true", "training.micro_batch_tokens=auto"),
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
            options = {"vocab_size": scale.vocab_size, "bf16": torch.cuda.is_available()}
            return time_stock(model, ordered, config, folder, skip=SKIPPED_STEPS, **options)

        return train

    def ours(config: Config) -> Callable[[Any, datasets.Dataset, Path], Speed]:
        return lambda model, documents, folder: time_ours(
            model, documents, config, folder, skip=SKIPPED_STEPS
        )

    mended, fast = read_config("default", base, scale, *plain), read_config("fast", base, scale)
    variants = [
        Variant("stock as shipped", default, stock(default), prepare_as_shipped),
        Variant("stock, bf16 without checkpointing", mended, stock(mended)),
        Variant("default.yaml", default, ours(default)),
        Variant("fast.yaml", fast, ours(fast)),
    ]
    for name, value in list_switches().items():
        config = read_config("default", base, scale, f"{name}={json.dumps(value)}")
        variants.append(Variant(f"default.yaml with {name}={value}", config, ours(config)))
    for addition in scale.additions:
        if can_run(addition):
            config = read_config("fast", base, scale, addition)
            variants.append(Variant(f"fast.yaml with {addition}", config, ours(config)))
    return variants


def can_run(addition: str) -> bool:
    """Tell whether what a switch needs is installed."""
    machine = describe_machine()
    needs = {"training.compile=true": machine.has_compiler, "training.liger=true": machine.has_liger}
    return needs.get(addition, True)


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


def measure_products(size: int, repetitions: int = 20) -> float:
    """Measure what a large matrix product really reaches here, in operations a second."""
    device = choose_device()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    left @ right
    _wait(device)
    started = perf_counter()
    for _ in range(repetitions):
        left @ right
    _wait(device)
    return 2 * size**3 * repetitions / (perf_counter() - started)


def count_step_flops(config: Config, documents: datasets.Dataset, scale: Scale) -> float:
    """Count what a token of a LoRA step needs; work done twice for checkpointing does not count as useful."""
    lengths = np.array(documents["length"], dtype=np.float64)
    shape = read_shape(Qwen3Config(**scale.sizes), num_labels=len(LABELS))
    training = Training(lora_r=config.peft.lora_r, target_modules=config.peft.target_modules)
    return count_flops(shape, training, length=float((lengths**2).sum() / lengths.sum()))["step"]


def run_variants(scale: Scale, *, product_size: int) -> Iterator[dict[str, Any]]:
    """Measure all variants, one after the other."""
    achieved = measure_products(product_size)
    yield {
        "name": f"matrix product, {product_size} squared",
        "value": round(achieved / 1e12, 3),
        "unit": "TFLOP/s",
        "reference": DATASHEET_FLOPS / 1e12,
        "ratio": round(achieved / DATASHEET_FLOPS, 3),
    }
    with TemporaryDirectory() as name:
        base = Path(name) / "base"
        save_random_base(base, scale)
        variants = list_variants(base, scale)
        training = variants[0].config.training
        per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
        count = (SKIPPED_STEPS + MEASURED_STEPS) * per_step
        documents = draw_documents(count, vocab_size=scale.vocab_size, longest=scale.longest)
        flops = count_step_flops(variants[0].config, documents, scale)
        shipped = losses = None
        for number, variant in enumerate(variants):
            _free_memory()
            speed = variant.train(load_variant(variant, scale), documents, Path(name) / str(number))
            shipped = shipped or speed.rate
            # The second is the mended stock Trainer; the first has its own dropout.
            losses = speed.losses if number == 1 else losses
            yield {
                "name": f"training, {variant.name}",
                "value": round(speed.rate),
                "unit": "tokens/s",
                "reference": round(shipped),
                "ratio": round(speed.rate / shipped, 2),
                "mfu_of_datasheet": round(speed.rate * flops / DATASHEET_FLOPS, 4),
                "mfu_of_matrix_product": round(speed.rate * flops / achieved, 4),
                "padding": round(speed.waste, 3),
                "peak_gigabytes": _read_peak_gigabytes(),
                "largest_loss_difference": _find_largest_difference(speed.losses, losses),
            }


def _find_largest_difference(losses: list[float], reference: list[float] | None) -> float | None:
    if reference is None:
        return None
    return float(f"{np.max(np.abs(np.array(losses) - np.array(reference))):.1e}")


def _read_peak_gigabytes() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 1e9, 2) if torch.cuda.is_available() else None


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(arguments: list[str]) -> int:
    """Print the results; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-gpu", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a toy on the CPU, to see that the script works")
    is_tiny = parser.parse_args(arguments).tiny
    if not is_tiny and not torch.cuda.is_available():
        sys.stderr.write(
            "error: bench-gpu measures on a GPU and torch finds none here. To see that the script "
        )
        sys.stderr.write('works, run it on the CPU: make bench-gpu ARGS="--tiny"\n')
        return 2
    for result in run_variants(TINY, product_size=256) if is_tiny else run_variants(REAL, product_size=8192):
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
