"""What all tests share: a toy data set, a finished run to look at, and an environment without the hub."""

import os
import random
import signal
from pathlib import Path

# Read by the libraries when they are imported, so it must stand before that.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("NO_COLOR", "1")
# A shell has what it starts in the background ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from qwenkit.pipeline import QwenTrainingPipeline

WORDS = {
    "AI_Generated": [
        "delve",
        "tapestry",
        "moreover",
        "robust",
        "landscape",
        "leverage",
        "seamless",
        "pivotal",
    ],
    "Human_Written": ["dog", "rain", "bus", "laughed", "kitchen", "mud", "brother", "sandwich"],
}
COMMON = ["the", "a", "of", "and", "to", "in", "was", "it", "that", "with", "for", "on", "as", "at"]
TINY_SETTINGS = (
    "model.name=tiny",
    "model.tiny.hidden_size=32",
    "model.tiny.num_attention_heads=2",
    "model.tiny.num_key_value_heads=1",
    "model.tiny.head_dim=16",
    "model.tiny.intermediate_size=64",
    "tokenization.max_length=48",
    "tokenization.vocab_size=400",
    "peft.modules_to_save=[embed_tokens]",
    "training.per_device_train_batch_size=8",
    "training.gradient_accumulation_steps=2",
    "training.learning_rate=0.01",
    "training.num_train_epochs=2",
    "training.eval_steps=8",
    "training.save_steps=8",
    "training.dataloader_num_workers=0",
    "evaluation.pre_training_eval_samples=20",
    "export.parity_rows=16",
    "wandb.enabled=false",
    # The toy texts give their class away, and the audit would say so in every test.
    "dataset.audit=false",
)


def write_toy_csv(path: Path, *, rows: int = 320, seed: int = 0) -> Path:
    """Write a data set whose classes share most words, but not all."""
    import csv

    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "domain_name"])
        for row in range(rows):
            label = sorted(WORDS)[row % 2]
            words = draw.choices(COMMON, k=16) + draw.choices(WORDS[label], k=6)
            draw.shuffle(words)
            writer.writerow([" ".join(words) + f" {row}.", label, ["news", "poetry"][row // 2 % 2]])
    return path


@pytest.fixture(scope="session")
def toy_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled CSV without splits, 320 rows, two domains."""
    return write_toy_csv(tmp_path_factory.mktemp("data") / "toy.csv")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_csv: Path) -> QwenTrainingPipeline:
    """A pipeline after run() and export(): look, do not touch. Its root is `paths.root` of its config."""
    root = tmp_path_factory.mktemp("finished") / "output"
    pipeline = QwenTrainingPipeline(dataset=str(toy_csv), root=root, overrides=TINY_SETTINGS)
    pipeline.run()
    pipeline.export(["merged", "adapter"])
    return pipeline
