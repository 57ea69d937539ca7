"""A command as a user types it, run in this process."""

import json
from typing import Any

from typer.testing import CliRunner, Result

from qwenkit.cli.app import app


def call(*arguments: object, code: int = 0, stdin: str | None = None) -> str:
    """Run a command, hold its exit code to `code`, and give all that it printed."""
    return _invoke(arguments, code=code, stdin=stdin).output


def call_for_json(*arguments: object, stdin: str | None = None) -> list[Any]:
    """Run a command with --json and give the object of each line on stdout."""
    result = _invoke((*arguments, "--json"), stdin=stdin)
    return [json.loads(line) for line in result.stdout.splitlines()]


def _invoke(arguments: tuple[object, ...], *, code: int = 0, stdin: str | None) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result
