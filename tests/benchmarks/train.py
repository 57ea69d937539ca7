"""Training and evaluation against the stock Trainer on a CPU: `make bench-train`, one JSON object a line.

A small Qwen3 with LoRA in float32, documents as long as RAID's. Ours and the stock Trainer take the same
documents in the same steps; `batch_rebalance` draws its own. Compiled layers are held against ours without.
The repetitions take turns, so that other work on the machine meets all alike; cpu_ratio, of the process's CPU
seconds, hardly sees it.
"""

import copy
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import datasets
import numpy as np
from transformers import (
    DataCollatorWithPadding,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from qwenkit.config import Config
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.device import describe_machine
from qwenkit.modeling.predictor import predict_logits
from tests.benchmarks.workload import (
    LONGEST,
    PAD,
    Speed,
    draw_documents,
    make_padding_tokenizer,
    order_as_ours,
    time_ours,
    time_stock,
)

REPETITIONS = 3
DOCUMENTS, EVALUATED = 112, 96
DOCUMENTS_PER_BATCH = 8
# While layers are compiled, for several documents and for one, nothing is measured.
COMPILED, COMPILING_STEPS = 224, 3
VOCABULARY = 1024
SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
}
Run = Callable[[], Speed]


def make_config() -> Config:
    """Take the original's recipe in float32, with a step of 32 documents in micro-batches of like memory."""
    config = Config()
    config.peft.lora_dropout = 0.0
    config.quantization.enabled = False
    training = config.training
    training.per_device_train_batch_size, training.gradient_accumulation_steps = DOCUMENTS_PER_BATCH, 4
    training.micro_batch_tokens = DOCUMENTS_PER_BATCH * LONGEST
    training.num_train_epochs, training.logging_steps = 1, 1
    training.dataloader_num_workers = 0
    training.eval_steps = training.save_steps = 10**6
    return config


def make_model(config: Config, sizes: dict[str, int]) -> Any:
    """Draw a random classifier with its adapter; the same for each run."""
    import torch

    torch.manual_seed(0)
    base = Qwen3ForSequenceClassification(
        Qwen3Config(**sizes, pad_token_id=PAD, num_labels=2, use_cache=False)
    )
    return apply_adapter(base, config.peft)


def take_turns(runs: dict[str, Run], repetitions: int) -> dict[str, list[Speed]]:
    """Run each in turn, again and again."""
    measured: dict[str, list[Speed]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            measured[name].append(run())
    return measured


def compare(name: str, ours: Sequence[Speed], stock: Sequence[Speed]) -> dict[str, Any]:
    """Give the medians, and the median of the ratios of runs that stood side by side."""
    pairs = list(zip(ours, stock, strict=True))
    return {
        "name": name,
        "value": round(median(each.rate for each in ours)),
        "unit": "tokens/s",
        "reference": round(median(each.rate for each in stock)),
        "ratio": round(median(one.rate / other.rate for one, other in pairs), 2),
        "cpu_ratio": round(
            median(other.cpu_seconds / one.cpu_seconds * one.tokens / other.tokens for one, other in pairs), 2
        ),
    }


def compare_waste(name: str, ours: Speed, stock: Speed) -> dict[str, Any]:
    """Give the shares of padding."""
    shares = {"value": round(ours.waste, 3), "reference": round(stock.waste, 3)}
    return {"name": name, "unit": "of tokens", **shares, "ratio": round(ours.waste / stock.waste, 2)}


def compare_losses(other: str, ours: Speed, stock: Speed) -> dict[str, Any]:
    """Give the largest difference of a step's loss."""
    found, expected = np.array(ours.losses), np.array(stock.losses)
    assert len(found) == len(expected) > 1
    difference = float(np.max(np.abs(found - expected) / expected))
    return {
        "name": f"largest relative difference of a step's loss, {other}",
        "value": float(f"{difference:.1e}"),
        "unit": "",
        "reference": 0.0,
        "ratio": None,
    }


def benchmark_training(documents: int, repetitions: int, sizes: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Compare real tokens a second, padding and losses of whole epochs."""
    config = make_config()
    rows = draw_documents(documents, vocab_size=VOCABULARY)
    ordered = order_as_ours(rows, config)
    made = make_model(config, sizes)
    with TemporaryDirectory() as name:
        folder = Path(name)
        stock = {"vocab_size": VOCABULARY}
        runs: dict[str, Run] = {
            "ours": lambda: time_ours(copy.deepcopy(made), rows, config, folder / "ours"),
            "stock": lambda: time_stock(copy.deepcopy(made), ordered, config, folder, **stock),
        }
        if has_rebalance():
            rebalance = {"trainer_class": Trainer, "train_sampling_strategy": "batch_rebalance", **stock}
            runs["rebalance"] = lambda: time_stock(copy.deepcopy(made), rows, config, folder, **rebalance)
        measured = take_turns(runs, repetitions)
    yield compare("training, stock Trainer with padding", measured["ours"], measured["stock"])
    yield compare_losses("stock Trainer", measured["ours"][0], measured["stock"][0])
    yield compare_waste("padding, stock Trainer", measured["ours"][0], measured["stock"][0])
    if "rebalance" in measured:
        yield compare("training, stock batch_rebalance", measured["ours"], measured["rebalance"])
        yield compare_waste("padding, stock batch_rebalance", measured["ours"][0], measured["rebalance"][0])


def benchmark_compiling(documents: int, repetitions: int, sizes: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Compare training.compile with our own steps without it, once the compiler is done."""
    config = make_config()
    compiling = config.model_copy(deep=True)
    compiling.training.compile = True
    rows = draw_documents(documents, vocab_size=VOCABULARY)
    made = make_model(config, sizes)
    with TemporaryDirectory() as name:

        def run(settings: Config, folder: str) -> Speed:
            model = copy.deepcopy(made)
            return time_ours(model, rows, settings, Path(name, folder), skip=COMPILING_STEPS)

        runs: dict[str, Run] = {
            "compiled": lambda: run(compiling, "compiled"),
            "plain": lambda: run(config, "plain"),
        }
        measured = take_turns(runs, repetitions)
    yield compare("training, compiled layers", measured["compiled"], measured["plain"])
    yield compare_losses("compiled layers", measured["compiled"][0], measured["plain"][0])


def has_rebalance() -> bool:
    """Tell whether the installed library has the strategy."""
    return "train_sampling_strategy" in TrainingArguments.__dataclass_fields__


def benchmark_evaluation(documents: int, repetitions: int, sizes: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Compare predict_logits with Trainer.predict, both with batches of the same memory."""
    config = make_config()
    model = make_model(config, sizes)
    rows = draw_documents(documents, vocab_size=VOCABULARY, seed=1)
    batch = DOCUMENTS_PER_BATCH
    with TemporaryDirectory() as name:
        trainer = make_stock_predictor(model, Path(name), batch=batch, multiple=8)
        plain = rows.select_columns(["input_ids", "labels"])
        results: dict[str, Any] = {}

        def stock() -> Speed:
            return clock(rows, lambda: results.update(stock=trainer.predict(plain).predictions))

        def ours() -> Speed:
            options = {"pad_token_id": PAD, "batch_tokens": batch * LONGEST}
            return clock(
                rows, lambda: results.update(ours=predict_logits(model, rows["input_ids"], **options))
            )

        take_turns({"ours": ours, "stock": stock}, 1)
        measured = take_turns({"ours": ours, "stock": stock}, repetitions)
    difference = float(np.max(np.abs(results["ours"] - results["stock"])))
    record = compare("evaluation, Trainer.predict", measured["ours"], measured["stock"])
    yield record | {"largest_logit_difference": float(f"{difference:.1e}")}


def make_stock_predictor(model: Any, folder: Path, *, batch: int, multiple: int) -> Trainer:
    """Make a stock Trainer that only predicts."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_eval_batch_size=batch,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        label_names=["labels"],
    )
    collator = DataCollatorWithPadding(make_padding_tokenizer(VOCABULARY), pad_to_multiple_of=multiple)
    return Trainer(model=model, args=arguments, data_collator=collator)


def clock(rows: datasets.Dataset, call: Callable[[], Any]) -> Speed:
    """Time one call over all rows."""
    wall, cpu = perf_counter(), process_time()
    call()
    return Speed(perf_counter() - wall, process_time() - cpu, tokens=sum(rows["length"]), waste=0.0)


def main(
    *,
    documents: int = DOCUMENTS,
    evaluated: int = EVALUATED,
    compiled: int = COMPILED,
    repetitions: int = REPETITIONS,
    sizes: dict[str, int] = SMALL,
) -> Iterator[dict[str, Any]]:
    """Run all of it."""
    yield from benchmark_training(documents, repetitions, sizes)
    yield from benchmark_evaluation(evaluated, repetitions, sizes)
    if describe_machine().has_compiler:
        yield from benchmark_compiling(compiled, repetitions, sizes)


if __name__ == "__main__":
    for result in main():
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
