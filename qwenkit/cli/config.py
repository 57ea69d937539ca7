"""qwenkit config: show, validate, init, reference, schema."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame
from qwenkit.cli.recipe import write_command

app = typer.Typer(help="Show, check and start a config.yaml.", no_args_is_help=True)


@app.command()
def show(
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    debug: opt.DebugOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Print every setting as it would be used.

    Example: qwenkit config show --config fast --set training.seed=1
    """
    from qwenkit.config import config_to_yaml, load_config

    with command_frame(debug=debug, json=json) as console:
        loaded = load_config(config, overrides=settings or ())
        if json:
            console.emit(loaded.config.model_dump(mode="json"))
        else:
            console.text(config_to_yaml(loaded.config, comments=False))


@app.command()
def validate(
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Check a config; all problems at once, each with its line.

    Example: qwenkit config validate --config my.yaml
    """
    from qwenkit.config import load_config
    from qwenkit.steps.known_names import check_known_names

    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        loaded = load_config(config, overrides=settings or ())
        loaded.require(check_known_names(loaded.config))
        if json:
            console.emit({"source": loaded.source, "is_valid": True, "notes": list(loaded.notes)})
            return
        for note in loaded.notes:
            console.info(note)
        console.success(f"{loaded.source} is valid.")
        console.next(write_command("qwenkit plan", {"config": config, "set": settings}))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path("config.yaml"),
    config: opt.ConfigOption = None,
    settings: opt.SetOption = None,
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Write a config.yaml with every setting and its explanation.

    Example: qwenkit config init --config fast
    """
    from qwenkit.config import config_to_yaml, load_config
    from qwenkit.errors import BusyError
    from qwenkit.files import replace_file

    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        if path.exists() and not force:
            raise BusyError(f"{path} already exists: name another file, or pass --force to overwrite it.")
        loaded = load_config(config or "default", overrides=settings or ())
        replace_file(path, config_to_yaml(loaded.config, comments=True))
        following = f"qwenkit config validate --config {shlex.quote(str(path))}"
        if json:
            console.emit({"written": str(path), "next": following})
            return
        console.success(f"wrote {path}")
        console.next(following)


@app.command()
def reference(debug: opt.DebugOption = False) -> None:
    """Print every setting with its type, default and meaning, as Markdown.

    Example: qwenkit config reference > settings.md
    """
    from qwenkit.config import config_to_markdown

    with command_frame(debug=debug) as console:
        console.text(config_to_markdown())


@app.command()
def schema(debug: opt.DebugOption = False) -> None:
    """Print the JSON schema of config.yaml, for editors.

    Example: qwenkit config schema > config.schema.json
    """
    import json

    from qwenkit.config import config_json_schema

    with command_frame(debug=debug) as console:
        console.text(json.dumps(config_json_schema(), indent=2))
