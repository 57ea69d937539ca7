"""The processes of one command: dealt to evenly, one that speaks, and a lone one that notices nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.console import Console
from qwenkit.ranks import ALONE, LAUNCHER_NAMES, Ranks, alone, deal_evenly, find_ranks
from tests.end_to_end.processes import make_environment


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(LAUNCHER_NAMES, ("1", "2", "localhost", "29500"), strict=True):
        monkeypatch.setenv(name, value)


@given(sizes=st.lists(st.integers(0, 400), max_size=60), world_size=st.integers(1, 6))
def test_everything_is_dealt_once_and_about_evenly(sizes: list[int], world_size: int) -> None:
    hands = deal_evenly(sizes, world_size)
    assert len(hands) == world_size
    assert sorted(index for hand in hands for index in hand) == list(range(len(sizes)))
    sums = [sum(sizes[index] for index in hand) for hand in hands]
    # Who has most got the last of it when having least, so the difference is one thing at most.
    assert max(sums) - min(sums) <= max(sizes, default=0)
    assert all(hand == sorted(hand) for hand in hands)


def test_a_process_without_a_launcher_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert find_ranks() is ALONE
    assert (ALONE.rank, ALONE.world_size, ALONE.is_main) == (0, 1, True)


def test_a_lone_process_decides_gathers_and_waits_for_nobody() -> None:
    assert ALONE.decide(lambda: {"any": object}) == {"any": object}
    assert ALONE.gather("part") == ["part"]
    assert ALONE.find_highest(15) == 15
    assert ALONE.claim_failure(2) is None
    ALONE.wait_for("what never comes")


@pytest.mark.usefixtures("second_of_two")
def test_the_launcher_says_which_rank_this_is() -> None:
    assert find_ranks() == Ranks(1, 2)
    with alone():
        assert find_ranks() is ALONE
    assert find_ranks() == Ranks(1, 2)


@pytest.mark.usefixtures("second_of_two")
def test_another_rank_than_the_first_prints_nothing_but_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.header("train")
    console.info("line")
    console.warn("careful")
    console.table("Title", ["a"], [["1"]])
    console.emit({"a": 1})
    console.text("block")
    with console.progress("training", 1, "tokens") as bar:
        bar.advance(1)
    assert capsys.readouterr() == ("", "")
    console.error("broken")
    assert capsys.readouterr() == ("", "error (rank 1): broken\n")


HAND_OUT = """
import json, os, resource
from qwenkit.ranks import find_ranks

ranks = find_ranks()
ranks.gather(None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
content = ranks.hand_out(lambda: b"x" * 100 * 2**20)
taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert len(content) == 100 * 2**20
with open(f"taken-{ranks.rank}.json", "w") as file:
    json.dump(taken / 1024, file)
"""


@pytest.mark.slow
def test_what_is_handed_out_takes_no_room_for_each_rank(tmp_path: Path) -> None:
    """100 MiB among four: the content, and what it came in; not a place for each one's answer."""
    (tmp_path / "hand_out.py").write_text(HAND_OUT)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4")
    subprocess.run(
        [sys.executable, *launcher, "hand_out.py"],
        cwd=tmp_path,
        env=make_environment(tmp_path),
        check=True,
        timeout=120,
    )
    taken = [json.loads((tmp_path / f"taken-{rank}.json").read_text()) for rank in range(4)]
    assert max(taken) < 450, taken
