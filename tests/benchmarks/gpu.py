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
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import datasets
import numpy as np
import torch
import torch._dynamo
from transformers import Qwen3Config

from qwenkit.config import Config
from qwenkit.modeling.base import choose_device
from qwenkit.modeling.cost import Training, count_flops, read_shape
from tests.benchmarks.gpu_variants import (
    REAL,
    SKIPPED_STEPS,
    TINY,
    Scale,
    Variant,
    list_variants,
    load_variant,
    save_random_base,
)
from tests.benchmarks.workload import LABELS, Speed, draw_documents

DATASHEET_FLOPS = 989e12
"""Dense bfloat16 products of an H100 SXM."""
REPETITIONS = 3
MEASURED_STEPS = 4


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
    """Measure all variants, one after the other; rates are medians."""
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
            line = {"name": f"training, {variant.name}", "value": None, "unit": "tokens/s"}
            try:
                speeds = _measure(variant, scale, documents, Path(name) / str(number))
            except Exception as error:
                # One that this machine or its libraries cannot run must not take the others' figures along.
                message = f"{type(error).__name__}: {error}"
                yield line | {"reference": shipped and round(shipped), "ratio": None, "error": message}
                continue
            rate = median(speed.rate for speed in speeds)
            # The second is the mended stock Trainer; the first has its own dropout.
            shipped = rate if number == 0 else shipped
            losses = speeds[0].losses if number == 1 else losses
            yield line | {
                "value": round(rate),
                "reference": shipped and round(shipped),
                "ratio": shipped and round(rate / shipped, 2),
                "mfu_of_datasheet": round(rate * flops / DATASHEET_FLOPS, 4),
                "mfu_of_matrix_product": round(rate * flops / achieved, 4),
                "padding": round(speeds[0].waste, 3),
                "peak_gigabytes": _read_peak_gigabytes(),
                "largest_loss_difference": _find_largest_difference(speeds[0].losses, losses),
            }


def _measure(variant: Variant, scale: Scale, documents: datasets.Dataset, folder: Path) -> list[Speed]:
    speeds = []
    for repetition in range(REPETITIONS):
        _begin_anew()
        speeds.append(variant.train(load_variant(variant, scale), documents, folder / str(repetition)))
    return speeds


def _find_largest_difference(losses: list[float], reference: list[float] | None) -> float | None:
    if reference is None:
        return None
    return float(f"{np.max(np.abs(np.array(losses) - np.array(reference))):.1e}")


def _read_peak_gigabytes() -> float | None:
    return round(torch.cuda.max_memory_allocated() / 1e9, 2) if torch.cuda.is_available() else None


def _begin_anew() -> None:
    """Leave nothing of the variant before: its memory, its compiled layers."""
    gc.collect()
    torch._dynamo.reset()
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
    has_failed = False
    for result in run_variants(TINY, product_size=256) if is_tiny else run_variants(REAL, product_size=8192):
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        has_failed |= "error" in result
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
