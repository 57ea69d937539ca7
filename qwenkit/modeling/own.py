"""A model that the user put in: named by its content, and kept beside what is trained on it.

Nobody else has these weights, so a folder with an adapter holds them too: it stays enough on its own.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qwenkit.artifacts import MANIFEST_NAME
from qwenkit.errors import ConfigError
from qwenkit.modeling.base import check_base_config
from qwenkit.modeling.classifier import describe_classes, quiet_transformers
from qwenkit.modeling.identity import OWN_FOLDER, OWN_NAME, BaseIdentity, hash_own
from qwenkit.modeling.quantization import HEAD_NAME, is_quantized


def adopt_model(model: Any, *, labels: Sequence[str], pad_token_id: int, vocab_size: int) -> BaseIdentity:
    """Check a user's model, write the classes and the pad id into its config, and name it by its content.

    Args:
        model: A sequence classifier over a causal decoder, as AutoModelForSequenceClassification makes it;
            adapters of PEFT may be on it already.
        labels: Class names in id order.

    Raises:
        ConfigError: It is something else, quantized, or made for another number of classes or tokens.
    """
    core = _unwrap(model)
    head = getattr(core, HEAD_NAME, None)
    if not hasattr(core, "save_pretrained") or head is None:
        raise ConfigError(
            f"the model put in is a {type(core).__name__}: expected a sequence classifier of transformers "
            f"with a head called {HEAD_NAME}, as AutoModelForSequenceClassification gives it."
        )
    if any(is_quantized(module) for module in core.modules()):
        raise ConfigError(
            "the model put in is quantized, and could not be saved whole: put it in unquantized, or set "
            "model.name and let qwenkit quantize it."
        )
    if core.config.num_labels != len(labels):
        raise ConfigError(
            f"the model put in has {core.config.num_labels} classes, model.labels has {len(labels)}: make it "
            f"with num_labels={len(labels)}."
        )
    identity = BaseIdentity(name=OWN_NAME, kind="own")
    check_base_config(core.config, identity, vocab_size, None)
    describe_classes(core.config, labels, pad_token_id)
    return identity.model_copy(update={"sha256": hash_own(core.config, plain_weights(core))})


def save_own(model: Any, folder: Path) -> None:
    """Write the user's weights as they were before any adapter, as safetensors."""
    core = _unwrap(model)
    with quiet_transformers():
        core.save_pretrained(folder, state_dict=plain_weights(core))


def link_own(saved: Path, model_folder: Path) -> None:
    """Put saved own weights into a model folder too; as links they take no space again."""
    target = model_folder / OWN_FOLDER
    target.mkdir()
    for path in saved.iterdir():
        if path.name != MANIFEST_NAME:
            os.link(path, target / path.name)


def plain_weights(core: Any) -> dict[str, Any]:
    """Give a model's own tensors under their own names, whatever PEFT has put around and beside them."""
    weights = {}
    for name, tensor in core.state_dict().items():
        if ".lora_" in name or ".modules_to_save." in name:
            continue
        weights[name.replace(".base_layer.", ".").replace(".original_module.", ".")] = tensor
    return weights


def _unwrap(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "peft_config") else model
