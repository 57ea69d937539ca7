"""The README's promises that need no network: its files, its commands' names and options, its settings."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from qwenkit.cli.app import app
from qwenkit.config import load_config

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = "".join(re.findall(r"^```console\n(.+?)^```", README, re.M | re.S))
COMMANDS = sorted({*re.findall(r"^qwenkit .+$", BLOCKS, re.M), *re.findall(r"`(qwenkit [^`]+)`", README)})


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_readme_parses(command: str) -> None:
    words = shlex.split(command)[1:]
    group = typer.main.get_command(app)
    name = words.pop(0)
    found = group.commands[name]  # type: ignore[attr-defined]
    if hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    parameters = found.make_context(name, words).params
    load_config("default", overrides=parameters.get("settings") or ())


def test_each_make_target_of_the_readme_exists() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^([a-z-]+ )*{target}[ :]", makefile, re.M), target
