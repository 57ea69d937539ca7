"""What lies under a root, and in what state: up to date, stale and why, unfinished, corrupt."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qwenkit.artifacts import Manifest, read_manifest, verify
from qwenkit.changes import explain_changes
from qwenkit.errors import ArtifactError
from qwenkit.files import read_json
from qwenkit.runs import Workspace
from qwenkit.saved import BEFORE
from qwenkit.stages import EVALUATE, EXPORT, PREPARE, TOKENIZE, TRAIN, Stage

State = Literal["up to date", "stale", "missing", "corrupt"]


@dataclass(frozen=True)
class ArtifactState:
    """One artifact's state.

    Attributes:
        owner: The data set or run that it belongs to.
        reason: Why it is stale or corrupt, or what can be gone on from.
        detail: What is in it, in a few words.
        dataset: What the data set was called when it was prepared.
    """

    owner: str
    stage: str
    folder: Path
    state: State
    reason: str = ""
    fingerprint: str = ""
    detail: str = ""
    dataset: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "folder": str(self.folder)}


def list_states(
    workspace: Workspace, *, settings: Mapping[str, Any] | None, deep: bool
) -> list[ArtifactState]:
    """Look at every artifact under the root.

    Args:
        settings: All settings by dotted name; data artifacts made with others are stale.
            None compares with no config: then only what was remade upstream makes an artifact stale.
        deep: Check contents (sha256), not just sizes.
    """
    states: list[ArtifactState] = []
    fingerprints: dict[str, str] = {}
    for folder in sorted(workspace.root.glob("datasets/*")):
        if folder.is_dir():
            states += _dataset_states(workspace, folder.name, settings, fingerprints, deep)
    known = set(fingerprints.values())
    for run in workspace.runs():
        states += _run_states(run, known, deep)
    return states


def _dataset_states(
    workspace: Workspace,
    name: str,
    settings: Mapping[str, Any] | None,
    fingerprints: dict[str, str],
    deep: bool,
) -> Iterator[ArtifactState]:
    prepared = _look(name, PREPARE, workspace.prepared(name), {}, settings, deep)
    fingerprints[f"{name}/prepare"] = prepared.fingerprint
    yield prepared
    tokenized = sorted(path for path in workspace.tokenized(name, "x").parent.glob("[!.]*") if path.is_dir())
    if not tokenized:
        yield ArtifactState(name, TOKENIZE.name, workspace.tokenized(name, "x").parent, "missing")
    for folder in tokenized:
        state = _look(name, TOKENIZE, folder, {PREPARE.name: prepared.fingerprint}, settings, deep)
        fingerprints[f"{name}/tokenize/{folder.name}"] = state.fingerprint
        yield state


def _run_states(run: Path, data_fingerprints: set[str], deep: bool) -> Iterator[ArtifactState]:
    trained = _look(run.name, TRAIN, run / TRAIN.folder, {}, None, deep)
    manifest = None if trained.state in ("missing", "corrupt") else read_manifest(run / TRAIN.folder)
    remade = [
        name for name, made in (manifest.inputs if manifest else {}).items() if made not in data_fingerprints
    ]
    if remade:
        reason = f"{' and '.join(remade)} was remade or is gone"
        trained = replace(trained, state="stale", reason=reason)
    if trained.state == "missing":
        trained = replace(trained, reason=_list_checkpoints(run))
    yield trained
    for stage in (EVALUATE, EXPORT):
        folders = sorted(path for path in (run / stage.folder).glob("[!.]*") if path.is_dir())
        if not folders:
            yield ArtifactState(run.name, stage.name, run / stage.folder, "missing")
        for folder in folders:
            # What was measured before training, or on a checkpoint or an export, is not made from trained/.
            inputs = {TRAIN.name: trained.fingerprint} if _is_made_from_trained(stage, folder) else {}
            yield _look(run.name, stage, folder, inputs, None, deep)


def find_checkpoint_name(result: Path) -> str | None:
    """Name the checkpoint that an evaluation or export was made of; None for the trained model's own."""
    match = re.fullmatch(r"(?:[a-z]+-)?(checkpoint-\d+)", result.name)
    return match and match[1]


def _list_checkpoints(run: Path) -> str:
    steps = sorted(
        int(path.name.partition("-")[2]) for path in run.glob("checkpoint-[0-9]*") if path.is_dir()
    )
    return f"checkpoints of step {', '.join(map(str, steps))}" if steps else ""


def _is_made_from_trained(stage: Stage, folder: Path) -> bool:
    if stage is EXPORT:
        return find_checkpoint_name(folder) is None
    return folder.name != BEFORE and not folder.name.startswith(("checkpoint-", f"{EXPORT.folder}-"))


def _look(
    owner: str,
    stage: Stage,
    folder: Path,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any] | None,
    deep: bool,
) -> ArtifactState:
    try:
        if read_manifest(folder) is None:
            return ArtifactState(owner, stage.name, folder, "missing")
        manifest = verify(folder, deep=deep)
    except ArtifactError as error:
        return ArtifactState(owner, stage.name, folder, "corrupt", str(error))
    detail, dataset = _describe(stage, folder, manifest), _dataset_of(stage, manifest)
    reasons = [f"{name} was remade" for name, made in inputs.items() if manifest.inputs.get(name) != made]
    if settings is not None:
        reasons += explain_changes(manifest.settings, stage.read_settings(settings))
    state: State = "stale" if reasons else "up to date"
    return ArtifactState(
        owner, stage.name, folder, state, "; ".join(reasons), manifest.fingerprint, detail, dataset
    )


def _describe(stage: Stage, folder: Path, manifest: Manifest) -> str:
    """Say what is in an artifact; empty where its manifest does not tell."""
    counts = manifest.counts
    if stage is PREPARE and "written" in counts:
        return f"{sum(counts['written'].values()):,} rows"
    if stage is TOKENIZE and "train" in counts:
        return f"{counts['train']['tokens_kept']:,} tokens to train on"
    if stage is TRAIN and "steps" in counts:
        steps = f"{counts['steps']:,} steps, weights of step {counts['best_step'] or counts['steps']:,}"
        tokens = counts.get("micro_batches", {}).get("tokens")
        return steps + (f", micro-batches of {tokens:,} tokens" if tokens else "")
    if stage is EVALUATE and (folder / "metrics.json").is_file():
        auroc = read_json(folder / "metrics.json").get("auroc")
        return f"AUROC {auroc:.4f}" if isinstance(auroc, float) else ""
    return ""


def _dataset_of(stage: Stage, manifest: Manifest) -> str | None:
    """Name the data set as the user did; for a run, its folder's name."""
    named = manifest.counts.get("name") if stage is PREPARE else manifest.identity.get("dataset")
    return str(named) if named else None
