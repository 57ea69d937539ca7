"""Where things lie under the root: datasets, runs, exports, evaluations, and which run a command means.

A run folder that holds a run with other settings is never overwritten; this module decides the name.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from qwenkit.artifacts import Manifest, explain_staleness, read_manifest
from qwenkit.errors import ArtifactError, BusyError
from qwenkit.files import read_json, replace_file
from qwenkit.stages import PREPARE, TOKENIZE, TRAIN, StagePlan

SUMMARY_NAME, METRICS_NAME = "summary.json", "metrics.jsonl"


def short_name(name: str) -> str:
    """Turn a model or tokenizer name into a folder name: `Qwen/Qwen3-0.6B` -> `qwen3-0.6b`."""
    last = name.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.") or "model"


@dataclass(frozen=True)
class Workspace:
    """The folders under one root."""

    root: Path

    def prepared(self, dataset: str) -> Path:
        """Return the prepared folder of a data set."""
        return self.root / "datasets" / dataset / PREPARE.folder

    def tokenized(self, dataset: str, key: str) -> Path:
        """Return a tokenized folder; its key names tokenizer and length, so several lie side by side."""
        return self.root / "datasets" / dataset / TOKENIZE.folder / key

    def last_prepared(self) -> Path | None:
        """Find the data set prepared last, or None."""
        found: list[tuple[str, Path]] = []
        for folder in sorted(self.root.glob(f"datasets/*/{PREPARE.folder}")):
            manifest = read_manifest(folder)
            if manifest is not None and manifest.counts.get("kind") != "memory":
                found.append((manifest.created_at, folder))
        return max(found)[1] if found else None

    def find_prepared(self, dataset: str | None) -> Path | None:
        """Find what was prepared of a data set, without asking the hub or reading the data.

        Args:
            dataset: As it was given to prepare: an alias, a hub id, a path. None takes the one prepared last.
        """
        if dataset is None:
            return self.last_prepared()
        names = {dataset, str(Path(dataset).expanduser().resolve())}
        for folder in sorted(self.root.glob(f"datasets/*/{PREPARE.folder}")):
            manifest = read_manifest(folder)
            if manifest is not None and names & {manifest.counts.get("name"), manifest.counts.get("origin")}:
                return folder
        return None

    def find_tokenized(
        self, prepared: Path, *, max_length: int, truncation: bool
    ) -> tuple[Path, Manifest] | None:
        """Find the newest tokenized folder of prepared data that was cut in this way."""
        wanted = {"tokenization.max_length": max_length, "tokenization.truncation": truncation}
        found = [
            (folder, manifest)
            for folder in sorted((prepared.parent / TOKENIZE.folder).glob("[!.]*"))
            if (manifest := read_manifest(folder)) and wanted.items() <= manifest.settings.items()
        ]
        return max(found, key=lambda each: each[1].created_at, default=None)

    def runs(self) -> Iterator[Path]:
        """List the run folders, oldest first."""
        found = [path.parent for path in self.root.glob(f"*/{SUMMARY_NAME}")]
        yield from sorted(
            found, key=lambda run: (str(read_json(run / SUMMARY_NAME).get("started_at")), run.name)
        )

    def newest_run(self) -> Path:
        """Return the newest run that finished training.

        Raises:
            ArtifactError: There is none.
        """
        trained = [run for run in self.runs() if read_manifest(run / TRAIN.folder) is not None]
        if not trained:
            raise ArtifactError(
                f"{self.root} holds no trained run: run `qwenkit train` first, or name a model folder."
            )
        return trained[-1]


def choose_run_folder(
    workspace: Workspace, *, name: str, is_explicit: bool, plan: StagePlan, force: bool
) -> tuple[Path, str]:
    """Pick the folder for a run: its own if it was begun before, else the first free name.

    Returns:
        The folder, and why it is not `name` (an empty string where it is).

    Raises:
        BusyError: The name was given explicitly and holds a run with other settings.
    """
    reason = ""
    for candidate in _candidate_names(name, is_explicit=is_explicit):
        folder = workspace.root / candidate
        differences = _differences(folder, plan)
        # --force overwrites what was named; of runs that nobody named, only the very same one is redone.
        if not differences or (force and is_explicit):
            return folder, reason
        if is_explicit:
            raise BusyError(
                f"{folder} holds a run with other settings ({'; '.join(differences)}): "
                "choose another --run-name, or pass --force to overwrite it."
            )
        reason = reason or f"{folder.name} holds a run with other settings ({'; '.join(differences)})"
    raise AssertionError("the candidates have no end")


def _candidate_names(name: str, *, is_explicit: bool) -> Iterator[str]:
    yield name
    number = 2
    while not is_explicit:
        yield f"{name}-{number}"
        number += 1


def _differences(folder: Path, plan: StagePlan) -> list[str]:
    """Say how the run in `folder` differs from the planned one; empty where it is the same, or none."""
    if not folder.exists() or not any(folder.iterdir()):
        return []
    if not (folder / SUMMARY_NAME).exists():
        return ["it is not a run of qwenkit's"]
    begun = read_json(folder / SUMMARY_NAME).get("train", {})
    if begun.get("fingerprint") == plan.fingerprint:
        return []
    manifest = read_manifest(folder / TRAIN.folder)
    if manifest is None:
        facts = {key: begun.get(key, {}) for key in ("settings", "inputs", "identity")}
        manifest = Manifest(stage=TRAIN.name, fingerprint="", **facts)
    return explain_staleness(manifest, settings=plan.settings, inputs=plan.inputs, identity=plan.identity)


def write_summary(run: Path, *, plan: StagePlan, state: str, **facts: Any) -> None:
    """Record what a run is and how far it came; the first call marks the folder as this run's."""
    path = run / SUMMARY_NAME
    known = read_json(path) if path.exists() else {}
    same = known.get("train", {}).get("fingerprint") == plan.fingerprint
    now = datetime.now(UTC).isoformat(timespec="seconds")
    summary = {
        **(known if same else {}),
        "name": run.name,
        "state": state,
        "started_at": known.get("started_at", now) if same else now,
        "updated_at": now,
        "train": {
            "fingerprint": plan.fingerprint,
            "settings": dict(plan.settings),
            "inputs": dict(plan.inputs),
            "identity": dict(plan.identity),
        },
        **facts,
    }
    replace_file(path, json.dumps(summary, indent=2, allow_nan=False) + "\n")
