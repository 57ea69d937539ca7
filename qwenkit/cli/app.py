"""The `qwenkit` command with all its subcommands."""

from typing import Annotated

import typer

from qwenkit.cli import compare, config, doctor, init, plan, predict, saved, stages, status

app = typer.Typer(
    name="qwenkit",
    help="Fine-tune Qwen3 into a text classifier: prepare, tokenize, train, evaluate, export.",
    epilog="First steps: `qwenkit demo` runs all five stages on real text, offline, in minutes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ALL_STAGES = "All stages"
ONE_STAGE = "One stage"
MORE = "Look and use"

app.command(rich_help_panel=ALL_STAGES)(stages.demo)
app.command(rich_help_panel=ALL_STAGES)(stages.run)
app.command(rich_help_panel=ONE_STAGE)(stages.prepare)
app.command(rich_help_panel=ONE_STAGE)(stages.tokenize)
app.command(rich_help_panel=ONE_STAGE)(stages.train)
app.command(rich_help_panel=ONE_STAGE)(saved.evaluate)
app.command(rich_help_panel=ONE_STAGE)(saved.export)
app.command(rich_help_panel=MORE)(init.init)
app.command(rich_help_panel=MORE)(predict.predict)
app.command(rich_help_panel=MORE)(compare.compare)
app.command(rich_help_panel=MORE)(status.status)
app.command(rich_help_panel=MORE)(plan.plan)
app.command(rich_help_panel=MORE)(doctor.doctor)
app.add_typer(config.app, name="config", rich_help_panel=MORE)


def _print_version(wanted: bool) -> None:
    if wanted:
        from qwenkit import __version__

        typer.echo(f"qwenkit {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Fine-tune Qwen3 into a text classifier: prepare, tokenize, train, evaluate, export."""
