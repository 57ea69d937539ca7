"""The frame of every command: each failure is told once, with its exit code."""

import os
import signal
import time

import pytest
import typer

from qwenkit.cli.frame import command_frame
from qwenkit.errors import ArtifactError


class Slow:
    """Something that a library deletes just when the signal comes."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)
        time.sleep(0.1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_comes_while_an_object_is_deleted_is_not_lost(
    number: signal.Signals, code: int
) -> None:
    with pytest.raises(typer.Exit) as caught, command_frame(quiet=True):
        slow = Slow(number)
        del slow
        time.sleep(5)
        raise AssertionError("the signal was lost")
    assert caught.value.exit_code == code


def test_debug_shows_where_it_happened_and_keeps_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as caught, command_frame(debug=True):
        raise ArtifactError("the file is gone")
    assert caught.value.exit_code == 3
    shown = capsys.readouterr().err
    assert "Traceback" in shown and 'raise ArtifactError("the file is gone")' in shown
    assert shown.rstrip().endswith("the file is gone")
