"""What every command over the pipeline begins and ends with."""

import shlex
from collections.abc import Mapping
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
    console.next(" ".join([command, *map(shlex.quote, _write_options(given or {}))]))


def _write_options(given: Mapping[str, object]) -> list[str]:
    """Write options as they were given; None is one that was not, and each value of a list has its own."""
    pairs = [
        (f"--{name}", str(value))
        for name, values in given.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None
    ]
    return [word for pair in pairs for word in pair]
