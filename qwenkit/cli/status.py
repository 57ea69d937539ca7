"""qwenkit status: what lies under the root, and what to type next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.console import TextTree

if TYPE_CHECKING:
    from qwenkit.inventory import ArtifactState

MARKS = {"up to date": "✓", "stale": "~", "missing": "·", "corrupt": "✗"}
DATA_STAGES = ("prepare", "tokenize")


def status(
    config: opt.ConfigOption = None,
    root: opt.RootOption = None,
    deep: Annotated[
        bool,
        typer.Option("--deep", rich_help_panel=opt.DATA, help="Check contents (sha256), not just sizes."),
    ] = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Show each artifact: up to date, stale and why, missing, corrupt.

    Example: qwenkit status --deep
    """
    from qwenkit.config import flatten_config, load_config
    from qwenkit.inventory import list_states
    from qwenkit.runs import Workspace
    from qwenkit.suggestion import suggest_command

    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        is_compared = config is not None or Path("config.yaml").exists()
        loaded = load_config(config)
        workspace = Workspace(root or Path(loaded.config.paths.root))
        settings = flatten_config(loaded.config) if is_compared else None
        states = list_states(workspace, settings=settings, deep=deep)
        command = suggest_command(states, workspace.root)
        if json:
            artifacts = [state.to_json() for state in states]
            console.emit({"root": str(workspace.root), "artifacts": artifacts, "next": command})
        else:
            console.header("status", str(workspace.root))
            console.tree(build_tree(workspace.root, states))
            console.next(command)
        if any(state.state == "corrupt" for state in states):
            raise typer.Exit(3)


def build_tree(root: Path, states: Sequence["ArtifactState"]) -> TextTree:
    """Sort artifacts under their data set or run, and those under the root."""
    owners = dict.fromkeys((state.stage in DATA_STAGES, state.owner) for state in states)
    branches = []
    for is_data, owner in owners:
        mine = [s for s in states if s.owner == owner and (s.stage in DATA_STAGES) == is_data]
        folder = root / "datasets" / owner if is_data else root / owner
        lines = [TextTree(_describe(state, folder)) for state in mine]
        branches.append(TextTree(f"{'data set' if is_data else 'run'} {owner}", lines))
    return TextTree(str(root) if branches else f"{root} holds nothing yet", branches)


def _describe(state: "ArtifactState", owner: Path) -> str:
    name = state.folder.relative_to(owner) if state.folder.is_relative_to(owner) else state.folder
    more = "; ".join(part for part in (state.reason, state.detail) if part)
    return f"{MARKS[state.state]} {name}: {state.state}" + (f" ({more})" if more else "")
