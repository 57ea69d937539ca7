"""One look through all commands: help, --quiet, --json, completion. A new command is one line in RUNS."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from qwenkit.cli.app import app
from qwenkit.console import Console
from qwenkit.pipeline import QwenTrainingPipeline

WIDTH = 80


def walk_commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Give every command that can be typed, with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walk_commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


COMMANDS = dict(walk_commands(typer.main.get_command(app)))
# Their answer is what they print, in a form of its own.
ANSWERS = ("config show", "config reference", "config schema")


@dataclass(frozen=True)
class Scene:
    """A finished run, and a folder to write into."""

    run: Path
    root: Path
    data: Path
    scratch: Path

    @property
    def config(self) -> Path:
        """The run's own, so that everything is up to date."""
        return self.run / "config.yaml"


STAGE = ("--dataset", "{data}", "--config", "{config}", "--root", "{root}")
RUNS: dict[str, tuple[str, ...]] = {
    "demo": (
        *("--root", "{scratch}", "--set", "training.max_steps=2", "--set", "export.parity_rows=8"),
        *("--set", "training.eval_steps=2", "--set", "training.save_steps=2"),
        *("--set", "evaluation.pre_training_eval_samples=50"),
    ),
    "run": STAGE,
    "prepare": STAGE,
    "tokenize": STAGE,
    "train": STAGE,
    "evaluate": ("{run}", "--root", "{root}"),
    "export": ("{run}", "--root", "{root}", "--format", "adapter"),
    "predict": ("{run}", "the dog in the mud", "delve into the tapestry"),
    # There is but one run to compare, with itself.
    "compare": ("{run}", "{run}/evaluated/after", "--draws", "200"),
    "init": ("{scratch}/new", "--force"),
    "status": ("--root", "{root}"),
    "plan": ("--config", "{config}", "--root", "{root}"),
    "doctor": ("{run}", "--root", "{root}"),
    "config validate": ("--config", "{config}"),
    "config init": ("{scratch}/config.yaml", "--force"),
}
SLOW = {"demo"}
# They write nothing, and what comes next is up to what they show.
OPEN_ENDS = {"predict", "compare"}


def with_slow_marks(names: Any) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.fixture(scope="module")
def scene(finished: QwenTrainingPipeline, toy_csv: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    # One folder for all tests, so that the demo trains once.
    scratch = tmp_path_factory.mktemp("scratch")
    return Scene(finished.run_folder, Path(finished.config.paths.root), toy_csv, scratch)


def call(name: str, scene: Scene, *more: str) -> Any:
    """Type a command on the finished run, in this process."""
    arguments = [word.format(**vars(scene), config=scene.config) for word in RUNS[name]]
    result = CliRunner().invoke(app, [*name.split(), *arguments, *more])
    assert result.exit_code == 0, result.output
    return result


def read_help(name: str) -> str:
    result = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "", "TERMINAL_WIDTH": ""})
    assert result.exit_code == 0
    return result.output


def test_every_command_is_tried() -> None:
    assert set(RUNS) | set(ANSWERS) == set(COMMANDS)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_80_columns(name: str) -> None:
    too_long = [line for line in read_help(name).splitlines() if len(line.rstrip()) > WIDTH]
    assert too_long == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example_that_can_be_typed(name: str) -> None:
    example = re.search(r"Example: (qwenkit .+)", COMMANDS[name].help)
    assert example is not None
    command, _, _ = example.group(1).partition(" > ")
    words = shlex.split(command)[1:]
    assert words[: len(name.split())] == name.split()
    COMMANDS[name].make_context(name, words[len(name.split()) :])
    assert "Example: qwenkit" in read_help(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_stand_in_named_panels_with_their_help(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
            assert parameter.rich_help_panel, parameter.name


@pytest.mark.parametrize("name", with_slow_marks(RUNS))
def test_quiet_prints_nothing_when_all_goes_well(name: str, scene: Scene) -> None:
    result = call(name, scene, "--quiet")
    assert result.stdout == ""
    assert result.stderr == ""


@pytest.mark.parametrize("name", with_slow_marks(RUNS))
def test_json_prints_one_document_and_nothing_else_on_stdout(name: str, scene: Scene) -> None:
    printed = call(name, scene, "--json").stdout
    documents = printed.splitlines() if name == "predict" else [printed]
    assert len(documents) == (2 if name == "predict" else 1)
    for document in documents:
        assert isinstance(json.loads(document), dict)


@pytest.mark.parametrize("name", [name for name in RUNS if name not in OPEN_ENDS | SLOW])
def test_the_last_line_says_what_to_type_next(name: str, scene: Scene) -> None:
    last = call(name, scene).stdout.splitlines()[-1]
    command = re.fullmatch(r"  next: (?:cd \S+ && )?qwenkit (.+)", last)
    assert command is not None, last
    words = shlex.split(command.group(1))
    following = next(name for name in COMMANDS if words[: len(name.split())] == name.split())
    COMMANDS[following].make_context(following, words[len(following.split()) :])


@pytest.mark.parametrize("name", with_slow_marks(RUNS))
def test_output_without_a_terminal_has_no_escapes_and_no_bars(name: str, scene: Scene) -> None:
    printed = call(name, scene).output
    assert "\x1b" not in printed
    assert "━" not in printed


def run_in_terminal(arguments: list[str], folder: Path, **environment: str) -> str:
    """Type a command on a terminal of 80 columns, in a process of its own, and give what appears there."""
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    settings = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm", "HF_HUB_OFFLINE": "1"}
    settings["PYTHONPATH"] = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "qwenkit", *arguments],
        env={**settings, **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    # Linux ends the other side of a closed terminal with an error.
    with contextlib.suppress(OSError):
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode().replace("\r", "")


def test_a_terminal_gets_guides_and_colour_unless_it_asks_for_none(scene: Scene) -> None:
    arguments = ["status", "--root", str(scene.root)]
    bold = run_in_terminal(arguments, scene.root)
    assert "├── " in bold and "\x1b[1m" in bold
    plain = run_in_terminal(arguments, scene.root, NO_COLOR="1")
    assert "├── " in plain
    # Bold and reset are no colours.
    assert set(re.findall(r"\x1b\[([0-9;]*)m", plain)) <= {"0", "1"}


def test_a_bar_keeps_to_one_line_of_a_narrow_terminal() -> None:
    from rich.console import Console as RichConsole

    console = Console()
    console._rich = RichConsole(force_terminal=True, width=WIDTH, file=io.StringIO())
    with console.progress("scoring the test split of a data set with a name", 1_000_000, "documents") as bar:
        bar.advance(500_000, step="1234/5678", loss=0.123456789, learning_rate=1e-4)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console._rich.file.getvalue()).splitlines()
    assert "0.1235" in "".join(lines)
    assert max(len(line) for line in lines) <= WIDTH
    assert not any(line.strip() in ("0.1235", "0.0001") for line in lines)


def test_completion_knows_commands_and_values() -> None:
    def complete(words: str) -> list[str]:
        environment = {"_QWENKIT_COMPLETE": "complete_bash", "COMP_WORDS": words}
        environment["COMP_CWORD"] = str(len(words.split(" ")) - 1)
        return CliRunner().invoke(app, [], prog_name="qwenkit", env=environment).output.split()

    assert complete("qwenkit pr") == ["prepare", "predict"]
    assert complete("qwenkit train --config f") == ["fast"]
    assert "10k" in complete("qwenkit prepare --dataset ")
    assert complete("qwenkit plan --device g") == ["gpu"]


def test_completion_script_can_be_shown() -> None:
    command = shlex.join([sys.executable, "-m", "qwenkit", "--show-completion"])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}
    # The last word keeps bash from handing its process over, in which typer looks for the shell.
    shown = subprocess.run(
        ["bash", "-c", f"{command}; exit"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert "COMPREPLY" in shown.stdout, shown.stderr
