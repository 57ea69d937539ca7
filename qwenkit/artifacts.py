"""Everything that a stage leaves on disk goes through here: staging, manifest, fingerprint, lock, verifying.

A stage writes into a hidden staging folder beside its target. The manifest is written last, everything is
fsynced, and one rename puts the folder in place. So a folder with a valid manifest IS a finished stage, and a
kill at any moment leaves either the old state or the new one, never something that looks whole and is not.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qwenkit.changes import explain_changes, flatten
from qwenkit.errors import ArtifactError, BusyError
from qwenkit.files import fsync, hash_file, translate_disk_errors, write_json
from qwenkit.versions import package_versions

MANIFEST_NAME = "manifest.json"
SCHEMA_VERSION = 1


class OutputFile(BaseModel):
    """One file of an artifact, as it was when it was published."""

    path: str
    bytes: int
    sha256: str


class Manifest(BaseModel):
    """What manifest.json holds: where an artifact comes from and what belongs to it."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    stage: str
    fingerprint: str
    settings: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    identity: dict[str, Any] = Field(default_factory=dict)
    outputs: list[OutputFile] = Field(default_factory=list)
    counts: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    seed: int | None = None
    duration_seconds: float = 0.0
    created_at: str = ""


@dataclass
class Staging:
    """A folder under construction; `folder` is where files go, `counts` what the manifest will tell."""

    folder: Path
    counts: dict[str, Any] = field(default_factory=dict)


def fingerprint(
    *,
    stage: str,
    revision: int,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    identity: Mapping[str, Any],
) -> str:
    """Name what a stage would make, from everything that decides it and nothing else (no times, no paths).

    Args:
        stage: Name of the stage.
        revision: The stage's own revision; a change of its code that changes its output counts it up.
        settings: Every setting that the stage reads, by dotted name.
        inputs: Fingerprint of each upstream stage.
        identity: What was really used: dataset revision or file hash, tokenizer content, base model revision.
    """
    facts = {
        "stage": stage,
        "revision": revision,
        "settings": dict(settings),
        "inputs": dict(inputs),
        "identity": dict(identity),
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


@contextmanager
def publish(
    target: Path,
    *,
    stage: str,
    fingerprint: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    identity: Mapping[str, Any],
    seed: int | None = None,
    counts: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> Iterator[Staging]:
    """Build an artifact in a staging folder and rename it onto `target` when the block ends well.

    Args:
        replace: An artifact that already lies at `target` gives way; without it that is an error.

    Raises:
        BusyError: Another process writes the same target, or something lies there and `replace` is off.
        ResourceError: The disk is full. The staging folder is gone, what was there before is untouched.
    """
    started = time.monotonic()
    with hold_lock(target), translate_disk_errors(target):
        _sweep_leftovers(target)
        if target.exists() and not replace:
            raise BusyError(
                f"{target} already exists and would be overwritten: pass --force, or choose another name."
            )
        staging = Staging(target.parent / f".{target.name}.staging-{os.getpid()}", dict(counts or {}))
        shutil.rmtree(staging.folder, ignore_errors=True)
        staging.folder.mkdir(parents=True)
        try:
            # Asked before the staging folder goes, which makes room again.
            with translate_disk_errors(target):
                yield staging
                manifest = Manifest(
                    stage=stage,
                    fingerprint=fingerprint,
                    settings=dict(settings),
                    inputs=dict(inputs),
                    identity=dict(identity),
                    outputs=describe_outputs(staging.folder),
                    counts=staging.counts,
                    versions=package_versions(),
                    seed=seed,
                    duration_seconds=round(time.monotonic() - started, 3),
                    created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                )
                # The manifest goes last: its existence says that the stage finished.
                write_json(staging.folder / MANIFEST_NAME, manifest.model_dump())
                _fsync_tree(staging.folder)
                _rename_into_place(staging.folder, target)
        finally:
            shutil.rmtree(staging.folder, ignore_errors=True)


@contextmanager
def hold_lock(target: Path) -> Iterator[None]:
    """Keep other processes from writing `target`; the operating system frees the lock if this process dies.

    Raises:
        BusyError: Another process holds it.
    """
    import filelock

    with translate_disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(target.parent / f".{target.name}.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise BusyError(
            f"{target} is being written by another qwenkit process: wait for it to end."
        ) from None
    try:
        yield
    finally:
        lock.release()


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of an artifact, or None where there is none (the stage never finished there).

    Raises:
        ArtifactError: A manifest is there but cannot be read.
    """
    path = folder / MANIFEST_NAME
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"{path} is not a manifest that this version reads ({reason}): remake it with --force."
        ) from error


def verify(folder: Path, *, deep: bool) -> Manifest:
    """Check that an artifact is whole: every file there with its size, and with `deep` its sha256 too.

    Bit flips in model files read back without a word, so whoever loads a model or checkpoint asks for `deep`.

    Raises:
        ArtifactError: Missing, unfinished, or a file is gone, cut or changed. The message names the file.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise ArtifactError(f"{folder} holds no finished artifact: it has no {MANIFEST_NAME}.")
    for output in manifest.outputs:
        path = folder / output.path
        if not path.is_file():
            raise ArtifactError(f"{folder} is corrupt: {output.path} is missing. Remake it with --force.")
        size = path.stat().st_size
        if size != output.bytes:
            found = f"{output.path} has {size} bytes, not {output.bytes}"
            raise ArtifactError(f"{folder} is corrupt: {found}. Remake it with --force.")
        if deep and hash_file(path) != output.sha256:
            raise ArtifactError(
                f"{folder} is corrupt: the content of {output.path} changed. Remake it with --force."
            )
    return manifest


def explain_staleness(
    manifest: Manifest, *, settings: Mapping[str, Any], inputs: Mapping[str, str], identity: Mapping[str, Any]
) -> list[str]:
    """Say in plain words why an artifact is not what would be made now, e.g. `max_length: 384 -> 512`."""
    reasons = explain_changes(manifest.settings, settings)
    reasons += [f"{name} was remade" for name in inputs if manifest.inputs.get(name) != inputs[name]]
    reasons += explain_changes(flatten(manifest.identity), flatten(identity))
    return reasons or ["it was made by another version of this stage"]


def describe_outputs(folder: Path) -> list[OutputFile]:
    """List the files under a folder (manifest excepted) with size and sha256, sorted by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_NAME)
    return [
        OutputFile(path=str(path.relative_to(folder)), bytes=path.stat().st_size, sha256=hash_file(path))
        for path in files
    ]


def _rename_into_place(staging: Path, target: Path) -> None:
    """Rename the finished folder onto its target; an old one must step aside for that."""
    if target.exists():
        aside = target.parent / f".{target.name}.old-{os.getpid()}"
        target.rename(aside)
        staging.rename(target)
        fsync(target.parent)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        staging.rename(target)
        fsync(target.parent)


def _sweep_leftovers(target: Path) -> None:
    """Remove what a killed process left beside the target; the lock is held, so nobody is writing there.

    A kill between the two renames of a replacement leaves the old folder aside and no target: it comes back.
    """
    for leftover in target.parent.glob(f".{target.name}.old-*"):
        if target.exists():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.rename(target)
    for leftover in target.parent.glob(f".{target.name}.staging-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _fsync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        fsync(path)
    fsync(folder)
