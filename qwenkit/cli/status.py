"""qwenkit status: what lies under the root, and what to type next."""

from pathlib import Path
from typing import Annotated

import typer

from qwenkit.cli import options as opt


def status(
    config: opt.ConfigOption = None,
    root: opt.RootOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Check contents (sha256), not just sizes.")] = False,
    json: opt.JsonOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Show each artifact: up to date, stale and why, missing, corrupt.

    Example: qwenkit status
    """
    from qwenkit.config import flatten_config, load_config
    from qwenkit.inventory import list_states
    from qwenkit.runs import Workspace

    with opt.command_frame(debug=debug, json=json) as console:
        is_compared = config is not None or Path("config.yaml").exists()
        loaded = load_config(config)
        workspace = Workspace(root or Path(loaded.config.paths.root))
        settings = flatten_config(loaded.config) if is_compared else None
        states = list_states(workspace, settings=settings, deep=deep)
        if json:
            console.emit([state.to_json() for state in states])
        elif not states:
            console.info(
                f"{workspace.root} holds nothing yet. Next: qwenkit prepare --dataset 10k, or qwenkit demo"
            )
        else:
            rows = [
                [
                    state.owner,
                    state.stage,
                    str(state.folder),
                    state.state + (f": {state.reason}" if state.reason else ""),
                ]
                for state in states
            ]
            console.table(str(workspace.root), ["of", "stage", "folder", "state"], rows, numbers=False)
        if any(state.state == "corrupt" for state in states):
            raise typer.Exit(3)
