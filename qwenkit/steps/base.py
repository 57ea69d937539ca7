"""The model that is trained: loaded anew from its pinned base, or the one that the user put in."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qwenkit.artifacts import publish, read_manifest
from qwenkit.config import Config
from qwenkit.modeling.base import choose_device, load_base_model, resolve_dtype
from qwenkit.modeling.identity import OWN_FOLDER, BaseIdentity, complete_identity, identify_base
from qwenkit.modeling.own import adopt_model, save_own
from qwenkit.modeling.quantization import QuantizationRecord
from qwenkit.ranks import find_ranks

BASE_STAGE = "base"


@dataclass(frozen=True)
class ChosenBase:
    """Which base is trained.

    Attributes:
        weights_dtype: What its weights are held in where they are not quantized.
        own_model: The user's, where they put one in and it has not been trained on yet.
        own_folder: Where a user's own base was saved when it was first trained on.
    """

    identity: BaseIdentity
    weights_dtype: str
    pad_token_id: int
    vocab_size: int
    own_model: Any = None
    own_folder: Path | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What of it decides a training run; where a folder lies does not."""
        return self.identity.model_dump(exclude={"name"} if self.identity.kind == "folder" else None)


def choose_base(
    config: Config,
    *,
    tokenizer: Any,
    labels: list[str],
    own_model: Any = None,
    known: ChosenBase | None = None,
) -> ChosenBase:
    """Pin the base before anything is loaded.

    Args:
        own_model: What the user put in; None takes model.name.
        known: A user's own base of an earlier run, which goes on being used.

    Raises:
        ConfigError, ArtifactError, HubError: There is no such base, or it cannot be trained here.
    """
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    if own_model is not None:
        identity = adopt_model(own_model, labels=labels, **tokens)
        return ChosenBase(identity, _dtype_of(own_model), **tokens, own_model=own_model)
    weights_dtype = resolve_dtype(config.model.dtype, choose_device())
    if known is not None and known.identity.kind == "own":
        # What was trained on is changed; before that the model in hand is still the user's.
        return known if known.own_folder is None else replace(known, own_model=None)
    return ChosenBase(complete_identity(identify_base(config.model), **tokens), weights_dtype, **tokens)


def load_chosen(base: ChosenBase, config: Config, *, labels: list[str]) -> Any:
    """Load the base with a new, seeded score head; a model that the user put in is taken as it is."""
    if base.own_model is not None:
        return base.own_model
    is_own = base.identity.kind == "own"
    return load_base_model(
        base.identity,
        quantization=QuantizationRecord() if is_own else config.quantization,
        labels=labels,
        pad_token_id=base.pad_token_id,
        vocab_size=base.vocab_size,
        device=choose_device(),
        dtype=base.weights_dtype,
        seed=config.training.seed,
        beside=base.own_folder.parent if base.own_folder else None,
    )


def keep_own_base(base: ChosenBase, model: Any, run_folder: Path) -> Path | None:
    """Save a user's own base once a run, for its checkpoints and trained/ to link to.

    Returns:
        The folder; None where the base can be had again from elsewhere.
    """
    if base.identity.kind != "own":
        return None
    folder = run_folder / OWN_FOLDER
    manifest = read_manifest(folder)
    name = f"sha256:{base.identity.sha256}"
    if find_ranks().is_main and (manifest is None or manifest.fingerprint != name):
        with publish(
            folder, stage=BASE_STAGE, fingerprint=name, settings={}, inputs={}, identity={}, replace=True
        ) as staging:
            save_own(model, staging.folder)
    return folder


def _dtype_of(model: Any) -> str:
    return str(model.dtype).removeprefix("torch.")
