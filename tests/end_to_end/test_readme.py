"""The README's promises: every command in it is run, in its order, in one folder, against a local hub."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwenkit.config import load_config
from qwenkit.training.schedule import documents_per_step
from tests.conftest import write_toy_csv
from tests.data.raid_rows import ROWS_A_SOURCE, write_raid_csv
from tests.end_to_end.processes import CommandProcess, Outcome, make_environment
from tests.end_to_end.readme_commands import README, Snippet, find_snippets, read_snippets
from tests.hub.hub_server import LocalHub

QWENKIT = find_snippets("console", "qwenkit")
LAUNCHED = find_snippets("console", "torchrun", "accelerate")
MAKE = find_snippets("console", "make")
PYTHON = find_snippets("python")

SHORTER = {"max_steps": 2, "dataloader_num_workers": 0}
"""Settings of `training` that change how long a command takes, and nothing about what it does."""
PROGRAMS = ("qwenkit", "make", "torchrun", "accelerate")
TRAINING_COMMANDS = ("train", "run", "demo")
# What the README shows for one run; all other names in its tree are of the same kind.
ON_DISK = (
    "datasets/100k/prepared/train.parquet",
    "datasets/100k/prepared/labels.json",
    "datasets/100k/prepared/audit.json",
    "datasets/100k/tokenized",
    "qwen3-0.6b-100k/config.yaml",
    "qwen3-0.6b-100k/metrics.jsonl",
    "qwen3-0.6b-100k/summary.json",
    "qwen3-0.6b-100k/trained/qwenkit.json",
    "qwen3-0.6b-100k/evaluated/before/report.html",
    "qwen3-0.6b-100k/evaluated/after/metrics.json",
    "qwen3-0.6b-100k/exported/merged/parity.json",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader of the README works; mine.csv and RAID's train.csv are there already."""
    folder = tmp_path_factory.mktemp("reader") / "work"
    folder.mkdir()
    toy = write_toy_csv(folder / "mine.csv", rows=400).read_text()
    names = {"text,label": "body,class", "AI_Generated": "spam", "Human_Written": "ham"}
    for theirs, own in names.items():
        toy = toy.replace(theirs, own)
    (folder / "mine.csv").write_text(toy)
    write_raid_csv(folder / "train.csv", 16 * ROWS_A_SOURCE)
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path, hub: LocalHub) -> Iterator[dict[Snippet, Outcome]]:
    """What each command and each Python block of the README led to, run from top to bottom."""
    process = CommandProcess(folder, make_environment(folder.parent, endpoint=hub.endpoint))
    outcomes = {}
    for snippet in dict.fromkeys(read_snippets(README.read_text("utf-8"))):
        if snippet in QWENKIT:
            outcomes[snippet] = process.call(shorten(snippet.words))
        elif snippet in LAUNCHED:
            # The launchers are tested in test_ranks.py; here, what they are told to launch.
            words = snippet.words[snippet.words.index("qwenkit") :]
            outcomes[snippet] = process.call(shorten(words))
        elif snippet in PYTHON:
            # The class has no other place for settings that are not in the script.
            settings = "".join(f"  {name}: {value}\n" for name, value in SHORTER.items())
            (folder / "config.yaml").write_text(f"training:\n{settings}")
            outcomes[snippet] = process.execute(snippet.text)
            (folder / "config.yaml").unlink()
    yield outcomes
    process.close()


def shorten(words: list[str]) -> list[str]:
    """Add what makes a training command short, and nothing to any other."""
    if words[1] not in TRAINING_COMMANDS:
        return words
    return [
        *words,
        *(part for name, value in SHORTER.items() for part in ("--set", f"training.{name}={value}")),
    ]


def test_there_is_nothing_to_type_that_these_tests_do_not_run() -> None:
    """Blocks without a language hold trees and diagrams, nothing to type."""
    for snippet in read_snippets(README.read_text("utf-8")):
        assert snippet.language in ("console", "python", "bibtex"), snippet
        assert snippet.language != "console" or snippet.program in PROGRAMS, snippet
    assert len(QWENKIT) > 10 and MAKE and PYTHON


@pytest.mark.parametrize("command", [*QWENKIT, *LAUNCHED], ids=lambda snippet: snippet.text)
def test_each_command_of_the_readme_runs(command: Snippet, outcomes: dict[Snippet, Outcome]) -> None:
    outcome = outcomes[command]
    assert outcome.code == 0, outcome.told
    # The rows of these tests are few and simple, and the audit and the thresholds say so.
    expected = ("alone tells the classes apart", "validation texts only: take it as a hint")
    assert all(any(words in line for words in expected) for line in outcome.err.splitlines()), outcome.told
    assert outcome.out, "a command that says nothing leaves its reader guessing"


@pytest.mark.parametrize("script", PYTHON, ids=range(len(PYTHON)))
def test_each_python_block_of_the_readme_runs(script: Snippet, outcomes: dict[Snippet, Outcome]) -> None:
    assert outcomes[script].code == 0, outcomes[script].told


def test_the_commands_leave_on_disk_what_the_readme_shows(
    folder: Path, outcomes: dict[Snippet, Outcome]
) -> None:
    assert all(outcome.code == 0 for outcome in outcomes.values())
    readme = README.read_text("utf-8")
    for path in ON_DISK:
        assert (folder / "output" / path).exists(), path
        assert Path(path).name in readme or Path(path).stem in readme, path
    published = [path.parent for path in folder.glob("output/**/manifest.json")]
    for name in ("prepared", "trained", "before", "after", "merged"):
        assert any(path.name == name for path in published), name


def test_without_a_key_runs_are_tracked_offline_unless_told_otherwise(
    folder: Path, outcomes: dict[Snippet, Outcome]
) -> None:
    assert outcomes
    assert list((folder / "output/qwen3-0.6b-100k/wandb").glob("offline-run-*/*.wandb"))
    assert not (folder / "output/qwen3-0.6b-1m/wandb").exists()


@pytest.mark.parametrize("command", MAKE, ids=lambda snippet: snippet.text)
def test_each_make_target_of_the_readme_exists(command: Snippet) -> None:
    finished = subprocess.run(
        ["make", "--dry-run", *command.words[1:]], cwd=README.parent, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr


def test_the_table_of_shipped_configs_says_what_they_hold() -> None:
    table = re.findall(r"^\| ([^|`]*) \| (.+) \| (.+) \| (.+) \|$", README.read_text("utf-8"), re.M)
    rows = {name: cells for name, *cells in table}
    for column, name in enumerate(("default", "fast", "demo")):
        config = load_config(name).config
        step, parts = documents_per_step(config), config.training.gradient_accumulation_steps
        cut = "cut by tokens" if config.training.micro_batch_tokens == "auto" else f"in {parts}"
        assert rows["a step"][column].startswith(f"{step} documents {cut}"), name
        assert float(rows["LoRA dropout"][column]) == config.peft.lora_dropout, name
        samples = config.training.eval_samples
        scored = "all rows" if samples is None else f"{samples:,} rows"
        assert rows["validation while training"][column] == scored, name
        assert ("nf4" in rows["base"][column]) == (config.quantization.method == "nf4"), name


def test_commands_are_found_wherever_the_readme_has_them() -> None:
    text = (
        "Type `make x`, or:\n\n```console\nqwenkit a \\\n  --b 1  # why\n# alone\nnano c\n```\n`qwenkit\nd`\n"
    )
    assert [" ".join(snippet.words) for snippet in read_snippets(text)] == [
        "make x",
        "qwenkit a --b 1",
        "nano c",
        "qwenkit d",
    ]


def test_each_message_in_the_trouble_table_is_one_that_the_code_gives() -> None:
    source = " ".join(path.read_text("utf-8") for path in (README.parent / "qwenkit").rglob("*.py"))
    # Messages are written over several lines of code, and names stand in braces.
    said = re.sub(r'"\s*\n\s*f?"', "", source)
    rows = re.findall(r"^\| `([^`]+)` \| ", README.read_text("utf-8"), re.M)
    pieces = [piece.strip() for row in rows for piece in row.split("...") if piece.strip()]
    assert len(rows) >= 10
    assert [piece for piece in pieces if piece not in said] == []
