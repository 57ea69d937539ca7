"""Which base model it is, to the byte: pinned before anything is loaded, and found again by it."""

from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.files import hash_tree
from qwenkit.hub import looks_like_repo_id, resolve_revision
from qwenkit.modeling.tiny import build_tiny, hash_weights

TINY_NAME = "tiny"
OWN_NAME = "own"
# Where a model folder holds the user's own weights.
OWN_FOLDER = "base"
# Embedding tables of the family are padded to such a multiple, which matrix kernels like.
VOCAB_MULTIPLE = 64


class TinySettings(Protocol):
    """What is read of the config's model.tiny section."""

    def model_dump(self) -> dict[str, int]: ...


class ModelSettings(Protocol):
    """What is read of the config's model section to name the base."""

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def tiny(self) -> TinySettings: ...


class BaseIdentity(BaseModel):
    """Which base it is: a commit of the hub, the hash of a folder or of a user's own, or tiny settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["hub", "folder", "tiny", "own"]
    revision: str | None = None
    sha256: str | None = None
    tiny: dict[str, int] | None = None


def identify_base(model_settings: ModelSettings) -> BaseIdentity:
    """Pin the base model before anything is loaded: one call to the hub, or one hash of a folder.

    Raises:
        ConfigError: The name is neither a folder, nor a hub id, nor "tiny".
        ArtifactError: The folder holds no model.
        HubError: The hub cannot be asked, or has no such model.
    """
    name = model_settings.name
    if name == TINY_NAME:
        return BaseIdentity(name=name, kind="tiny", tiny=model_settings.tiny.model_dump())
    if Path(name).is_dir():
        return BaseIdentity(name=name, kind="folder", sha256=hash_base_folder(Path(name)))
    if looks_like_repo_id(name):
        revision = resolve_revision(name, repo_type="model", revision=model_settings.revision)
        return BaseIdentity(name=name, kind="hub", revision=revision)
    raise ConfigError(
        f'model.name "{name}" is neither a folder that exists, nor a hub id like Qwen/Qwen3-0.6B, '
        f'nor "{TINY_NAME}".'
    )


def complete_identity(identity: BaseIdentity, *, vocab_size: int, pad_token_id: int) -> BaseIdentity:
    """Add to a tiny base what its tokenizer decides, and the hash of its weights; others stay as they are.

    Args:
        vocab_size: Number of ids that the tokenizer can make.
    """
    if identity.kind != "tiny":
        return identity
    rows = -(-vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
    tiny = {**(identity.tiny or {}), "vocab_size": rows, "pad_token_id": pad_token_id}
    complete = identity.model_copy(update={"tiny": tiny})
    return complete.model_copy(update={"sha256": hash_weights(build_tiny(tiny).state_dict())})


def hash_own(config: Any, weights: dict[str, Any]) -> str:
    """Hash a user's own model: what its config says and every tensor."""
    import hashlib
    import json

    described = {name: value for name, value in config.to_dict().items() if not name.startswith("_")}
    # Where it was loaded from and by which version decides nothing.
    for name in ("transformers_version", "name_or_path"):
        described.pop(name, None)
    canonical = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(f"{canonical}\0{hash_weights(weights)}".encode()).hexdigest()


def hash_base_folder(folder: Path) -> str:
    """Hash config.json and the weights of a model folder.

    Raises:
        ArtifactError: One of them is missing.
    """
    if not folder.is_dir():
        raise ArtifactError(f"the base model folder {folder} does not exist here: put the model there again.")
    if (folder / "adapter_config.json").is_file():
        raise ArtifactError(
            f"{folder} holds an adapter, not a base model: export it as merged and name that folder."
        )
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ArtifactError(f"{folder} is no model folder: it needs config.json and *.safetensors.")
    return hash_tree(folder, ["config.json", "*.safetensors"])
