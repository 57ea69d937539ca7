"""The frame that every command runs in: its console, its ranks, and one message for each failure."""

import errno
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import Any

import typer

from qwenkit.console import Console
from qwenkit.errors import BusyError, Interrupted, QwenkitError, ResourceError
from qwenkit.exhaustion import is_disk_full, is_out_of_memory
from qwenkit.files import UNUSABLE_ERRNOS
from qwenkit.ranks import alone, find_ranks, is_lost_peer

SECONDS_TO_REPEAT = 0.05


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
    hook, sys.unraisablehook = sys.unraisablehook, _repeat_lost_signal
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
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, previous)


def _fail(console: Console, error: BaseException, message: str, exit_code: int, *, debug: bool) -> None:
    if debug:
        sys.stderr.write("".join(traceback.format_exception(error)))
    told_with = find_ranks().claim_failure(exit_code)
    if told_with is not None:
        raise typer.Exit(told_with) from None
    console.error(message)
    raise typer.Exit(exit_code) from None


def _explain_unexpected(error: Exception) -> tuple[str, int]:
    if is_disk_full(error):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return f"the disk is full{where}: free some space and run the command again.", ResourceError.exit_code
    if isinstance(error, OSError) and error.errno in (*UNUSABLE_ERRNOS, errno.EEXIST) and error.filename:
        found = f"{error.filename} cannot be used ({error.strerror})"
        return f"{found}: name another place, or make room there.", BusyError.exit_code
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


def _repeat_lost_signal(lost: Any) -> None:
    """Send a signal again that came while an object was being deleted, where Python drops what is raised."""
    number = getattr(lost.exc_value, "exit_code", 0) - 128
    if isinstance(lost.exc_value, KeyboardInterrupt):
        number = signal.SIGINT
    elif not isinstance(lost.exc_value, Interrupted):
        sys.__unraisablehook__(lost)
        return
    threading.Timer(SECONDS_TO_REPEAT, os.kill, (os.getpid(), number)).start()


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
