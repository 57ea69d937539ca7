"""qwenkit compare: several runs in one table."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.errors import ArtifactError, ConfigError


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...", help="Runs or folders of evaluations; the first is the yardstick."
        ),
    ],
    evaluation: Annotated[
        str,
        typer.Option(
            "--evaluation", metavar="NAME", rich_help_panel=opt.DATA, help="Which evaluation of each run."
        ),
    ] = "after",
    draws: Annotated[
        int,
        typer.Option("--draws", min=200, rich_help_panel=opt.DATA, help="Draws behind each 95 % interval."),
    ] = 1000,
    json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Compare runs on the same rows: differences with intervals, and which settings differ.

    Example: qwenkit compare output/qwen3-0.6b-10k output/qwen3-0.6b-10k-2
    """
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        if len(runs) < 2:
            raise ConfigError("there is nothing to compare with: name two runs or more.")
        folders = [_find_evaluation(run, evaluation) for run in runs]
        from qwenkit.evaluation.compare import compare_runs, comparison_tables

        comparison = compare_runs(folders, names=_name_apart(folders, runs), draws=draws)
        if json:
            console.emit(comparison.to_json())
            return
        if len({comparison.rows, *comparison.own_rows}) > 1:
            console.warn(
                f"compared on the {comparison.rows:,} rows that all share, of "
                f"{', '.join(f'{rows:,}' for rows in comparison.own_rows)}"
            )
        for title, table in comparison_tables(comparison):
            console.table(title, *table)
        console.info("An exclamation mark: the 95 % interval of the difference excludes 0.")
        console.next(f'qwenkit predict {quote(str(folders[0].parent.parent))} "some text"')


def _find_evaluation(path: Path, name: str) -> Path:
    """Take a folder of an evaluation as it is, and of a run the evaluation asked for."""
    if (path / "metrics.json").is_file():
        return path
    folder = path / "evaluated" / name
    if not (folder / "metrics.json").is_file():
        raise ArtifactError(f"{path} has no evaluation {name}: run `qwenkit evaluate {path}` first.")
    return folder


def _name_apart(folders: list[Path], runs: list[Path]) -> list[str]:
    """Name runs by their folder, or by the whole path where two have the same."""
    names = [
        folder.name if folder == run else run.resolve().name
        for folder, run in zip(folders, runs, strict=True)
    ]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
