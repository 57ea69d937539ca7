"""What to type next, from the state that everything under a root is in."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from qwenkit.inventory import ArtifactState, find_checkpoint_name
from qwenkit.saved import AFTER
from qwenkit.stages import EVALUATE, EXPORT, PREPARE, TOKENIZE, TRAIN

START = "qwenkit demo"


def suggest_command(states: Sequence[ArtifactState], root: Path) -> str:
    """Pick one command: mend what is corrupt, else redo what is stale, else make what is missing.

    Where all is there it is the one that uses the newest run.

    Args:
        states: Of all artifacts under the root, in the order of their stages.
    """
    if not states:
        return START
    for state in states:
        if state.state == "corrupt":
            return f"{_remake(state, states, root)} --force"
    for state in states:
        # On which rows another evaluation was made, nobody but the user knows.
        if state.state == "stale" and (state.stage != EVALUATE.name or state.folder.name == AFTER):
            return _remake(state, states, root)
    for state in states:
        if state.state == "missing" and not (state.stage == TOKENIZE.name and _runs(states)):
            return _remake(state, states, root)
    runs = _runs(states)
    if not runs:
        return _with_root(f"qwenkit train --dataset {_dataset_name(states[-1].owner, states)}", root)
    return f'qwenkit predict {shlex.quote(str(root / runs[-1]))} "some text"'


def _remake(state: ArtifactState, states: Sequence[ArtifactState], root: Path) -> str:
    """Spell out the command that makes an artifact."""
    checkpoint = find_checkpoint_name(state.folder)
    model = shlex.quote(str(root / state.owner / (checkpoint or "")))
    if state.stage in (PREPARE.name, TOKENIZE.name):
        return _with_root(f"qwenkit {state.stage} --dataset {_dataset_name(state.owner, states)}", root)
    if state.stage == TRAIN.name:
        # Its own settings find the folder again; one that is stale keeps its folder, and a new one is made.
        return f"qwenkit train --config {shlex.quote(str(root / state.owner / 'config.yaml'))}"
    if state.stage == EVALUATE.name:
        return _with_root(f"qwenkit evaluate {model}", root)
    if state.stage == EXPORT.name and state.folder.name != EXPORT.folder:
        name = state.folder.name.removesuffix(f"-{checkpoint}")
        return _with_root(f"qwenkit export {model} --format {shlex.quote(name)}", root)
    return _with_root(f"qwenkit export {model}", root)


def _dataset_name(owner: str, states: Sequence[ArtifactState]) -> str:
    """Call a data set what the user called it; the folder's name where that is not known."""
    named = (state.dataset for state in states if state.owner == owner and state.stage == PREPARE.name)
    return shlex.quote(next((name for name in named if name), owner))


def _runs(states: Sequence[ArtifactState]) -> list[str]:
    return [state.owner for state in states if state.stage == TRAIN.name]


def _with_root(command: str, root: Path) -> str:
    return command if root == Path("output") else f"{command} --root {shlex.quote(str(root))}"
