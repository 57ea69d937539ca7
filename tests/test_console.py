"""What a person sees: progress in a log, text that cannot steer a terminal, data on stdout alone."""

import json
import re

import pytest

from qwenkit.console import PLAIN_PROGRESS_SECONDS, Console, safe_text


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes only when a test says so."""
    return Clock(monkeypatch)


def test_progress_in_a_log_is_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("training", 1000, "tokens") as bar:
        for _ in range(10):
            clock.now += PLAIN_PROGRESS_SECONDS / 5
            bar.advance(100, loss=0.51234)
    assert capsys.readouterr().out.splitlines() == [
        "  training: 50 %, 33 tokens/s, 15 s left  loss 0.5123",
        "  training: 100 %, 33 tokens/s, 0 s left  loss 0.5123",
    ]


def test_progress_beyond_an_estimated_total_stays_at_its_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens of an epoch are counted exactly only when it is over."""
    with Console().progress("training", 1000, "tokens") as bar:
        for _ in range(40):
            clock.now += 1
            bar.advance(50)
    lines = capsys.readouterr().out.splitlines()
    assert [int(share) for line in lines for share in re.findall(r"(-?\d+) %", line)] == [75, 100, 100]
    assert [int(left) for line in lines for left in re.findall(r"(-?\d+) s left", line)] == [5, 0, 0]


def test_short_work_leaves_no_progress_in_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("tokenize", 10, "rows") as bar:
        clock.now += PLAIN_PROGRESS_SECONDS / 2
        bar.advance(10)
    assert capsys.readouterr().out == ""


def test_progress_over_nothing_is_done(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console().progress("tokenize", 0, "rows") as bar:
        clock.now += PLAIN_PROGRESS_SECONDS
        bar.advance(0)
    assert capsys.readouterr().out == "  tokenize: 100 %, 0 rows/s, 0 s left\n"


def test_quiet_hides_all_but_warnings_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.header("train")
    console.info("a line")
    console.success("wrote it")
    console.table("t", ["a"], [["1"]])
    console.warn("mind this")
    console.error("failed")
    assert capsys.readouterr() == ("", "warning: mind this\nerror: failed\n")


def test_json_keeps_stdout_for_data(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=True)
    console.info("a line for people")
    console.emit({"text": "ü\x1b[31m"})
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"text": "ü\x1b[31m"}
    assert printed.out.isascii()
    assert "a line for people" in printed.err


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\u202eb", "a\u200bb", "line\nbreak", "\ud800", "\u2028"])
def test_text_that_steers_a_terminal_is_made_visible(text: str) -> None:
    shown = safe_text(text)
    assert "\\u" in shown
    assert shown.isprintable()


def test_markup_in_data_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.info("[bold]not bold[/bold]")
    console.table("[red]t[/red]", ["[a]"], [["[link=x]y[/link]"]])
    printed = capsys.readouterr().out
    for shown in ("[bold]not bold[/bold]", "[red]t[/red]", "[a]", "[link=x]y[/link]"):
        assert shown in printed


def test_of_several_ranks_one_warns_of_what_concerns_all_and_each_of_what_happened_in_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        console = Console()
        console.warn("the data has duplicates")
        console.warn("out of memory", is_of_rank=True)
    assert capsys.readouterr().err.splitlines() == [
        "warning: the data has duplicates",
        "warning (rank 0): out of memory",
        "warning (rank 1): out of memory",
    ]
