"""Reads the rows of a source, whatever it is: a hub data set, RAID, a file, a folder of files, the demo."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import polars as pl

from qwenkit.config.schema_model import Dataset
from qwenkit.console import Console, safe_text
from qwenkit.data.frames import SPLIT_NAMES, RawData, split_by_column, to_raw
from qwenkit.data.hub_splits import load_hub_splits
from qwenkit.data.raid import read_raid
from qwenkit.data.readers import list_data_files, read_file, refuse_no_rows
from qwenkit.data.shards import Drift, join_shards
from qwenkit.data.sources import Source
from qwenkit.data.streaming import stream_hub_splits
from qwenkit.errors import ConfigError

_ONE_SET = "{} files read as one set, since no name starts with train, validation or test"


def load_source(
    source: Source, settings: Dataset | None = None, *, console: Console | None = None
) -> RawData:
    """Read the rows of a source that `resolve_source` found.

    Args:
        settings: How much is wanted of what need not be read whole, RAID and a streamed set; None is all.
        console: Shows how far what is read in parts is read.

    Raises:
        ConfigError: Streaming is asked of what is not on the hub.
        DataError: A file is missing, empty or broken.
        HubError: The data set cannot be downloaded.
    """
    settings = settings or Dataset()
    if settings.streaming and source.kind not in ("hub", "raid"):
        raise ConfigError(
            f"dataset.streaming is for hub data sets, and {safe_text(source.name)} is none: set it to false."
        )
    if source.kind == "hub":
        assert source.repo_id is not None and source.revision is not None
        if settings.streaming:
            return stream_hub_splits(
                source.repo_id, source.revision, source.config_name, settings=settings, console=console
            )
        return RawData(load_hub_splits(source.repo_id, source.revision, source.config_name))
    if source.kind == "demo":
        from qwenkit.data.demo import make_demo_rows

        return to_raw(make_demo_rows())
    assert source.path is not None
    if source.kind == "raid":
        return read_raid(source.path, max_rows=settings.max_rows, seed=settings.shuffle_seed, console=console)
    if source.kind == "file":
        return split_by_column(read_file(source.path))
    return read_folder(source.path)


def read_folder(folder: Path) -> RawData:
    """Read a folder of data files; train-0.parquet or test/a.csv name a split, without such it is one set."""
    files = list_data_files(folder)
    by_role: dict[str, list[Path]] = {role: [] for role in SPLIT_NAMES}
    unnamed: list[Path] = []
    for path in files:
        role = _role_of(path.relative_to(folder))
        (by_role[role] if role else unnamed).append(path)
    if len(unnamed) == len(files):
        frame, drift = _read_shards(files)
        raw = split_by_column(frame)
        notes = [] if len(files) == 1 else [_ONE_SET.format(len(files)), *drift.describe()]
        return replace(raw, notes=(*raw.notes, *notes), drift=drift)
    notes = []
    if unnamed:
        names = ", ".join(safe_text(path.relative_to(folder).as_posix()) for path in unnamed)
        notes.append(f"not read, since no split is in the name while other files have one: {names}")
    read = {role: _read_shards(paths) for role, paths in by_role.items() if paths}
    drift = reduce(Drift.join, (found for _, found in read.values()))
    splits = {role: frame for role, (frame, _) in read.items()}
    return RawData(splits, (*notes, *drift.describe()), drift=drift)


def _role_of(relative: Path) -> str | None:
    """Read a split off the first word of a file's name, else of a folder above: not off testimonials.csv."""
    for part in (relative.stem, *reversed(relative.parent.parts)):
        first_word = re.match(r"[a-z]*", part.lower())
        for role, names in SPLIT_NAMES.items():
            if first_word and first_word.group() in names:
                return role
    return None


def _read_shards(paths: Sequence[Path]) -> tuple[pl.DataFrame, Drift]:
    frames = {path: read_file(path, may_be_empty=len(paths) > 1) for path in paths}
    if not any(frame.height for frame in frames.values()):
        refuse_no_rows(paths[0].parent, frames[paths[0]])
    return join_shards(frames)
