"""Which saved model a path means, where its results go, and what it was trained on."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from qwenkit.artifacts import Manifest, read_manifest
from qwenkit.errors import ArtifactError
from qwenkit.files import hash_tree
from qwenkit.runs import SUMMARY_NAME, Workspace
from qwenkit.stages import EVALUATE, EXPORT, TRAIN

MODEL_FILES = ("qwenkit.json", "config.json")
VALIDATION_PREDICTIONS = "validation_predictions.parquet"
MODEL_PATTERNS = ("*.json", "*.safetensors")
BEFORE, AFTER = "before", "after"
"""The evaluations of a run on its own test split, under evaluated/."""


@dataclass(frozen=True)
class SavedModel:
    """A model folder on disk.

    Attributes:
        folder: Holds the weights.
        run: The run of ours that it belongs to, or None for a folder from elsewhere.
        manifest: Says what it was trained on; for an export, that of the model it was made from.
    """

    folder: Path
    run: Path | None
    manifest: Manifest | None

    @property
    def is_trained(self) -> bool:
        """Whether it is the final model of a run, not a checkpoint or an export."""
        return self.run is not None and self.folder == self.run / TRAIN.folder

    @property
    def dataset(self) -> str | None:
        """Name of the data set folder that it was trained on."""
        return self.manifest.identity.get("dataset") if self.manifest else None

    @property
    def class_weights(self) -> list[float] | None:
        """Weights of the loss that it was trained with, in id order; None where that is not known."""
        return (self.manifest.identity.get("class_weights") or None) if self.manifest else None

    @property
    def title(self) -> str:
        """Name it for people."""
        if self.run is None or self.is_trained:
            return (self.run or self.folder.resolve()).name
        return f"{self.run.name}, {self.folder.name}"

    @property
    def fingerprint(self) -> str:
        """Identify the weights: by their manifest, or by their content where they are not ours."""
        own = read_manifest(self.folder)
        return own.fingerprint if own else f"sha256:{hash_tree(self.folder, MODEL_PATTERNS)}"

    @property
    def validation_predictions(self) -> Path | None:
        """Where the model's own predictions on validation lie; a checkpoint has none."""
        folders = [self.folder]
        if self.run is not None and self.manifest is not None and self.manifest.stage == TRAIN.name:
            folders.append(self.run / TRAIN.folder)
        paths = [folder / VALIDATION_PREDICTIONS for folder in folders]
        return next((path for path in paths if path.is_file()), None)

    def scored_folder(self, workspace: Workspace) -> Path:
        """Say where passes over changed texts are kept, for the next evaluation of the same weights."""
        return (self.run or workspace.root / "evaluations") / "scored"

    def export_folder(self, format_name: str, *, out: Path | None) -> Path:
        """Say where an export goes: exported/ in the run, unless the user says."""
        if out is not None or self.run is None:
            return (out or self.folder.parent) / format_name
        name = format_name if self.is_trained else f"{format_name}-{self.folder.name}"
        return self.run / EXPORT.folder / name

    def evaluation_folder(self, workspace: Workspace, data_name: str | None) -> Path:
        """Say where results go: evaluated/ in the run, never into a folder that is not ours."""
        if self.run is None:
            name = self.folder.resolve().name + (f"-{data_name}" if data_name else "")
            return workspace.root / "evaluations" / name
        if data_name in (BEFORE, AFTER):
            # A file of this name must not pass for the run's own test split.
            data_name = f"data-{data_name}"
        if self.is_trained:
            return self.run / EVALUATE.folder / (data_name or AFTER)
        name = self.folder.name if self.folder.parent == self.run else f"{EXPORT.folder}-{self.folder.name}"
        return self.run / EVALUATE.folder / (f"{name}-{data_name}" if data_name else name)


def find_model(path: Path | None, workspace: Workspace) -> SavedModel:
    """Resolve what a user names: a run, its trained/ or checkpoint folder, an export, any classifier folder.

    Args:
        path: None takes the newest trained run under the root.

    Raises:
        ArtifactError: There is no model there; the message says what was looked for.
    """
    folder = path if path is not None else workspace.newest_run()
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder: name a run, a checkpoint, an export or a model folder.")
    if (folder / SUMMARY_NAME).is_file():
        if read_manifest(folder / TRAIN.folder) is None:
            command = f"qwenkit train --config {shlex.quote(str(folder / 'config.yaml'))}"
            raise ArtifactError(
                f"{folder} has no {TRAIN.folder}/ yet: finish it with `{command}`, or name one of its "
                "checkpoints."
            )
        folder = folder / TRAIN.folder
    if not any((folder / name).is_file() for name in MODEL_FILES):
        raise ArtifactError(f"{folder} holds no model: it has neither {' nor '.join(MODEL_FILES)}.")
    run = next((parent for parent in list(folder.parents)[:2] if (parent / SUMMARY_NAME).is_file()), None)
    manifest = read_manifest(folder)
    if run is not None and manifest is not None and manifest.stage == EXPORT.name:
        manifest = read_manifest(run / TRAIN.folder)
    return SavedModel(folder=folder, run=run, manifest=manifest)
