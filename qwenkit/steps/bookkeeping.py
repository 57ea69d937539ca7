"""What the pipeline remembers: what its steps made, what a user put in, and what need not be made again."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qwenkit.artifacts import Staging, read_manifest
from qwenkit.config import Config, flatten_config
from qwenkit.console import Console
from qwenkit.errors import ArtifactError, BusyError, ConfigError
from qwenkit.ranks import find_ranks
from qwenkit.stages import PREPARE, TOKENIZE, TRAIN, Stage, StagePlan
from qwenkit.steps.order import STEPS, TRAINING_STEPS

# The main rank makes these by itself; in the others all ranks take part.
MADE_ONCE = (PREPARE, TOKENIZE)


class Bookkeeper:
    """Keeps the plans of a pipeline's stages and tells its own objects from the user's."""

    def __init__(self, owner: Any, console: Console, *, forced: Collection[str]) -> None:
        """Start empty.

        Args:
            owner: The pipeline whose attributes and steps these are.
            forced: Names of the stages to redo even where they are up to date.
        """
        self.plans: dict[str, StagePlan] = {}
        # Of the stages that the main rank has still to make for the others.
        self._awaited: dict[str, StagePlan] = {}
        self._owner = owner
        self._console = console
        self._forced = set(forced)
        self._made: dict[str, Any] = {}
        self._bases: dict[str, Mapping[str, Any]] = {}

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
        """Settle what a stage would make; its inputs, unless given, are the plans of the stages before it.

        Raises:
            ConfigError: Other ranks wait for something else of this stage.
        """
        if inputs is None:
            inputs = {name: self.plans[name].fingerprint for name in stage.upstream if name in self.plans}
        settings = stage.read_settings(flatten_config(config))
        plan = StagePlan(stage, folder, settings, inputs, dict(identity), seed)
        awaited = self._awaited.get(stage.name)
        if awaited is not None and awaited.fingerprint != plan.fingerprint:
            raise ConfigError(
                f"the other ranks wait for {awaited.folder}, and what it is made from was changed before it "
                "was there: run `qwenkit prepare --dataset ...` first, in one process (for token ids "
                "`qwenkit tokenize` too)."
            )
        self.plans[stage.name] = plan
        return plan

    def must_make(self, plan: StagePlan, *, say: bool = True) -> bool:
        """Decide whether a stage has to run, and say why or why not.

        Where several ranks work, all come to the same answer; of what is made once, the main rank alone hears
        that it must, and the others wait until it is there.
        """
        ranks, is_made_once = find_ranks(), plan.stage in MADE_ONCE
        # The main rank says what it is that the others wait for: the same folder may be made more than once.
        event = ranks.decide(lambda: _name_event(plan)) if is_made_once else ""
        if is_made_once and not ranks.is_main:
            ranks.wait_for(event)
            return False
        reasons = self._find_reasons(plan) if is_made_once else ranks.decide(lambda: self._find_reasons(plan))
        if say and not reasons:
            self._console.info("up to date, skipped")
        elif say and reasons != ["not made yet"]:
            self._console.info(f"redone: {'; '.join(reasons)}")
        if is_made_once and not reasons:
            ranks.announce(event)
        elif is_made_once and ranks.world_size > 1:
            self._awaited[plan.stage.name] = plan
        return bool(reasons)

    @contextmanager
    def publish(self, plan: StagePlan) -> Iterator[Staging]:
        """Make what the main rank makes by itself, and tell the others when it is in place."""
        with plan.publish(replace=True) as staging:
            yield staging
        self._awaited.pop(plan.stage.name, None)
        find_ranks().announce(_name_event(plan))

    def _find_reasons(self, plan: StagePlan) -> list[str]:
        # Before the work that would end there.
        plan.refuse_foreign()
        return ["--force"] if self.is_forced(plan.stage) else plan.find_reasons_to_redo()

    def refuse_other_results(self, plan: StagePlan) -> None:
        """Keep results that a user put into a folder of their choice, if they are not of this model and kind.

        Raises:
            BusyError: Other results lie there, and no --force was given.
        """
        try:
            manifest = None if self.is_forced(plan.stage) else read_manifest(plan.folder)
        except ArtifactError:
            return
        if manifest is None or manifest.stage != plan.stage.name:
            return
        is_same_model = manifest.inputs.get(TRAIN.name) == plan.inputs.get(TRAIN.name)
        if is_same_model and manifest.identity.keys() == plan.identity.keys():
            return
        what = "of another kind" if is_same_model else "of another model"
        raise BusyError(
            f"{plan.folder} holds results {what}: choose another folder with --out, or overwrite them "
            "with --force."
        )

    def is_forced(self, stage: Stage) -> bool:
        """Tell whether a stage is redone even where it is up to date."""
        return stage.name in self._forced

    def put(self, name: str, value: Any) -> None:
        """Set an attribute of the pipeline as the result of a step."""
        setattr(self._owner, name, value)
        self._made[name] = value

    def fill(self, values: Mapping[str, Any]) -> None:
        """Set attributes as the result of a step, but for those that hold a user's object."""
        for name, value in values.items():
            if not self.has_users(name):
                self.put(name, value)

    def has_users(self, *names: str) -> bool:
        """Tell whether one of these attributes holds an object that no step made."""
        found = {name: self._peek(name) for name in names}
        return any(value is not None and value is not self._made.get(name) for name, value in found.items())

    def require(self, step: str) -> None:
        """Run each step up to this one that has not run, or worked from something else, and say so."""
        owner = self._owner
        if step == "create_trainer" and owner.trained_folder is not None and self._find_changes(step):
            # What was trained is another model than the one that is asked for now.
            owner.model = owner.model if self.has_users("model") else None
            owner.trainer = owner.trained_folder = None
        for name in list(STEPS)[: list(STEPS).index(step) + 1]:
            if owner.trained_folder is not None and (name in TRAINING_STEPS or step == "train"):
                continue
            lacks = any(self._peek(attribute) is None for attribute in STEPS[name].provides)
            changes = [] if lacks else self._find_changes(name)
            if not lacks and not changes:
                continue
            if name != "load_config":
                why = "which has not run yet" if lacks else f"since {', '.join(changes)} changed"
                self._console.info(f"first {name}(), {why}")
            getattr(owner, name)()

    def note_basis(self, step: str) -> None:
        """Remember what a step worked from, now that it is done."""
        if step in STEPS:
            self._bases[step] = self._describe_basis(step)

    def _find_changes(self, step: str) -> list[str]:
        """Name what a step worked from that is another value or another object now."""
        known = self._bases.get(step)
        if known is None:
            return []
        now = self._describe_basis(step)
        return [name for name, value in now.items() if not _is_same(name, known.get(name), value)]

    def _describe_basis(self, step: str) -> dict[str, Any]:
        config = self._owner.config
        settings = {} if config is None else flatten_config(config)
        return STEPS[step].describe_basis(settings, self._peek)

    def _peek(self, name: str) -> Any:
        """Look at an attribute without having it made (steps/on_demand.py)."""
        held = vars(self._owner)
        return held[name] if name in held else getattr(self._owner, name)


def _name_event(plan: StagePlan) -> str:
    return f"{plan.stage.name} {plan.folder} {plan.fingerprint}"


def _is_same(name: str, old: Any, new: Any) -> bool:
    if old is new:
        return True
    # Settings, which have dotted names, are plain values, mappings included. To compare rows or tensors could
    # take long, or give no single answer.
    is_plain = "." in name or isinstance(new, str | int | float | bool | list | tuple)
    return is_plain and type(old) is type(new) and old == new
