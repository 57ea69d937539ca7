"""What every command over the pipeline begins and ends with."""

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


def open_pipeline(console: Console, **arguments: Any) -> "QwenTrainingPipeline":
    """Make the pipeline of a command; only now are the heavy libraries read."""
    from qwenkit.pipeline import QwenTrainingPipeline

    return QwenTrainingPipeline(console=console, **arguments)


def finish(console: Console, pipeline: "QwenTrainingPipeline", command: str) -> None:
    """Print the result for a program, or what to type next for a person."""
    if console.json:
        console.emit(pipeline.describe_result())
        return
    report = pipeline.report_path
    if report is not None:
        console.info(f"report: {report}")
    console.next(NEXT[command].format(run=pipeline.run_folder or "MODEL"))
