"""The splits of a hub data set, through the datasets library and its cache."""

from typing import Any

import polars as pl

from qwenkit.data.frames import to_frame
from qwenkit.errors import ConfigError
from qwenkit.hub import check_loaded_revision, hub_errors

STREAMED_AHEAD_BYTES = 2**19
"""Read of a streamed file after each part that is asked for."""

# How datasets says that a set has several configurations: not named, not there, not in the offline cache.
_CONFIG_NAME_SIGNS = ("Config name is missing", "BuilderConfig", "Couldn't find cache for")


def load_hub_splits(repo_id: str, revision: str, config_name: str | None = None) -> dict[str, pl.DataFrame]:
    """Load every split of a hub data set, through the datasets library and its cache.

    Args:
        revision: The commit, 40 hexadecimal digits.

    Raises:
        ConfigError: The data set has several configurations and none, or an unknown one, is named.
        HubError: It cannot be had.
    """
    with hub_errors(repo_id, repo_type="dataset"):
        loaded = open_hub_dataset(repo_id, revision, config_name)
    for split in loaded.values():
        cache_files = [entry["filename"] for entry in split.cache_files]
        check_loaded_revision(repo_id, revision=revision, cache_files=cache_files)
    return {str(name): to_frame(split) for name, split in loaded.items()}


def open_hub_dataset(repo_id: str, revision: str, config_name: str | None, *, streaming: bool = False) -> Any:
    """Give the splits as a DatasetDict, or as an IterableDatasetDict of which nothing is downloaded yet.

    Raises:
        ConfigError: The data set has several configurations and none, or an unknown one, is named.
    """
    import datasets

    # Else 5 MB, which is more than many a row group.
    ahead = {"hf": {"block_size": STREAMED_AHEAD_BYTES}} if streaming else None
    try:
        return datasets.load_dataset(
            repo_id, name=config_name, revision=revision, streaming=streaming, storage_options=ahead
        )
    except ValueError as error:
        if not any(sign in str(error) for sign in _CONFIG_NAME_SIGNS):
            raise
        reason = " ".join(str(error).split()).partition(" Example of usage")[0]
        raise ConfigError(f"{repo_id}: {reason}. Set dataset.config_name.") from error
