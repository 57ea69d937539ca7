"""qwenkit init: a folder to start from, with a config, the job as one script, and the job as a notebook."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from qwenkit.cli import options as opt
from qwenkit.cli.frame import command_frame

EXAMPLES = Path(__file__).parent.parent / "examples"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write into.")] = Path("."),
    force: opt.ForceOption = False,
    debug: opt.DebugOption = False,
    quiet: opt.QuietOption = False,
    json: opt.JsonOption = False,
) -> None:
    """Write a config.yaml, the whole job as one script, and as a notebook, to start from.

    Example: qwenkit init my-detector
    """
    with command_frame(debug=debug, quiet=quiet, json=json) as console:
        files = list_starter_files()
        written = copy_files(files, folder, force=force)
        run = "qwenkit run --dataset 10k"
        following = run if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && {run}"
        if json:
            console.emit({"written": [str(path) for path in written], "next": following})
            return
        for path, (description, _) in zip(written, files.values(), strict=True):
            console.success(f"wrote {path}: {description}")
        console.next(following)


def list_starter_files() -> dict[str, tuple[str, Path]]:
    """Name the files of a new folder: what each is, and where it lies in the package."""
    from qwenkit.config.loading import find_shipped_config

    return {
        "config.yaml": (
            "every setting with its explanation; commands run here read it",
            find_shipped_config("default"),
        ),
        "standalone.py": ("the whole job in one file, without qwenkit", EXAMPLES / "standalone.py"),
        "interactive.ipynb": (
            "the same step by step, with something to look at",
            EXAMPLES / "interactive.ipynb",
        ),
    }


def copy_files(files: dict[str, tuple[str, Path]], folder: Path, *, force: bool) -> list[Path]:
    """Copy all of the files, or none where one is there already.

    Raises:
        BusyError: One is there already, and is not to be overwritten.
        ConfigError: The folder is a file.
    """
    from qwenkit.errors import BusyError, ConfigError
    from qwenkit.files import replace_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made ({error.strerror}): name a folder, new or not."
        ) from error
    present = [name for name in files if (folder / name).exists()]
    if present and not force:
        raise BusyError(
            f"{folder} already holds {', '.join(present)}: name another folder, or pass --force to overwrite."
        )
    for name, (_, source) in files.items():
        replace_file(folder / name, source.read_text(encoding="utf-8"))
    return [folder / name for name in files]
