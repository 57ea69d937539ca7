"""From rows to logits, with progress and all ranks together."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.ranks import find_ranks
from qwenkit.steps.labelled import LabelledSet

if TYPE_CHECKING:
    import numpy as np

    from qwenkit.modeling.bundle import Bundle

GiveModel = Callable[[], tuple[Any, Any]]
"""Hands out the model and its tokenizer, which may be read from disk only now."""


def score_documents(
    model: Any, tokenized: Any, *, bundle: "Bundle", config: Config, console: Console, what: str
) -> "np.ndarray":
    """Compute logits of tokenized rows, float32, shape (rows, classes), with progress."""
    input_ids = tokenized.with_format("numpy")["input_ids"]
    return score_ids(model, input_ids, bundle=bundle, config=config, console=console, what=what)


def score_ids(
    model: Any, input_ids: Any, *, bundle: "Bundle", config: Config, console: Console, what: str
) -> "np.ndarray":
    """Compute logits of token ids with progress, all ranks together: float32, shape (rows, classes)."""
    from qwenkit.modeling.predictor import predict_logits

    ranks = find_ranks()
    per_device = config.training.per_device_eval_batch_size
    with console.progress(f"scoring {what}", total=len(input_ids), unit="documents") as bar:
        return predict_logits(
            model,
            input_ids,
            pad_token_id=bundle.pad_token_id,
            batch_tokens=config.evaluation.batch_tokens or per_device * bundle.max_length,
            pad_to_multiple_of=config.tokenization.pad_to_multiple_of or 1,
            dtype=bundle.dtype,
            # The other ranks are about as far as this one.
            on_batch=lambda rows, tokens: bar.advance(rows * ranks.world_size),
            ranks=ranks,
        )


def score_rows(
    rows: LabelledSet, give_model: GiveModel, *, bundle: "Bundle", config: Config, console: Console
) -> "tuple[np.ndarray, np.ndarray]":
    """Tokenize and score labelled rows.

    Returns:
        Logits float32, shape (rows, classes), and the row ids, shape (rows,).
    """
    from qwenkit.tokens.tokenized import read_numbers

    model, tokenizer = give_model()
    tokenized = rows.encode(
        tokenizer=tokenizer,
        max_length=bundle.max_length,
        truncation=bundle.tokenizer.truncation,
        normalisation=bundle.normalisation,
        console=console,
    )
    logits = score_documents(model, tokenized, bundle=bundle, config=config, console=console, what=rows.title)
    return logits, read_numbers(tokenized, "row_id")
