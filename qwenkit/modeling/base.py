"""The base model, loaded from where its identity says, with a new, seeded score head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.hub import hub_errors
from qwenkit.modeling.classifier import (
    describe_classes,
    folder_errors,
    is_causal_classifier,
    load_classifier_class,
    quiet_transformers,
    sees_later_tokens,
)
from qwenkit.modeling.identity import OWN_FOLDER, BaseIdentity, hash_base_folder
from qwenkit.modeling.quantization import (
    HEAD_NAME,
    QuantizationSettings,
    build_bitsandbytes_config,
    disable_cpu_repacking,
    quiet_bitsandbytes,
)
from qwenkit.modeling.tiny import build_tiny, hash_weights

HEAD_WEIGHT = f"{HEAD_NAME}.weight"


def load_base_model(
    identity: BaseIdentity,
    *,
    quantization: QuantizationSettings,
    labels: Sequence[str],
    pad_token_id: int,
    vocab_size: int,
    device: Any,
    dtype: str,
    seed: int,
    max_length: int | None = None,
    beside: Path | None = None,
) -> Any:
    """Load the stock Qwen3ForSequenceClassification over a pinned base, its score head new and float32.

    Args:
        identity: From identify_base; a tiny one from complete_identity.
        labels: Class names in id order.
        pad_token_id: The tokenizer's; pooling finds the last real token by it.
        vocab_size: Number of ids that the tokenizer can make.
        dtype: "bfloat16" or "float32", for the weights that are not quantized.
        seed: Draws the head.
        max_length: Longest document that will come; None does not check it.
        beside: Folder that holds the weights of a user's own base, in OWN_FOLDER.

    Raises:
        ConfigError: Not a causal decoder, already quantized, with fewer embeddings than token ids, or made
            for documents shorter than max_length.
        ArtifactError: Weights are missing, corrupt or not those of the identity.
        HubError: The hub cannot give them.
    """
    quiet_bitsandbytes()
    import torch
    from transformers import AutoConfig

    quantization_config = build_bitsandbytes_config(quantization)
    placement = {"device_map": {"": device}, "quantization_config": quantization_config}
    with _locate(identity, beside) as (source, options), quiet_transformers():
        config = AutoConfig.from_pretrained(source, trust_remote_code=False, **options)
        check_base_config(config, identity, vocab_size, max_length)
        describe_classes(config, labels, pad_token_id)
        model, loading = load_classifier_class(
            source,
            config=config,
            dtype=getattr(torch, dtype),
            # A head of another size may lie there; anything else that does not fit is refused below.
            ignore_mismatched_sizes=True,
            **(placement if quantization_config else {}),
            **options,
        )
    _check_loading(loading, identity.name)
    disable_cpu_repacking(model)
    if quantization_config is None:
        model.to(device)
    # PEFT compares and saves this name; a tiny base came from a temporary folder.
    model.name_or_path = model.config.name_or_path = identity.name
    if identity.kind != "own":
        _renew_head(model, seed)
    return model


def choose_device() -> Any:
    """Pick this process's GPU where there is one, else the CPU."""
    import os

    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def resolve_dtype(dtype: str, device: Any) -> str:
    """Decide what "auto" means: bfloat16 on a GPU that has it, float32 elsewhere."""
    import torch

    from qwenkit.modeling.device import has_bf16

    if dtype != "auto":
        return dtype
    return "bfloat16" if torch.device(device).type == "cuda" and has_bf16() else "float32"


@contextmanager
def _locate(identity: BaseIdentity, beside: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give where a base is loaded from, and translate the errors of that place."""
    from safetensors.torch import save_file

    if identity.kind == "hub":
        with hub_errors(identity.name, repo_type="model"):
            yield identity.name, {"revision": identity.revision}
    elif identity.kind == "folder":
        folder = Path(identity.name)
        if hash_base_folder(folder) != identity.sha256:
            raise ArtifactError(
                f"the base model in {folder} is not the one this was trained on (sha256 {identity.sha256}): "
                "put that model back into the folder, or train again."
            )
        with folder_errors(folder):
            yield str(folder), {}
    elif identity.kind == "own":
        if beside is None or not (beside / OWN_FOLDER).is_dir():
            raise ArtifactError(
                f"the base model under {beside or 'this adapter'} was a user's own and is not in its "
                f"{OWN_FOLDER}/ folder: copy the whole folder that qwenkit wrote."
            )
        with folder_errors(beside / OWN_FOLDER):
            yield str(beside / OWN_FOLDER), {}
    else:
        # bitsandbytes quantizes while it reads weights from disk, so a tiny base passes through a folder too.
        with TemporaryDirectory(prefix="qwenkit-tiny-") as folder_name:
            model = build_tiny(identity.tiny or {})
            if identity.sha256 is not None and hash_weights(model.state_dict()) != identity.sha256:
                raise ArtifactError(
                    "the tiny base model comes out otherwise with the libraries installed here (its sha256 "
                    f"is not {identity.sha256}): use the versions in qwenkit.json, a merged export, or train "
                    "again."
                )
            # Not by the model's own method, which on other ranks than 0 writes nothing and does not say so.
            model.config.save_pretrained(folder_name)
            save_file(model.state_dict(), Path(folder_name) / "model.safetensors", metadata={"format": "pt"})
            yield folder_name, {}


def check_base_config(config: Any, identity: BaseIdentity, vocab_size: int, max_length: int | None) -> None:
    """Refuse a base that cannot become a classifier here.

    Args:
        vocab_size: Number of ids that the tokenizer can make.
        max_length: Longest document that will come; None does not check it.

    Raises:
        ConfigError: Not a causal decoder, already quantized, or too small for the tokens or the documents.
    """
    if sees_later_tokens(config):
        raise ConfigError(
            f"model.name {identity.name} looks at later tokens as well (its config.json says "
            "use_bidirectional_attention, or is_causal: false): qwenkit trains causal decoders, in which no "
            "token sees the padding."
        )
    if not is_causal_classifier(config):
        raise ConfigError(
            f"model.name {identity.name} is of type {config.model_type}: qwenkit trains causal decoders "
            "with a classification head (Qwen3, and its relatives Qwen2, Llama, ...)."
        )
    if getattr(config, "quantization_config", None):
        raise ConfigError(
            f"model.name {identity.name} is already quantized: give the original weights; "
            "qwenkit quantizes them itself and leaves the score head alone."
        )
    if config.vocab_size < vocab_size:
        raise ConfigError(
            f"the tokenizer makes {vocab_size} ids, but {identity.name} has embeddings for "
            f"{config.vocab_size}: use the model's own tokenizer (tokenization.tokenizer: auto)."
        )
    limit = getattr(config, "max_position_embeddings", None)
    if limit is not None and max_length is not None and max_length > limit:
        raise ConfigError(
            f"tokenization.max_length is {max_length}, but {identity.name} was made for {limit} tokens: "
            "lower it."
        )


def _check_loading(loading: dict[str, Any], name: str) -> None:
    """Accept a missing or foreign head and an unused language model head, nothing else."""
    missing = sorted(set(loading["missing_keys"]) - {HEAD_WEIGHT})
    mismatched = sorted(
        {key[0] if isinstance(key, tuple) else key for key in loading["mismatched_keys"]} - {HEAD_WEIGHT}
    )
    unexpected = sorted(
        key for key in loading["unexpected_keys"] if not key.startswith(("lm_head.", f"{HEAD_NAME}."))
    )
    for problem, keys in (
        ("lacks", missing),
        ("has another shape for", mismatched),
        ("has unknown", unexpected),
    ):
        if keys:
            raise ArtifactError(
                f"the base model {name} {problem} {len(keys)} weights, e.g. {keys[0]}: it is incomplete, "
                "or not what its config.json says."
            )


def _renew_head(model: Any, seed: int) -> None:
    """Draw the score head from the seed, in float32, the same for every quantization, device and version."""
    import torch
    from torch import nn

    head = model.score
    if type(head) is not nn.Linear:
        raise AssertionError(f"the score head must stay a plain linear layer, it is a {type(head).__name__}")
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(head.weight.shape, generator=generator) * model.config.initializer_range
    head.weight = nn.Parameter(weight.to(head.weight.device))
