"""What a user may call a data set, and which bytes that name means today."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qwenkit.console import safe_text
from qwenkit.data.file_kinds import ACCEPTED, kind_of, stem_of, suffixes_of
from qwenkit.data.readers import list_data_files
from qwenkit.errors import ConfigError, DataError
from qwenkit.files import hash_file

ALIASES = {
    "10k": "codefactory4791/raid_aligned_10k",
    "100k": "codefactory4791/raid_aligned_100k",
    "1M": "codefactory4791/raid_aligned_1000k",
    "2M": "codefactory4791/raid_aligned_2000k",
}
DEMO = "demo"
RAID = "raid"

NAMES_HELP = (
    f"A data set is {', '.join([*ALIASES, DEMO, RAID])}, a hub id (owner/name), or a path to a "
    f"{ACCEPTED} file or a folder of them."
)


@dataclass(frozen=True)
class Source:
    """A data set that was found, pinned to its present content.

    Attributes:
        name: As the user wrote it.
        folder_name: Names its folder under datasets/: the alias, "demo", a file's stem, owner--name, or raid
            and the size of the sample.
        origin: Where it is, in full (hub id, absolute path, "demo"): tells two files of one stem apart.
        identity: What decides its content (hub revision, file hashes, demo revision), for the fingerprint.
        revision: Commit of a hub data set, 40 hexadecimal digits.
        config_name: Which configuration of a hub data set; None for its only or default one.
        stamp: Size and time of change of a file that is too long to be hashed by every command.
    """

    name: str
    folder_name: str
    kind: Literal["hub", "file", "folder", "demo", "raid"]
    origin: str
    identity: Mapping[str, str] = field(hash=False)
    repo_id: str | None = None
    revision: str | None = None
    config_name: str | None = None
    path: Path | None = None
    stamp: str | None = None

    @property
    def dataset_name(self) -> str:
        """The hub id where there is one (for an alias too), else the name as given."""
        return self.repo_id or self.name

    def describe(self) -> dict[str, str]:
        """Say what it is and where it came from, in plain values."""
        pinned = {"revision": self.revision} if self.revision else {}
        chosen = {"config_name": self.config_name} if self.config_name else {}
        stamped = {"stamp": self.stamp} if self.stamp else {}
        return {"name": self.name, "kind": self.kind, "origin": self.origin, **pinned, **chosen, **stamped}


def dataset_id(name: str) -> str:
    """Spell out an alias as its hub id; any other name stays as it is. Nothing is looked up."""
    return ALIASES.get(name, name)


def resolve_source(
    name: str | None, *, revision: str | None = None, config_name: str | None = None
) -> Source:
    """Find what a name means: alias or demo, then an existing path, then a hub id.

    Args:
        revision: Branch, tag or commit of a hub data set; paths and the demo have none.
        config_name: Configuration of a hub data set.

    Raises:
        ConfigError: No name, or one that is neither alias, path nor hub id; raid, which wants its file too.
        DataError: A path without data files.
        HubError: The hub has no such data set, or cannot be reached.
    """
    if not name or not name.strip():
        raise ConfigError(f"no data set is named. Set dataset.name or --dataset. {NAMES_HELP}")
    # Bare aliases win over a folder of that name in the working directory (write ./demo for the folder).
    if name == DEMO:
        return _resolve_demo()
    if name in ALIASES:
        return _resolve_hub(name, ALIASES[name], folder_name=name, revision=revision, config_name=config_name)
    if name == RAID:
        return resolve_raid(None, None)
    path = Path(name).expanduser()
    if path.is_file():
        return _resolve_file(name, path)
    if path.is_dir():
        return _resolve_folder(name, path)
    if _is_path_like(name):
        raise DataError(f"{safe_text(name)} does not exist (looked in {path.absolute().parent}).")
    if "/" in name and _is_repo_id(name):
        folder_name = name.replace("/", "--")
        return _resolve_hub(name, name, folder_name=folder_name, revision=revision, config_name=config_name)
    raise ConfigError(_explain_unknown(name))


def _resolve_demo() -> Source:
    from qwenkit.data.demo import DEMO_REVISION

    identity = {"demo_revision": str(DEMO_REVISION)}
    return Source(name=DEMO, folder_name=DEMO, kind="demo", origin=DEMO, identity=identity)


def resolve_raid(name: str | None, max_rows: int | None, *, known: tuple[str, str] | None = None) -> Source:
    """Find RAID's file; a sample of each size has a folder of its own.

    Args:
        name: Where it lies.
        known: Stamp and hash of the file as it was before; with the same stamp, or where the file is gone,
            the hash still holds.

    Raises:
        ConfigError: No file is named.
        DataError: It does not exist, or is no RAID file.
    """
    from qwenkit.data.raid import choose_raid_columns

    if name is None:
        raise ConfigError(
            f"the data set {RAID} wants its file: download https://dataset.raid-bench.xyz/train.csv (11 GB) "
            "and add --set dataset.path=train.csv."
        )
    path = Path(name).expanduser()
    is_gone = known is not None and not path.exists()
    if not is_gone and not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(
            f"{safe_text(str(path))} {found} (looked in {path.absolute().parent}): set dataset.path to "
            "RAID's train.csv."
        )
    stamp = known[0] if known is not None and is_gone else _stamp_file(path)
    if known is not None and known[0] == stamp:
        content = known[1]
    else:
        # Before eleven gigabytes are hashed.
        choose_raid_columns(path)
        content = hash_file(path)
    return Source(
        name=RAID,
        folder_name=RAID if max_rows is None else f"{RAID}-{_short_count(max_rows)}",
        kind="raid",
        origin=str(path.resolve()),
        identity={"raid": content},
        path=path,
        stamp=stamp,
    )


def _stamp_file(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} bytes, changed at {status.st_mtime_ns} ns"


def _short_count(count: int) -> str:
    """Write 100000 as 100k and 2000000 as 2M, and what is no round number in full."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if count % unit == 0:
            return f"{count // unit}{letter}"
    return str(count)


def _resolve_hub(
    name: str, repo_id: str, *, folder_name: str, revision: str | None, config_name: str | None
) -> Source:
    from qwenkit.hub import resolve_revision

    commit = resolve_revision(repo_id, repo_type="dataset", revision=revision)
    identity = {"repo_id": repo_id, "revision": commit, "config_name": config_name or ""}
    return Source(
        name=name,
        folder_name=folder_name,
        kind="hub",
        origin=repo_id,
        identity=identity,
        repo_id=repo_id,
        revision=commit,
        config_name=config_name,
    )


def _resolve_file(name: str, path: Path) -> Source:
    refuse_other_suffix(path)
    # The suffix counts (it chooses the reader), the stem does not: a renamed file is the same data.
    identity = {suffixes_of(path): hash_file(path)}
    origin = str(path.resolve())
    return Source(
        name=name,
        folder_name=_folder_name(stem_of(path)),
        kind="file",
        origin=origin,
        identity=identity,
        path=path,
    )


def refuse_other_suffix(path: Path) -> None:
    """Refuse a file whose name is that of no kind of data."""
    if kind_of(path) is None:
        found = safe_text(path.suffix) or "no suffix"
        raise DataError(f"{safe_text(str(path))} has {found}; data files are {ACCEPTED}.")


def _resolve_folder(name: str, path: Path) -> Source:
    # Names count here: they say which split a file belongs to.
    identity = {file.relative_to(path).as_posix(): hash_file(file) for file in list_data_files(path)}
    resolved = path.resolve()
    return Source(
        name=name,
        folder_name=_folder_name(resolved.name),
        kind="folder",
        origin=str(resolved),
        identity=identity,
        path=path,
    )


def _folder_name(stem: str) -> str:
    """Reduce a stem to what is safe as a folder name everywhere: letters of any script, digits, `_ . + -`."""
    return re.sub(r"[^\w.+-]+", "_", stem).strip("._") or "data"


def _is_path_like(name: str) -> bool:
    return (
        name.startswith(("/", "./", "../", "~"))
        or name.endswith("/")
        or name.count("/") > 1
        or kind_of(Path(name)) is not None
    )


def _is_repo_id(name: str) -> bool:
    from qwenkit.hub import looks_like_repo_id

    return looks_like_repo_id(name)


def _explain_unknown(name: str) -> str:
    known = {alias.casefold(): alias for alias in [*ALIASES, DEMO, RAID]}
    nearest = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    hint = f" Did you mean {known[nearest[0]]}?" if nearest else ""
    shown = safe_text(name, limit=80)
    return f'"{shown}" is no known data set, no file or folder here, and no hub id.{hint} {NAMES_HELP}'
