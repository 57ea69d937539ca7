"""Small but real models for the tests of modeling and export: a 2-layer random Qwen3 and a BPE tokenizer."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qwenkit.config.schema_model import Model, Peft, Quantization, TinyModel
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.base import load_base_model
from qwenkit.modeling.bundle import Bundle, save_model
from qwenkit.modeling.identity import BaseIdentity, complete_identity, identify_base
from qwenkit.modeling.quantization import record_quantization
from qwenkit.tokens.tokenizer import train_tokenizer
from tests.qwen3_sizes import TINY_SIZES

LABELS = ["AI_Generated", "Human_Written"]
MAX_LENGTH = 24
SEED = 3
METHODS = {
    "nf4": Quantization(),
    "int8": Quantization(load_in_4bit=False, load_in_8bit=True),
    "none": Quantization(enabled=False),
}
TEXTS = [
    "The quick brown fox jumps over the lazy dog, and then it rests.",
    "a b c",
    "It is raining again; the river has risen since this morning.",
    "Numbers: 1 2 3 4 5 6 7 8 9 10, and so on without an end, one would think, or perhaps not at all.",
]


@cache
def make_tokenizer() -> Any:
    """Train a byte-level BPE of 300 ids."""
    return train_tokenizer(TEXTS * 4, vocab_size=300, max_length=MAX_LENGTH)


def describe_tiny(**settings: Any) -> BaseIdentity:
    """Identify a tiny base that fits the tokenizer."""
    tokenizer = make_tokenizer()
    return complete_identity(
        identify_base(Model(name="tiny", tiny=TinyModel(**{**TINY_SIZES, **settings}))),
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


def load_tiny(method: str = "none", *, identity: BaseIdentity | None = None, **options: Any) -> Any:
    """Load the tiny base as training would."""
    tokenizer = make_tokenizer()
    settings = {
        "quantization": METHODS.get(method),
        "labels": LABELS,
        "pad_token_id": tokenizer.pad_token_id,
        "vocab_size": len(tokenizer),
        "device": "cpu",
        "dtype": "float32",
        "seed": SEED,
    }
    return load_base_model(identity or describe_tiny(), **{**settings, **options})


def make_documents(rows: int, *, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Draw documents of 2 to 23 ids whose last id tells the class, with the class of each."""
    rng = np.random.default_rng(seed)
    label_ids = rng.integers(0, 2, size=rows)
    documents = [rng.integers(10, 270, size=rng.integers(2, MAX_LENGTH)) for _ in range(rows)]
    for document, label_id in zip(documents, label_ids, strict=True):
        document[-1] = 5 + label_id
    return documents, label_ids


def pad(documents: list[np.ndarray]) -> torch.Tensor:
    """Pad documents on the right, int64, shape (rows, longest)."""
    batch = np.full((len(documents), max(map(len, documents))), make_tokenizer().pad_token_id, dtype=np.int64)
    for line, document in zip(batch, documents, strict=True):
        line[: len(document)] = document
    return torch.from_numpy(batch)


def train_briefly(model: Any, *, steps: int = 12) -> Any:
    """Train until the logits are far from zero, so that comparisons mean something."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=2e-2)
    model.train()
    for step in range(steps):
        documents, label_ids = make_documents(16, seed=step)
        output = model(input_ids=pad(documents), labels=torch.from_numpy(label_ids), use_cache=False)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    return model.eval()


def make_bundle(method: str = "none", **fields: Any) -> Bundle:
    """Describe a tiny model."""
    settings = {
        "kind": "adapter",
        "base_model": describe_tiny(),
        "labels": LABELS,
        "positive_label": LABELS[0],
        "pad_token_id": make_tokenizer().pad_token_id,
        "max_length": MAX_LENGTH,
        "quantization": record_quantization(METHODS[method]),
    }
    return Bundle(**{**settings, **fields})


def save_trained(
    folder: Path, method: str = "none", *, bundle: dict[str, Any] | None = None, **peft: Any
) -> Any:
    """Train a tiny model for a moment and save it as a trained folder; return the model itself."""
    settings = Peft(lora_r=4, lora_dropout=0.0, **peft)
    model = train_briefly(apply_adapter(load_tiny(method), settings, seed=SEED))
    kind = "adapter" if settings.enabled else "full"
    save_model(
        folder,
        model=model,
        tokenizer=make_tokenizer(),
        bundle=make_bundle(method, kind=kind, **(bundle or {})),
    )
    return model
