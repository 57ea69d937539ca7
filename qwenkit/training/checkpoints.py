"""Checkpoints that are whole or not there: staged, verified, rotated by step, matched before a resume."""

import itertools
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers.trainer_callback import ExportableState

from qwenkit.artifacts import MANIFEST_NAME, Manifest, publish, verify
from qwenkit.changes import explain_changes
from qwenkit.errors import ArtifactError
from qwenkit.modeling.adapters import save_adapter
from qwenkit.modeling.classifier import quiet_transformers
from qwenkit.ranks import find_ranks
from qwenkit.training.plan import CHECKPOINT_STAGE, RunRecord

CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")


@contextmanager
def stage_checkpoint(
    target: Path, *, record: RunRecord, seed: int, counts: Mapping[str, Any], is_main: bool, world_size: int
) -> Iterator[Path]:
    """Give every rank the same staging folder; the main one publishes it when all have written.

    Raises:
        BusyError, ResourceError: As publish() does, on the main rank.
    """
    if world_size == 1:
        with _publish_checkpoint(target, record=record, seed=seed, counts=counts) as folder:
            yield folder
        return
    # Not by accelerate's exchanges: those between GPUs give up after 10 minutes, which writing and hashing a
    # large model can take.
    ranks = find_ranks()
    if is_main:
        with _publish_checkpoint(target, record=record, seed=seed, counts=counts) as folder:
            ranks.hand_out(lambda: str(folder))
            yield folder
            ranks.gather(None)
    else:
        yield Path(ranks.hand_out(str))
        ranks.gather(None)
    # Nobody goes on, and perhaps reads it, before it is in place.
    ranks.gather(None)


@contextmanager
def _publish_checkpoint(
    target: Path, *, record: RunRecord, seed: int, counts: Mapping[str, Any]
) -> Iterator[Path]:
    with publish(
        target,
        stage=CHECKPOINT_STAGE,
        fingerprint=record.fingerprint,
        settings=record.settings,
        inputs=record.inputs,
        identity=record.identity,
        seed=seed,
        counts=counts,
        replace=True,
    ) as staging:
        yield staging.folder


def list_checkpoints(run_folder: Path) -> list[tuple[int, Path]]:
    """List (step, folder) of everything named like a checkpoint, oldest step first; whole or not."""
    found = [
        (int(match.group(1)), path)
        for path in run_folder.glob("checkpoint-*")
        if (match := CHECKPOINT_NAME.fullmatch(path.name)) and path.is_dir()
    ]
    return sorted(found)


def find_resumable_checkpoint(
    run_folder: Path, *, fingerprint: str | None = None, warn: Callable[[str], None] | None = None
) -> Path | None:
    """Find the checkpoint with the highest step whose every byte is as it was written.

    Args:
        fingerprint: Of the run that wrote it; None takes any.
        warn: Told about each later one that is passed over, and why.
    """
    for _, folder in reversed(list_checkpoints(run_folder)):
        try:
            manifest = verify(folder, deep=True)
            if fingerprint not in (None, manifest.fingerprint):
                raise ArtifactError("it is of a run with other settings.")
        except ArtifactError as error:
            if warn is not None:
                warn(f"{folder.name} is passed over: {error}")
            continue
        return folder
    return None


def resolve_resume(
    resume: str | Path | None,
    run_folder: Path,
    *,
    fingerprint: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Path | None:
    """Turn what --resume was given into a checkpoint folder.

    Args:
        resume: None, "auto" (this run's newest whole checkpoint, or a fresh start), a checkpoint or a run.
        fingerprint: Of this run, so that "auto" passes over what another left in its folder.

    Raises:
        ArtifactError: A path was given and no whole checkpoint lies there.
    """
    if resume is None:
        return None
    if str(resume) == "auto":
        return _agree_on_checkpoint(run_folder, fingerprint=fingerprint, warn=warn)
    folder = Path(resume)
    if CHECKPOINT_NAME.fullmatch(folder.resolve().name):
        return folder
    checkpoint = _agree_on_checkpoint(folder, warn=warn)
    if checkpoint is None:
        raise ArtifactError(
            f"{folder} holds no whole checkpoint to resume from: pass a checkpoint-N folder, or a run that "
            "has one, or start afresh without --resume."
        )
    return checkpoint


def _agree_on_checkpoint(
    run_folder: Path, *, fingerprint: str | None = None, warn: Callable[[str], None] | None
) -> Path | None:
    """Let the main rank look, once, and tell the others what it found."""
    found = find_ranks().decide(
        lambda: str(find_resumable_checkpoint(run_folder, fingerprint=fingerprint, warn=warn) or "")
    )
    return Path(found) if found else None


def check_resume(checkpoint: Path, record: RunRecord) -> Manifest:
    """Make sure that a checkpoint is whole and that this run would really continue the one that wrote it.

    The library checks nothing of this: other data or another learning rate would go on without a word, and
    another number of steps makes the learning rate jump.

    Raises:
        ArtifactError: It is broken, not one of ours, or of another run. The message names what differs.
    """
    manifest = verify(checkpoint, deep=True)
    if manifest.stage != CHECKPOINT_STAGE:
        raise ArtifactError(
            f"{checkpoint} is a {manifest.stage} artifact, not a checkpoint: pass a checkpoint-N folder "
            "to --resume."
        )
    if manifest.fingerprint == record.fingerprint:
        return manifest
    # What was written as JSON has lists for tuples; compared as such, only real differences are named.
    now = json.loads(json.dumps([dict(record.settings), dict(record.inputs), dict(record.identity)]))
    then = [manifest.settings, manifest.inputs, manifest.identity]
    differences = [line for pair in zip(then, now, strict=True) for line in explain_changes(*pair)]
    differences = differences or ["it was written by another version of the training stage"]
    listed = "\n".join(f"  {difference}" for difference in differences)
    raise ArtifactError(
        f"{checkpoint} belongs to another run than the one asked for (checkpoint -> now):\n{listed}\n"
        "Set these back to resume it, or start afresh without --resume."
    )


def set_aside_later_checkpoints(run_folder: Path, step: int) -> list[Path]:
    """Rename checkpoints beyond the step that training starts from; nothing is deleted.

    They belong to a course that is being left: `--resume auto` must not come back to them, rotation must not
    count them, and the new checkpoints need their names.

    Returns:
        Where they lie now.
    """
    moved = []
    for _, folder in [entry for entry in list_checkpoints(run_folder) if entry[0] > step]:
        names = (f"superseded-{folder.name}" + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
        moved.append(
            folder.rename(next(run_folder / name for name in names if not (run_folder / name).exists()))
        )
    return moved


def rotate_checkpoints(run_folder: Path, *, limit: int | None, best: str | Path | None) -> list[Path]:
    """Delete the oldest whole checkpoints over the limit, by step number, whatever their modification times.

    The best one and the newest always stay. What is broken or not ours is not counted and not touched.

    Args:
        limit: How many may stay; None or 0 keeps all. The best and the newest make it 2 where they differ.

    Returns:
        The deleted folders.
    """
    if not limit:
        return []
    whole = [folder for _, folder in list_checkpoints(run_folder) if _is_whole_checkpoint(folder)]
    protected = {folder.resolve() for folder in [*whole[-1:], *([Path(best)] if best else [])]}
    others = [folder for folder in whole if folder.resolve() not in protected]
    excess = len(whole) - max(limit, len(whole) - len(others))
    deleted = others[:excess] if excess > 0 else []
    for folder in deleted:
        # Without its manifest it is no checkpoint any more, so a kill halfway leaves none that looks whole.
        (folder / MANIFEST_NAME).unlink()
        shutil.rmtree(folder)
        (run_folder / f".{folder.name}.lock").unlink(missing_ok=True)
    return deleted


def _is_whole_checkpoint(folder: Path) -> bool:
    """Check names and sizes only: rotation runs at every save and loads nothing."""
    try:
        return verify(folder, deep=False).stage == CHECKPOINT_STAGE
    except ArtifactError:
        return False


def save_weights(model: Any, folder: Path, *, weights: dict[str, Any] | None = None) -> None:
    """Write a model's trained weights as safetensors: the adapter where there is one, else all of them.

    Args:
        weights: Of a sharded model, from gather_weights; None takes the model's own.
    """
    if hasattr(model, "peft_config"):
        config = model.peft_config[model.active_adapter]
        base_name = config.base_model_name_or_path or ""
        save_adapter(folder, model, base_name=base_name, revision=config.revision, weights=weights)
        return
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=weights)


def write_checkpoint(trainer: Any, folder: Path, *, write_extra: Callable[[Path], None] | None) -> None:
    """Write all that a resume needs by the Trainer's own methods and names; each rank writes its part."""
    trainer.save_model(str(folder), _internal_call=True)
    trainer._save_optimizer_and_scheduler(str(folder))
    trainer._save_scaler(str(folder))
    trainer._save_rng_state(str(folder))
    if not trainer.args.should_save:
        return
    # What callbacks (early stopping's patience) want to find again on a resume.
    callbacks = [*trainer.callback_handler.callbacks, trainer.control]
    states = {type(each).__name__: each.state() for each in callbacks if isinstance(each, ExportableState)}
    trainer.state.stateful_callbacks = states
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    if write_extra is not None:
        write_extra(folder)
