"""A disk that fills up at any moment of a run: exit 5, nothing half-made, and with room the run goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwenkit.artifacts import MANIFEST_NAME, verify
from tests.conftest import TINY_SETTINGS
from tests.end_to_end.processes import CommandProcess, Outcome, make_environment

SETTINGS = [part for setting in TINY_SETTINGS for part in ("--set", setting)]
SHORT = ["--max-steps", "4", "--set", "training.save_steps=2", "--set", "training.eval_steps=2"]
# The run takes about 1,800 kB: each size stops it somewhere else, the last one in evaluation or export.
SIZES_KB = (40, 160, 300, 450, 600, 800, 1000, 1200, 1400, 1600)
ENOUGH_KB = 16_000
ARTIFACTS = ("prepared", "own-bpe-48", "trained", "before", "after", "merged", "checkpoint-")

pytestmark = pytest.mark.slow


def mount(folder: Path, *, size_kb: int, again: bool = False) -> bool:
    """Mount a small file system of its own there, or change its size; False where that is not allowed."""
    options = f"{'remount,' if again else ''}size={size_kb}k"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandProcess]:
    home = tmp_path_factory.mktemp("home")
    process = CommandProcess(home / "work", make_environment(home))
    yield process
    process.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """An empty folder to mount on; whatever is mounted is let go at the end."""
    disk = tmp_path / "disk"
    disk.mkdir()
    # Nothing else fills up for real, and only here: another machine of CI may forbid mounting even to root.
    if os.geteuid() != 0 or not mount(disk, size_kb=ENOUGH_KB):
        pytest.skip("no small file system can be mounted here: that takes root and the right to mount tmpfs")
    subprocess.run(["umount", disk], check=True)
    yield disk
    # Lazily: tokens are memory-mapped until the next run.
    subprocess.run(["umount", "--lazy", disk], check=False)


def train(process: CommandProcess, root: Path, toy_csv: Path) -> Outcome:
    return process.call(["run", "--dataset", str(toy_csv), "--root", str(root), *SETTINGS, *SHORT])


def list_half_made(root: Path) -> list[Path]:
    """Find staging folders left over, and folders of finished stages that are not whole."""
    leftovers = [path for path in root.rglob("*") if ".staging-" in path.name or ".old-" in path.name]
    named = [path for path in root.rglob("*") if path.is_dir() and path.name.startswith(ARTIFACTS)]
    for folder in named:
        if not (folder / MANIFEST_NAME).is_file():
            leftovers.append(folder)
        else:
            verify(folder, deep=True)
    return leftovers


@pytest.mark.parametrize("size_kb", SIZES_KB)
def test_a_full_disk_is_told_and_leaves_nothing_half_made(
    process: CommandProcess, disk: Path, toy_csv: Path, size_kb: int
) -> None:
    assert mount(disk, size_kb=size_kb)
    outcome = train(process, disk / "output", toy_csv)
    assert outcome.code == 5, outcome.told
    assert outcome.err.startswith("error: the disk is full"), outcome.told
    assert outcome.err.count("\n") == 1
    assert list_half_made(disk / "output") == []
    assert mount(disk, size_kb=ENOUGH_KB, again=True)
    again = train(process, disk / "output", toy_csv)
    assert again.code == 0, again.told
    assert list_half_made(disk / "output") == []


def test_predictions_that_do_not_fit_leave_no_file(
    process: CommandProcess, disk: Path, tmp_path: Path, toy_csv: Path
) -> None:
    assert train(process, tmp_path / "output", toy_csv).code == 0
    assert mount(disk, size_kb=8)
    for suffix in ("csv", "jsonl", "parquet"):
        words = ["predict", str(tmp_path / "output/tiny-toy"), "--input", str(toy_csv)]
        outcome = process.call([*words, "--output", str(disk / f"out.{suffix}")])
        assert outcome.code == 5, outcome.told
        assert list(disk.iterdir()) == []
