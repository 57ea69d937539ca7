"""Some rows of a hub data set that is not downloaded: scattered row groups of its Parquet files."""

from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import numpy as np
import polars as pl

from qwenkit.config.schema_model import Dataset
from qwenkit.console import Console, safe_text
from qwenkit.data.frames import RawData, to_frame
from qwenkit.data.hub_splits import open_hub_dataset
from qwenkit.data.splits import find_roles
from qwenkit.errors import DataError
from qwenkit.hub import hub_errors
from qwenkit.stages import SPLITS

# Files whose row groups are listed at a time; each costs a request or two for its footer.
LISTED_FILES = 32
# A file may be sorted by label: rows come from so many pieces at least, as far as there are that many.
SCATTER = 16
BATCH_ROWS = 1000


def stream_hub_splits(
    repo_id: str,
    revision: str,
    config_name: str | None,
    *,
    settings: Dataset,
    console: Console | None = None,
) -> RawData:
    """Read about as many rows of each split as max_rows and split_ratios want of it.

    Parquet files are read by row groups, in a random order that the seed and the commit decide; of any other
    format, files are read from their beginning. What is fetched is then, besides the rows, the rest of their
    row groups, half a megabyte that is read ahead after each, and the footer of the file for each.

    Args:
        revision: The commit, 40 hexadecimal digits.

    Returns:
        The splits under their own names, with up to a batch of rows more than wanted, to be cut off by label.

    Raises:
        ConfigError: The data set has several configurations and none, or an unknown one, is named.
        DataError: There are splits, but none to train on.
        HubError: It cannot be had.
    """
    assert settings.max_rows is not None
    console = console or Console(quiet=True)
    names = (settings.train_split, settings.validation_split, settings.test_split)
    ratios = dict(zip(SPLITS, settings.split_ratios, strict=True))
    frames = {}
    with hub_errors(repo_id, repo_type="dataset"):
        opened = open_hub_dataset(repo_id, revision, config_name, streaming=True)
        roles = find_roles(list(opened), dict(zip(SPLITS, names, strict=True)))
        whole = sum(ratios.get(role, 1.0) for role in roles)
        for role, name in roles.items():
            n_rows = ceil(settings.max_rows * ratios.get(role, 1.0) / whole)
            with console.progress(f"streaming {safe_text(name)}", total=n_rows, unit="rows") as bar:
                rows = stream_rows(opened[name], n_rows, seed=settings.shuffle_seed, on_read=bar.advance)
            frames[name] = rows
    counts = ", ".join(f"{safe_text(name)} {frame.height:,}" for name, frame in frames.items())
    return RawData(frames, (f"streamed, not downloaded: rows of scattered places ({counts})",))


def stream_rows(split: Any, n_rows: int, *, seed: int, on_read: Callable[[int], None]) -> pl.DataFrame:
    """Read rows from as many places as needed, in a random order of the places.

    Args:
        split: A datasets.IterableDataset as load_dataset gives it.
        on_read: Told how many rows came in, each time that some did.

    Returns:
        n_rows to n_rows + BATCH_ROWS rows, or all that there are; none comes twice.

    Raises:
        DataError: There is no row.
    """
    import datasets
    import pyarrow as pa

    tables: list[pa.Table] = []
    for table in _read_places(split, n_rows, seed=seed):
        tables.append(table)
        on_read(table.num_rows)
    if not tables:
        raise DataError(f"the split {safe_text(str(split.split))} has no rows.")
    table = pa.concat_tables(tables, promote_options="permissive")
    return to_frame(datasets.Dataset(table, info=datasets.DatasetInfo(features=split.features)))


def _read_places(split: Any, n_rows: int, *, seed: int) -> Iterator[Any]:
    """Read Arrow tables: an equal share of every place, then more of those that had enough for theirs."""
    unfinished: list[tuple[Any, int]] = []
    missing = n_rows
    for piece, n_pieces in _scatter(split, np.random.default_rng(seed)):
        share = min(ceil(n_rows / min(SCATTER, n_pieces)), missing)
        taken = 0
        for table in _read_batches(piece, share):
            taken += table.num_rows
            yield table
        missing -= taken
        if missing <= 0:
            return
        if taken >= share:
            unfinished.append((piece, taken))
    for piece, taken in unfinished:
        for table in _read_batches(piece.skip(taken), missing):
            missing -= table.num_rows
            yield table
        if missing <= 0:
            return


def _scatter(split: Any, dice: np.random.Generator) -> Iterator[tuple[Any, int]]:
    """Walk over the row groups of Parquet files, or whole files of any other format, in a random order.

    Yields:
        A piece, and how many there are beside it; the files of a large set are looked into some at a time.
    """
    n_groups = ceil(split.num_shards / LISTED_FILES)
    for group in dice.permutation(n_groups).tolist():
        # Every n-th file, as neighbours are more alike.
        pieces = split.shard(n_groups, group, contiguous=False).reshard()
        for index in dice.permutation(pieces.num_shards).tolist():
            yield pieces.shard(pieces.num_shards, index), pieces.num_shards


def _read_batches(piece: Any, n_rows: int) -> Iterator[Any]:
    """Read Arrow tables until there are so many rows, or no more."""
    for table in piece.with_format("arrow").iter(batch_size=min(n_rows, BATCH_ROWS)):
        yield table
        n_rows -= table.num_rows
        if n_rows <= 0:
            return
