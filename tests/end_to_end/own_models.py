"""A classifier that no setting could name, and what a saved model says of texts."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3Config, Qwen3ForSequenceClassification

from qwenkit import Predictor


def make_model(vocab_size: int, *, seed: int = 0, num_labels: int = 2) -> Any:
    """Draw a classifier that no setting could name."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocab_size,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
        num_labels=num_labels,
        pad_token_id=0,
    )
    return Qwen3ForSequenceClassification(config)


def score(folder: Path, texts: list[str]) -> np.ndarray:
    return Predictor.from_folder(folder).predict(texts).logits
