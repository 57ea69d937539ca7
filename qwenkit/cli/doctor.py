"""qwenkit doctor: is this machine fit, and is a config or model sound?"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.cli.recipe import write_command
from qwenkit.console import Console

if TYPE_CHECKING:
    from qwenkit.doctor.checks import Check
    from qwenkit.doctor.finding import Finding
    from qwenkit.saved import SavedModel

MARKS = {"ok": "✓ ok  ", "warn": "! warn", "fail": "✗ FAIL"}


def doctor(
    model: Annotated[
        Path | None,
        opt.model_argument("A run, its trained/ or a checkpoint, an export, any classifier to look at."),
    ] = None,
    config: Annotated[
        str | None,
        opt.config_option("A config to look at: the base is loaded as training would load it."),
    ] = None,
    settings: opt.SetOption = None,
    root: opt.RootOption = None,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Check the machine, and a config or a model: ok, warn or fail, each with its cure.

    Example: qwenkit doctor --config fast

    Leaves with 0 where nothing fails, else with the code of the first failure.
    """
    from qwenkit.config import load_config

    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        # The config that is examined is the named one; paths.root may come from ./config.yaml all the same.
        loaded = load_config(config, overrides=settings or ())
        from qwenkit.doctor.checks import examine
        from qwenkit.doctor.subject import Subject
        from qwenkit.runs import Workspace
        from qwenkit.saved import find_model

        place = root or Path(loaded.config.paths.root)
        saved = find_model(model, Workspace(place)) if model is not None else None
        if saved is not None and saved.run is not None and root is None:
            place = saved.run.parent
        subject = Subject(root=place, config=loaded.config if config and saved is None else None, saved=saved)
        console.header("doctor", str(saved.folder if saved else loaded.source if config else "this machine"))
        findings = _show_findings(console, examine(subject))
        counts = {status: sum(f.status == status for _, f in findings) for status in MARKS}
        exit_code = next((f.exit_code for _, f in findings if f.status == "fail"), 0)
        if json:
            listed = [{"name": c.name, "group": c.group, **f.to_json()} for c, f in findings]
            console.emit({"checks": listed, "counts": counts, "exit_code": exit_code})
        else:
            console.info(", ".join(f"{count} {status}" for status, count in counts.items()))
        if exit_code:
            raise typer.Exit(exit_code)
        if not json:
            console.next(_choose_next(saved, config))


def _show_findings(
    console: Console, found: Iterable[tuple["Check", "Finding"]]
) -> list[tuple["Check", "Finding"]]:
    """Print each answer as soon as it is known, and give them all."""
    findings: list[tuple[Check, Finding]] = []
    for check, finding in found:
        if not findings or findings[-1][0].group != check.group:
            console.info(check.group)
        console.info(f"  {MARKS[finding.status]}  {check.name}: {finding.found}")
        if finding.cure:
            console.info(f"          cure: {finding.cure}")
        findings.append((check, finding))
    return findings


def _choose_next(saved: "SavedModel | None", config: str | None) -> str:
    if saved is not None:
        return f"qwenkit evaluate {shlex.quote(str(saved.run or saved.folder))}"
    return write_command("qwenkit plan", {"config": config}) if config else "qwenkit demo"
