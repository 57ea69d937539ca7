"""What every command over the pipeline begins and ends with."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwenkit.console import Console

if TYPE_CHECKING:
    from qwenkit.pipeline import QwenTrainingPipeline

NEXT = {
    "prepare": "qwenkit tokenize",
    "tokenize": "qwenkit train",
    "train": "qwenkit evaluate {run}",
    "evaluate": "qwenkit export {run}",
    "export": 'qwenkit predict {run} "some text"',
    "run": 'qwenkit predict {run} "some text"',
}
"""What a user most likely types after each command."""


def open_pipeline(
    console: Console, *, force: bool, stage: str | None = None, **arguments: Any
) -> "QwenTrainingPipeline":
    """Make the pipeline of a command; only now are the heavy libraries read.

    Args:
        stage: What --force redoes; those before it stay where they are up to date. None is all stages.
    """
    from qwenkit.pipeline import QwenTrainingPipeline

    return QwenTrainingPipeline(console=console, force=[stage] if force and stage else force, **arguments)


def find_root(pipeline: "QwenTrainingPipeline") -> str | None:
    """Give the root that the next command has to be told; None where it finds it by itself."""
    root = Path(pipeline.config.paths.root)
    return None if root == Path("output") else str(root)


def finish(
    console: Console,
    pipeline: "QwenTrainingPipeline",
    command: str,
    given: Mapping[str, object] | None = None,
) -> None:
    """Print the result for a program, or what to type next for a person.

    Args:
        given: Options of this command, by name, without which the next would look elsewhere.
    """
    if console.json:
        console.emit(pipeline.describe_result())
        return
    report = pipeline.report_path
    if report is not None:
        console.info(f"report: {report}")
    command = NEXT[command].format(run=shlex.quote(str(pipeline.run_folder or "MODEL")))
    console.next(write_command(command, given or {}))


def write_command(command: str, given: Mapping[str, object]) -> str:
    """Write a command with options as they were given, such that it can be typed.

    Args:
        given: By name; None is one that was not given, and each value of a list has its own.
    """
    pairs = [
        (f"--{name}", str(value))
        for name, values in given.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None
    ]
    return " ".join([command, *(shlex.quote(word) for pair in pairs for word in pair)])
