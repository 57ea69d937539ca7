"""Which tokenizer a run uses (the model's, one that is named, one of its own), and where its ids go."""

from collections.abc import Mapping
from typing import Any

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.runs import short_name
from qwenkit.tokens.tokenizer import load_tokenizer, tokenizer_identity, train_tokenizer

TRAINED_HERE = "train"


def trains_tokenizer(config: Config) -> bool:
    """Tell whether the tokenizer is to be trained on the train split."""
    return _name_tokenizer(config) == TRAINED_HERE


def make_tokenizer(config: Config, splits: Mapping[str, Any], *, console: Console) -> Any:
    """Load the tokenizer that the settings name, or train one; the splits are read for that alone."""
    if trains_tokenizer(config):
        settings = config.tokenization
        console.info(f"training a tokenizer of {settings.vocab_size:,} tokens on the train split")
        texts = splits["train"]["text"]
        return train_tokenizer(texts, vocab_size=settings.vocab_size, max_length=settings.max_length)
    name = _name_tokenizer(config)
    revision = config.model.revision if name == config.model.name else None
    return load_tokenizer(name, revision=revision)


def identify_tokenizer(tokenizer: Any, config: Config, *, is_users: bool) -> dict[str, str]:
    """Name the tokenizer for fingerprints; one that is trained here follows from the rows and settings."""
    is_trained_here = trains_tokenizer(config) and not is_users
    return {"tokenizer": TRAINED_HERE if is_trained_here else tokenizer_identity(tokenizer)}


def name_tokenized(config: Config) -> str:
    """Name the folder of tokenized data: whose tokenizer, and how many tokens a document at most."""
    named = config.tokenization.tokenizer
    owner = config.model.name if named == "auto" else named
    owner = "own-bpe" if trains_tokenizer(config) else owner
    return f"{short_name(owner)}-{config.tokenization.max_length}"


def _name_tokenizer(config: Config) -> str:
    """Settle "auto"; a hub id, a folder, or "train"."""
    wanted = config.tokenization.tokenizer
    if wanted != "auto":
        return wanted
    return TRAINED_HERE if config.model.name == "tiny" else config.model.name
