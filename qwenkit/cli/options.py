"""The options that commands share, and the frame that every command runs in."""

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from qwenkit.console import Console
from qwenkit.errors import Interrupted, QwenkitError, ResourceError
from qwenkit.exhaustion import is_disk_full, is_out_of_memory
from qwenkit.ranks import alone, find_ranks, is_lost_peer

DATA = "Data and settings"
TRAINING = "Training"
RESULT = "Result"
PLAN = "Plan"
OUTPUT = "Output"


def _complete_dataset(incomplete: str) -> list[str]:
    from qwenkit.data.sources import ALIASES, DEMO

    return [name for name in (*ALIASES, DEMO) if name.startswith(incomplete)]


def _complete_config(incomplete: str) -> list[str]:
    from qwenkit.config.loading import shipped_configs

    return [name for name in shipped_configs() if name.startswith(incomplete)]


def _complete_quantization(incomplete: str) -> list[str]:
    return [name for name in ("nf4", "fp4", "int8", "none") if name.startswith(incomplete)]


class Device(StrEnum):
    """What a plan may be made for."""

    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME|ID|PATH",
        rich_help_panel=DATA,
        autocompletion=_complete_dataset,
        show_default=False,
        help="10k, 100k, 1M, 2M, demo, raid (with dataset.path), a hub id, or a CSV, JSONL or Parquet file "
        "or folder. Default: dataset.name of the config, else the data set prepared last.",
    ),
]
ConfigOption = Annotated[
    str | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE|NAME",
        rich_help_panel=DATA,
        autocompletion=_complete_config,
        show_default=False,
        help="A config.yaml, or a shipped one: default, demo, fast. Default: ./config.yaml if there is one.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        rich_help_panel=DATA,
        help="One setting; may be given again. Stronger than the file.",
    ),
]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root", metavar="DIR", rich_help_panel=OUTPUT, help="Where artifacts go. Default: output."
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", rich_help_panel=OUTPUT, help="Redo what is up to date, overwrite what is there."),
]
DebugOption = Annotated[bool, typer.Option("--debug", rich_help_panel=OUTPUT, help="Show tracebacks.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=OUTPUT, help="Print warnings and errors only.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print the result as JSON on stdout.")
]
EpochsOption = Annotated[
    float | None,
    typer.Option(
        "--epochs", rich_help_panel=TRAINING, help="training.num_train_epochs, passes over the data."
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option("--batch-size", rich_help_panel=TRAINING, help="Documents a device; evaluation's too."),
]
LearningRateOption = Annotated[
    float | None,
    typer.Option("--learning-rate", rich_help_panel=TRAINING, help="training.learning_rate, its peak."),
]
LoraRankOption = Annotated[
    int | None,
    typer.Option(
        "--lora-rank", rich_help_panel=TRAINING, help="peft.lora_r; alpha becomes twice that unless set."
    ),
]
QuantizationOption = Annotated[
    str | None,
    typer.Option(
        "--quantization",
        metavar="nf4|fp4|int8|none",
        rich_help_panel=TRAINING,
        autocompletion=_complete_quantization,
        help="How the base is held. Default: the config's.",
    ),
]
NoWandbOption = Annotated[
    bool, typer.Option("--no-wandb", rich_help_panel=TRAINING, help="Leave Weights & Biases off.")
]
NoRehearsalOption = Annotated[
    bool,
    typer.Option(
        "--no-rehearsal",
        rich_help_panel=TRAINING,
        help="Begin a long run without trying its longest documents, an evaluation and a checkpoint first.",
    ),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="PATH|auto",
        rich_help_panel=TRAINING,
        help="Go on from this checkpoint, or from the newest valid one.",
    ),
]
RunNameOption = Annotated[
    str | None,
    typer.Option(
        "--run-name", rich_help_panel=TRAINING, help="Name of the run's folder. Default: <model>-<dataset>."
    ),
]
MaxStepsOption = Annotated[
    int | None,
    typer.Option("--max-steps", rich_help_panel=TRAINING, help="Stop after this many optimizer steps."),
]
ModelArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="MODEL",
        help="A run, its trained/ or a checkpoint, an export, any classifier. Default: the newest run.",
        show_default=False,
    ),
]


@contextmanager
def command_frame(
    *, debug: bool = False, quiet: bool = False, json: bool = False, on_ranks: bool = False
) -> Iterator[Console]:
    """Give a command its console; turn every failure into one message and the right exit code.

    Args:
        on_ranks: All processes that a launcher started work on this command; else the main one does, alone.
    """
    if not on_ranks and not find_ranks().is_main:
        raise typer.Exit
    _quiet_libraries()
    with nullcontext() if on_ranks else alone():
        console = Console(quiet=quiet, json=json)
        with _tell_failures(console, debug=debug):
            find_ranks().meet()
            yield console


@contextmanager
def _tell_failures(console: Console, *, debug: bool) -> Iterator[None]:
    previous = signal.signal(signal.SIGTERM, _raise_interrupted)
    try:
        yield
    except QwenkitError as error:
        _fail(console, error, str(error), error.exit_code, debug=debug)
    except KeyboardInterrupt as error:
        _fail(
            console, error, "interrupted; the same command goes on from what is finished.", 130, debug=debug
        )
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        message, exit_code = _explain_unexpected(error)
        _fail(console, error, message, exit_code, debug=debug)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _fail(console: Console, error: BaseException, message: str, exit_code: int, *, debug: bool) -> None:
    if debug:
        raise error
    told_with = find_ranks().claim_failure(exit_code)
    if told_with is not None:
        raise typer.Exit(told_with) from None
    console.error(message)
    raise typer.Exit(exit_code) from None


def _explain_unexpected(error: Exception) -> tuple[str, int]:
    if is_disk_full(error):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"the disk is full{where}: free some space and run the command again.", ResourceError.exit_code
    if is_lost_peer(error):
        return (
            "another rank died without a word: it was killed, perhaps for lack of memory. The launcher's "
            "report names it; the same command goes on from what is finished.",
            QwenkitError.exit_code,
        )
    if is_out_of_memory(error):
        return "out of memory: lower the batch size or the data.", ResourceError.exit_code
    reason = f"unexpected {type(error).__name__}: {error}"
    return f"{reason}\nThis is a bug of qwenkit's; --debug shows where.", QwenkitError.exit_code


def _raise_interrupted(signal_number: int, frame: FrameType | None) -> Any:
    raise Interrupted("terminated; the same command goes on from what is finished.", signal_number)


def _quiet_libraries() -> None:
    """Keep the libraries' own bars and notices out of our output; a user's own setting wins."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if os.environ.get("WANDB_MODE") == "offline":
        # At this very word transformers greets it on stdout; "dryrun" is another name for the same.
        os.environ["WANDB_MODE"] = "dryrun"
