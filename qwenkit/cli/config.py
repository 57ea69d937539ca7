"""qwenkit config: show, validate, init, reference, schema."""

from pathlib import Path
from typing import Annotated

import typer

from qwenkit.cli.options import ConfigOption, DebugOption, SetOption, command_frame

app = typer.Typer(help="Show, check and start a config.yaml.", no_args_is_help=True)

JsonFlag = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command()
def show(
    config: ConfigOption = None,
    settings: SetOption = None,
    json: JsonFlag = False,
    debug: DebugOption = False,
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
def validate(config: ConfigOption = None, settings: SetOption = None, debug: DebugOption = False) -> None:
    """Check a config; all problems at once, each with its line.

    Example: qwenkit config validate --config my.yaml
    """
    from qwenkit.config import load_config

    with command_frame(debug=debug) as console:
        loaded = load_config(config, overrides=settings or ())
        for note in loaded.notes:
            console.info(note)
        console.success(f"{loaded.source} is valid.")


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("config.yaml"),
    config: ConfigOption = None,
    settings: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    debug: DebugOption = False,
) -> None:
    """Write a config.yaml with every setting and its explanation.

    Example: qwenkit config init --config fast
    """
    from qwenkit.artifacts import replace_file
    from qwenkit.config import config_to_yaml, load_config
    from qwenkit.errors import BusyError

    with command_frame(debug=debug) as console:
        if path.exists() and not force:
            raise BusyError(f"{path} already exists: name another file, or pass --force to overwrite it.")
        loaded = load_config(config or "default", overrides=settings or ())
        replace_file(path, config_to_yaml(loaded.config, comments=True))
        console.success(f"wrote {path}; edit it, then: qwenkit config validate --config {path}")


@app.command()
def reference(debug: DebugOption = False) -> None:
    """Print every setting with its type, default and meaning, as Markdown.

    Example: qwenkit config reference > settings.md
    """
    from qwenkit.config import config_to_markdown

    with command_frame(debug=debug) as console:
        console.text(config_to_markdown())


@app.command()
def schema(debug: DebugOption = False) -> None:
    """Print the JSON schema of config.yaml, for editors.

    Example: qwenkit config schema > config.schema.json
    """
    import json

    from qwenkit.config import config_json_schema

    with command_frame(debug=debug) as console:
        console.text(json.dumps(config_json_schema(), indent=2))
