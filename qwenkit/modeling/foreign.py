"""Classifier folders that were not made here: what their own files tell, and when that is not enough."""

from pathlib import Path
from typing import Any

from qwenkit.errors import ArtifactError
from qwenkit.modeling.bundle import BUNDLE_NAME, Bundle
from qwenkit.modeling.classifier import folder_errors, is_causal_classifier
from qwenkit.modeling.identity import BaseIdentity

# Tokenizers without a limit of their own state this many tokens or more.
NO_LIMIT = 1_000_000


def infer_bundle(folder: Path, tokenizer: Any) -> Bundle:
    """Work out a bundle for a classifier that was not made here, from its config.json and tokenizer.

    Raises:
        ArtifactError: The class names, the pad id or the kind of model cannot be told.
    """
    from transformers import AutoConfig

    advice = f"write a {BUNDLE_NAME} beside it"
    if (folder / "adapter_config.json").is_file():
        raise ArtifactError(
            f"{folder} is an adapter without {BUNDLE_NAME}, and its own files tell neither the class names "
            f"nor the quantization: {advice}, or name the folder that qwenkit wrote."
        )
    if not (folder / "config.json").is_file():
        raise ArtifactError(f"{folder} holds no model: it has neither {BUNDLE_NAME} nor config.json.")
    with folder_errors(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    labels = [config.id2label[index] for index in sorted(config.id2label)]
    if not is_causal_classifier(config) or "ForSequenceClassification" not in str(config.architectures):
        raise ArtifactError(
            f"{folder} is no sequence classifier over a causal decoder: its config.json says "
            f"{config.architectures}."
        )
    if labels == [f"LABEL_{index}" for index in range(len(labels))]:
        raise ArtifactError(
            f"{folder} does not say what its classes mean: set id2label in config.json, or {advice}."
        )
    pad_token_id = tokenizer.pad_token_id if config.pad_token_id is None else config.pad_token_id
    if pad_token_id is None:
        raise ArtifactError(f"{folder} has no pad token: set pad_token_id in config.json, or {advice}.")
    return Bundle(
        kind="full",
        base_model=BaseIdentity(name=str(folder), kind="folder"),
        labels=labels,
        positive_label=labels[0],
        pad_token_id=pad_token_id,
        max_length=_infer_max_length(tokenizer, config),
        dtype="bfloat16" if "bfloat16" in str(config.dtype) else "float32",
    )


def _infer_max_length(tokenizer: Any, config: Any) -> int:
    limit = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", NO_LIMIT))
    if limit >= NO_LIMIT:
        raise ArtifactError(
            f"no limit of tokens is known for {config.name_or_path}: write a {BUNDLE_NAME} beside it."
        )
    return int(limit)
