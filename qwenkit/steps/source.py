"""Which data set a command means: the one named, the one prepared last or, offline, the revision known."""

import json
from pathlib import Path
from typing import Any

from qwenkit.artifacts import Manifest, read_manifest
from qwenkit.config import Config
from qwenkit.config.schema_model import Dataset
from qwenkit.config.section import Section
from qwenkit.console import Console, safe_text
from qwenkit.data.sources import RAID, Source, dataset_id, resolve_raid, resolve_source
from qwenkit.errors import BusyError, ConfigError, HubError
from qwenkit.runs import Workspace
from qwenkit.stages import PREPARE


def find_source(config: Config, *, workspace: Workspace, console: Console) -> Source:
    """Resolve dataset.name; without a network the revision that was prepared before counts.

    Args:
        config: Without a dataset.name it is given that of the data set prepared last, and what it was
            prepared with where it says nothing else; raid without dataset.path likewise that of its sample
            prepared last.

    Raises:
        ConfigError: No data set is named and none is prepared.
        HubError: The hub cannot be asked, and nothing was prepared from it before.
    """
    settings = config.dataset
    if settings.name is None:
        _recall_last(config, workspace, console)
    if settings.name == RAID:
        return _find_raid(settings, workspace, console)
    try:
        return resolve_source(settings.name, revision=settings.revision, config_name=settings.config_name)
    except HubError as error:
        recalled = recall_source(workspace, settings.name) if settings.name else None
        if recalled is None:
            raise
        console.warn(f"{error} Taking what was prepared from revision {recalled.revision}.")
        return recalled


def recall_source(workspace: Workspace, name: str) -> Source | None:
    """Rebuild a hub data set's source from what was prepared of it before."""
    repo_id = dataset_id(name)
    for folder_name in (name, repo_id.replace("/", "--")):
        manifest = read_manifest(workspace.prepared(folder_name))
        described = manifest.counts if manifest else {}
        if manifest is not None and described.get("kind") == "hub" and described["origin"] == repo_id:
            return Source(
                name=name,
                folder_name=folder_name,
                kind="hub",
                origin=repo_id,
                identity=manifest.identity,
                repo_id=repo_id,
                revision=described["revision"],
                config_name=described.get("config_name"),
            )
    return None


def refuse_other_origin(
    folder: Path,
    origin: str,
    *,
    what: str = "holds data prepared from",
    advice: str = "rename one of them, use another --root, or remove the folder",
) -> None:
    """Keep what was made from two sources of one name apart.

    Args:
        what, advice: For the message: what lies there, and what to do about it.

    Raises:
        BusyError: The folder holds what was made from another source.
    """
    manifest = read_manifest(folder) if folder.exists() else None
    known = manifest.counts.get("origin") if manifest else None
    if known is not None and known != origin:
        raise BusyError(f"{folder} {what} {safe_text(known)}, not {safe_text(origin)}: {advice}.")


def _recall_last(config: Config, workspace: Workspace, console: Console) -> None:
    """Fill in the data set prepared last: its name, such that it is found again, and how it was prepared.

    What neither a file nor an option sets is as it was then: `tokenize` after `prepare --set
    model.label_column=topic` means these very rows, not those of a column "label".
    """
    folder = workspace.last_prepared()
    manifest = read_manifest(folder) if folder else None
    if folder is None or manifest is None:
        raise ConfigError("no data set is named and none is prepared: pass --dataset, e.g. --dataset 10k.")
    described = manifest.counts
    is_path = described["kind"] in ("file", "folder")
    config.dataset.name = str(described["origin"] if is_path else described["name"])
    known = manifest.settings | {"dataset.config_name": described.get("config_name")}
    changed = [name for name, value in known.items() if _fill_in(config, name, value)]
    shown = "".join(f", {name.rpartition('.')[2]} {_show(known[name])}" for name in changed)
    console.info(f"data set: {folder.parent.name} (the one prepared last{shown})")


def _fill_in(config: Config, name: str, value: Any) -> bool:
    """Set what is not set by anybody; tells whether that changed it."""
    section: Section = config
    *sections, key = name.split(".")
    for part in sections:
        section = section[part] if part in section else Section()
    if key not in section or key in section.model_fields_set or section[key] == value:
        return False
    section[key] = value
    return True


def _show(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return safe_text(value if isinstance(value, str) else json.dumps(value), limit=60)


def _find_raid(settings: Dataset, workspace: Workspace, console: Console) -> Source:
    """Find RAID's file: the one named, or the one that a sample of this size was last prepared from."""
    prepared = [
        manifest
        for folder in workspace.root.glob(f"datasets/{RAID}*/{PREPARE.folder}")
        if (manifest := read_manifest(folder)) and manifest.counts.get("kind") == RAID
    ]
    prepared.sort(key=lambda manifest: manifest.created_at)
    if settings.path is None:
        wanted = settings.max_rows
        found = [manifest for manifest in prepared if wanted in (None, _max_rows_of(manifest))]
        if found:
            settings.path, settings.max_rows = found[-1].counts["origin"], _max_rows_of(found[-1])
            rows = "all rows" if settings.max_rows is None else f"max_rows {settings.max_rows:,}"
            console.info(f"{RAID} is {safe_text(settings.path)}, {rows}, as it was prepared last")
    origin = settings.path and str(Path(settings.path).expanduser().resolve())
    known = [
        (manifest.counts["stamp"], manifest.identity["raid"])
        for manifest in prepared
        if manifest.counts["origin"] == origin
    ]
    return resolve_raid(settings.path, settings.max_rows, known=known[-1] if known else None)


def _max_rows_of(manifest: Manifest) -> int | None:
    return manifest.settings.get("dataset.max_rows")
