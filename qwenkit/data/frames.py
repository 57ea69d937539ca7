"""Whatever holds rows becomes polars frames: hub data sets, folders, the demo, objects a user hands over."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from qwenkit.config.schema_model import Dataset
from qwenkit.console import Console, safe_text
from qwenkit.data.readers import list_data_files, read_file, refuse_no_rows
from qwenkit.data.shards import Drift, join_shards
from qwenkit.data.sources import Source
from qwenkit.errors import ConfigError, DataError

UNSPLIT = "all"

# The three roles, each with the names that data sets in the wild give it.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}

_ONE_SET = "{} files read as one set, since no name starts with train, validation or test"
_HASHED_ROWS = 20_000
STREAMED_AHEAD_BYTES = 2**19
"""Read of a streamed file after each part that is asked for."""

# How datasets says that a set has several configurations: not named, not there, not in the offline cache.
_CONFIG_NAME_SIGNS = ("Config name is missing", "BuilderConfig", "Couldn't find cache for")


@dataclass(frozen=True)
class RawData:
    """Rows as they came, before any cleaning.

    Attributes:
        splits: By the source's own split names; {"all": frame} for data that came in one piece.
        notes: What a person should know about how it was read.
        left_out: Rows that were read and not taken, by split, where there are any.
        drift: How the files of a folder differ; nothing where there is one.
    """

    splits: Mapping[str, pl.DataFrame]
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)


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
            from qwenkit.data.streaming import stream_hub_splits

            return stream_hub_splits(
                source.repo_id, source.revision, source.config_name, settings=settings, console=console
            )
        return RawData(load_hub_splits(source.repo_id, source.revision, source.config_name))
    if source.kind == "demo":
        from qwenkit.data.demo import make_demo_rows

        return to_raw(make_demo_rows())
    assert source.path is not None
    if source.kind == "raid":
        from qwenkit.data.raid import read_raid

        return read_raid(source.path, max_rows=settings.max_rows, seed=settings.shuffle_seed, console=console)
    if source.kind == "file":
        return split_by_column(read_file(source.path))
    return read_folder(source.path)


def load_hub_splits(repo_id: str, revision: str, config_name: str | None = None) -> dict[str, pl.DataFrame]:
    """Load every split of a hub data set, through the datasets library and its cache.

    Args:
        revision: The commit, 40 hexadecimal digits.

    Raises:
        ConfigError: The data set has several configurations and none, or an unknown one, is named.
        HubError: It cannot be had.
    """
    from qwenkit.hub import check_loaded_revision, hub_errors

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


def split_by_column(frame: pl.DataFrame) -> RawData:
    """Take a set apart by its column `split` if every value there names a split; else it is in one piece."""
    if "split" not in frame.columns or frame.schema["split"] != pl.String:
        return RawData({UNSPLIT: frame})
    values = frame["split"].unique(maintain_order=True).to_list()
    roles = {value: role for role, names in SPLIT_NAMES.items() for value in values if value in names}
    if len(roles) < len(values) or "train" not in roles.values():
        return RawData({UNSPLIT: frame}, tuple(_explain_unused(frame["split"], roles)))
    role = pl.col("split").replace_strict(roles)
    splits = {name: frame.filter(role == name) for name in SPLIT_NAMES if name in roles.values()}
    return RawData(splits, ('split as the column "split" says',))


def _explain_unused(values: pl.Series, roles: Mapping[str, str]) -> Iterator[str]:
    """Say why a column that does name splits is not followed."""
    if not roles:
        return
    other = next((value for value in values.unique(maintain_order=True) if value not in roles), None)
    missing = f'rows with "{safe_text(other, limit=40)}"' if other else "rows without a value"
    why = "no row of train" if len(roles) == values.n_unique() else missing
    yield f'the column "split" is not followed, for it has {why}: all rows are taken as one set'


def to_raw(data: Any) -> RawData:
    """Accept rows in memory: a mapping of split name to rows (a DatasetDict too), or one set of rows."""
    if isinstance(data, RawData):
        return data
    if isinstance(data, Mapping) and data and all(_is_rows(rows) for rows in data.values()):
        return RawData({str(name): to_frame(rows) for name, rows in data.items()})
    return split_by_column(to_frame(data))


def to_frame(data: Any) -> pl.DataFrame:
    """Turn one set of rows into a polars frame.

    Args:
        data: polars, pandas, pyarrow, a datasets.Dataset (class labels become their names), a list of
            dicts (one a row) or a dict of lists (one a column).

    Raises:
        DataError: It is something else, or its rows do not fit together.
    """
    try:
        if isinstance(data, pl.LazyFrame):
            return data.collect()
        if isinstance(data, pl.DataFrame):
            return data
        if _is_from(data, "datasets", "Dataset"):
            return _name_classes(data.to_polars(), data.features)
        if _is_from(data, "pandas", "DataFrame"):
            return pl.from_pandas(data)
        if _is_from(data, "pyarrow", "Table"):
            return pl.DataFrame(data)
        if isinstance(data, Mapping):
            return pl.DataFrame(dict(data))
        if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
            return pl.DataFrame(list(data), infer_schema_length=None)
    except (PolarsError, TypeError, ValueError, UnicodeEncodeError) as error:
        raise DataError(
            f"the {type(data).__name__} given as rows does not fit into columns: {error}"
        ) from error
    raise DataError(
        "rows are expected as a DataFrame, a datasets.Dataset, a pyarrow.Table, a list of dicts or a dict of "
        f"lists; found {'nothing' if isinstance(data, Sequence) and not data else type(data).__name__}."
    )


def frame_identity(frame: pl.DataFrame) -> str:
    """Hash column names, types and values: the same for equal content, however it lies in memory.

    Python's ASCII form of the rows is what is hashed. Arrow buffers differ by slicing and by what lies under
    a null, JSON makes NaN and null one, and polars' own hash changes between versions.

    Raises:
        DataError: A column holds Python objects, which have no content to hash.
    """
    objects = [name for name, dtype in frame.schema.items() if dtype == pl.Object]
    if objects:
        raise DataError(f"the column {safe_text(objects[0])} holds Python objects, not values.")
    digest = hashlib.sha256(ascii(list(frame.schema.items())).encode())
    for rows in frame.iter_slices(_HASHED_ROWS):
        digest.update(ascii(rows.rows()).encode())
    return digest.hexdigest()


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


def _is_rows(data: Any) -> bool:
    """Tell a set of rows from a single column: a column is a plain list, an array or a Series."""
    if isinstance(data, list):
        return bool(data) and all(isinstance(row, Mapping) for row in data)
    return isinstance(data, (Mapping, pl.DataFrame, pl.LazyFrame)) or any(
        _is_from(data, *kind)
        for kind in (("datasets", "Dataset"), ("pandas", "DataFrame"), ("pyarrow", "Table"))
    )


def _is_from(data: Any, package: str, class_name: str) -> bool:
    """Tell a library's class without importing the library."""
    return any(
        base.__module__.split(".")[0] == package and base.__name__ == class_name
        for base in type(data).__mro__
    )


def _name_classes(frame: pl.DataFrame, features: Mapping[str, Any]) -> pl.DataFrame:
    """Replace the integers of class-label columns by their names; -1 (no label, as in GLUE) by null."""
    named = {
        column: dict(enumerate(feature.names))
        for column, feature in features.items()
        if _is_from(feature, "datasets", "ClassLabel")
    }
    return frame.with_columns(
        pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)
        for column, names in named.items()
    )
