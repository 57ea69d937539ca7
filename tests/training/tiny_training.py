"""A 2-layer random Qwen3 of width 32 and documents that it can learn: small, but the real classes."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BitsAndBytesConfig, Qwen3Config, Qwen3ForSequenceClassification

from qwenkit.config.schema import Config
from qwenkit.console import Console
from qwenkit.modeling.quantization import disable_cpu_repacking
from qwenkit.tracking import MetricsLog, Tracker
from qwenkit.training.build import build_trainer
from tests.qwen3_sizes import TINY_SIZES

LABELS = ["AI_Generated", "Human_Written"]
PAD = 0
VOCAB = 64


def make_rows(count: int, *, seed: int = 0) -> datasets.Dataset:
    """Documents of 3 to 40 tokens; the last one tells the class, nine times out of ten."""
    rng = np.random.default_rng(seed)
    label_ids = (rng.random(count) < 0.4).astype(np.int64)
    input_ids = []
    for label_id in label_ids:
        ids = rng.integers(1, VOCAB - 1, size=rng.integers(3, 41)).tolist()
        told = label_id if rng.random() < 0.9 else 1 - label_id
        input_ids.append([*ids[:-1], int(1 + told)])
    features = datasets.Features(
        {
            "row_id": datasets.Value("int64"),
            "input_ids": datasets.List(datasets.Value("int32")),
            "length": datasets.Value("int32"),
            "labels": datasets.Value("int64"),
        }
    )
    columns = {
        "row_id": [1000 + index for index in range(count)],
        "input_ids": input_ids,
        "length": [len(ids) for ids in input_ids],
        "labels": label_ids.tolist(),
    }
    return datasets.Dataset.from_dict(columns, features=features)


def save_base(folder: Path) -> None:
    """Write the random base that all tests of training start from."""
    torch.manual_seed(7)
    config = Qwen3Config(
        vocab_size=VOCAB,
        **TINY_SIZES,
        max_position_embeddings=64,
        pad_token_id=PAD,
        num_labels=2,
        initializer_range=0.2,
    )
    Qwen3ForSequenceClassification(config).save_pretrained(folder)


def load_base(folder: Path, *, quantization: str = "none") -> Any:
    options: dict[str, Any] = {}
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float32,
            llm_int8_skip_modules=["score"],
        )
    if quantization == "int8":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_skip_modules=["score"]
        )
    model = Qwen3ForSequenceClassification.from_pretrained(folder, dtype=torch.float32, **options)
    disable_cpu_repacking(model)
    return model


def load_lora(folder: Path, *, quantization: str = "none", dropout: float = 0.0) -> Any:
    """LoRA whose second matrix is not zero, so that every tensor has a gradient from the first step on."""
    model = load_base(folder, quantization=quantization)
    torch.manual_seed(3)
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=4,
        lora_alpha=8,
        lora_dropout=dropout,
        init_lora_weights=False,
        target_modules=["q_proj", "v_proj", "down_proj"],
    )
    with quiet_peft():
        return get_peft_model(model.requires_grad_(False), config)


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """PEFT reads an attribute that transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


def make_config(**training: Any) -> Config:
    config = Config()
    config.tokenization.max_length = 64
    defaults: dict[str, Any] = {
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 4,
        "learning_rate": 1e-2,
        "warmup_ratio": 0.0,
        "dataloader_num_workers": 0,
        "logging_steps": 1,
        "eval_steps": 3,
        "num_train_epochs": 1.0,
    }
    for name, value in (defaults | training).items():
        config.training[name] = value
    return config


def logged(trainer: Any, name: str) -> list[float]:
    """All logged values of one name, in order."""
    return [record[name] for record in trainer.state.log_history if name in record]


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """A copy of everything that is trained."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def build_tiny_trainer(base_folder: Path, run_folder: Path, **options: Any) -> Any:
    """Build a trainer as the pipeline does; every part can be replaced by its name."""
    console = options.pop("console", None) or Console(quiet=True)
    options.setdefault("config", make_config())
    options.setdefault("train_dataset", make_rows(80))
    options.setdefault("eval_dataset", make_rows(37, seed=1))
    options.setdefault("class_weights", (0.7, 1.9))
    options.setdefault("tracker", Tracker(MetricsLog(run_folder / "metrics.jsonl"), console=console))
    if options["eval_dataset"] is False:
        options["eval_dataset"] = None
    model = options.pop("model", None)
    return build_trainer(
        load_lora(base_folder) if model is None else model,
        pad_token_id=PAD,
        labels=LABELS,
        run_folder=run_folder,
        console=console,
        **options,
    )


def poison(model, *, token: int = VOCAB - 1) -> None:
    """Make one token's embedding NaN; make_rows never uses it."""
    with torch.no_grad():
        model.get_input_embeddings().weight[token] = torch.nan


def poison_row(rows: datasets.Dataset, row: int) -> datasets.Dataset:
    """Put that token into one document."""
    columns = rows.to_dict()
    columns["input_ids"][row][0] = VOCAB - 1
    return datasets.Dataset.from_dict(columns, features=rows.features)
