"""A command as a user types it, run in this process."""

from typer.testing import CliRunner

from qwenkit.cli.app import app


def call(*arguments: object, code: int = 0, stdin: str | None = None) -> str:
    """Run a command and hold its exit code to `code`.

    Returns:
        What it printed on stdout; of a command that fails, what it printed on stderr.
    """
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result.stderr if code else result.stdout
