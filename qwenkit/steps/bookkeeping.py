"""What the pipeline remembers: what its steps made, what a user put in, and what need not be made again."""

import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.artifacts import read_manifest
from qwenkit.config import Config, flatten_config
from qwenkit.console import Console
from qwenkit.errors import BusyError
from qwenkit.runs import Workspace
from qwenkit.stages import Stage, StagePlan

if TYPE_CHECKING:
    from qwenkit.data.sources import Source


class Bookkeeper:
    """Keeps the plans of a pipeline's stages and tells its own objects from the user's."""

    def __init__(self, console: Console, *, forced: Collection[str]) -> None:
        """Start empty.

        Args:
            forced: Names of the stages to redo even where they are up to date.
        """
        self.plans: dict[str, StagePlan] = {}
        self._console = console
        self._forced = set(forced)
        self._made: dict[str, Any] = {}

    def plan(
        self,
        stage: Stage,
        folder: Path,
        *,
        config: Config,
        identity: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        seed: int | None = None,
    ) -> StagePlan:
        """Settle what a stage would make; its inputs, unless given, are the plans of the stages before it."""
        if inputs is None:
            inputs = {name: self.plans[name].fingerprint for name in stage.upstream if name in self.plans}
        settings = stage.read_settings(flatten_config(config))
        self.plans[stage.name] = StagePlan(stage, folder, settings, inputs, dict(identity), seed)
        return self.plans[stage.name]

    def must_make(self, plan: StagePlan, *, say: bool = True) -> bool:
        """Decide whether a stage has to run, and say why or why not."""
        reasons = ["--force"] if plan.stage.name in self._forced else plan.find_reasons_to_redo()
        if say and not reasons:
            self._console.info("up to date, skipped")
        elif say and reasons != ["not made yet"]:
            self._console.info(f"redone: {'; '.join(reasons)}")
        return bool(reasons)

    def note_made(self, name: str, value: Any) -> None:
        """Remember that a step put this object there."""
        self._made[name] = value

    def is_users(self, name: str, value: Any) -> bool:
        """Tell whether an object is there that no step made."""
        return value is not None and value is not self._made.get(name)


def identify_rows(datasets: Mapping[str, Any]) -> dict[str, Any]:
    """Identify rows that a user put in by their content; what cannot be read is never the same twice."""
    from qwenkit.data.frames import frame_identity, to_frame
    from qwenkit.errors import DataError

    try:
        return {f"rows_{name}": frame_identity(to_frame(rows)) for name, rows in datasets.items()}
    except DataError:
        return {"rows": uuid.uuid4().hex}


def refuse_other_origin(folder: Path, origin: str) -> None:
    """Keep two sources of one name apart.

    Raises:
        BusyError: The folder holds data prepared from another source.
    """
    manifest = read_manifest(folder) if folder.exists() else None
    known = manifest.counts.get("origin") if manifest else None
    if known is not None and known != origin:
        raise BusyError(
            f"{folder} holds data prepared from {known}, not from {origin}: rename one of them, "
            "use another --root, or remove the folder."
        )


def recall_source(workspace: Workspace, name: str) -> "Source | None":
    """Rebuild a hub data set's source from what was prepared of it before: offline, that revision counts."""
    from qwenkit.data.sources import Source, dataset_id

    for folder_name in (name, dataset_id(name).replace("/", "--")):
        manifest = read_manifest(workspace.prepared(folder_name))
        described = manifest.counts if manifest else {}
        if (
            manifest is not None
            and described.get("kind") == "hub"
            and described["origin"] == dataset_id(name)
        ):
            return Source(
                name=name,
                folder_name=folder_name,
                kind="hub",
                origin=described["origin"],
                identity=manifest.identity,
                repo_id=described["origin"],
                revision=described["revision"],
                config_name=described.get("config_name"),
            )
    return None
