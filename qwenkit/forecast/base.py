"""The shape of the base model that a config names, from its config.json alone: no weights are read."""

from pathlib import Path

from qwenkit.config import Config
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.hub import hub_errors, looks_like_repo_id, resolve_revision
from qwenkit.modeling.cost import ModelShape, read_shape
from qwenkit.modeling.identity import TINY_NAME, VOCAB_MULTIPLE


def find_shape(config: Config) -> ModelShape:
    """Read the sizes of the base with the config's classes on top.

    Raises:
        ConfigError: The name means nothing, or a kind of model that has no formulas.
        ArtifactError: The folder has no config.json that can be read.
        HubError: The hub's config.json can be had neither from there nor from the cache.
    """
    name, num_labels = config.model.name, len(config.model.labels)
    if name == TINY_NAME:
        return _shape_of_tiny(config, num_labels)
    from transformers import AutoConfig

    if Path(name).is_dir():
        if not (Path(name) / "config.json").is_file():
            raise ArtifactError(f"{name} is no model folder: it has no config.json.")
        try:
            found = AutoConfig.from_pretrained(name, trust_remote_code=False, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ArtifactError(f"{name}/config.json cannot be read: {reason}") from error
    elif looks_like_repo_id(name):
        revision = resolve_revision(name, repo_type="model", revision=config.model.revision)
        with hub_errors(name, repo_type="model", revision=revision):
            found = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    else:
        raise ConfigError(
            f'model.name "{name}" is neither a folder that exists, nor a hub id, nor "{TINY_NAME}".'
        )
    return read_shape(found, num_labels=num_labels)


def _shape_of_tiny(config: Config, num_labels: int) -> ModelShape:
    """Take the sizes of model.tiny; the vocabulary is the one asked for, which short data may not fill."""
    vocab_size = -(-config.tokenization.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
    sizes = config.model.tiny.model_dump(exclude={"seed"})
    return ModelShape(**sizes, vocab_size=vocab_size, num_labels=num_labels)
