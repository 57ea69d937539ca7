"""A set of one's own out of RAID's file by one command, and all that follows from it, as a user types it."""

import json
from pathlib import Path

import polars as pl
import pytest

from qwenkit.artifacts import read_manifest
from qwenkit.console import Console
from qwenkit.files import read_json
from qwenkit.steps.raid import read_raid
from tests.commands import call
from tests.conftest import TINY_SETTINGS
from tests.data.raid_rows import ROWS_A_SOURCE, write_raid_csv

ROWS = 16 * ROWS_A_SOURCE
SETTINGS = [
    part
    for setting in (*TINY_SETTINGS, "training.max_steps=2", "evaluation.run_pre_training_eval=false")
    for part in ("--set", setting)
]
QUICK = ["--set", "dataset.audit=false"]


@pytest.fixture(scope="module")
def raid_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raid_csv(tmp_path_factory.mktemp("raid") / "train.csv", ROWS)


def prepare(path: Path, root: Path, max_rows: int, *more: str, code: int = 0) -> str:
    words = ["--set", f"dataset.path={path}", "--set", f"dataset.max_rows={max_rows}", *QUICK, *more]
    return " ".join(call("prepare", "--dataset", "raid", "--root", root, *words, code=code).split())


def test_one_command_builds_a_set_and_the_next_stages_find_it(raid_csv: Path, tmp_path: Path) -> None:
    root = tmp_path / "output"
    printed = prepare(raid_csv, root, 400)
    assert "400 of 4,416 rows are chosen, 192 of them human" in printed
    assert "- not_sampled" in printed
    folder = root / "datasets/raid-400/prepared"
    manifest = read_manifest(folder)
    counts = manifest.counts["splits"]["all"]
    assert (counts["in"], counts["dropped"]["not_sampled"]) == (ROWS, ROWS - 400)
    assert counts["in"] == counts["kept"] + sum(counts["dropped"].values())
    assert (manifest.counts["kind"], manifest.counts["origin"]) == ("raid", str(raid_csv))
    assert list(manifest.identity) == ["raid"]
    # Neither the file nor the size is named again.
    printed = call("train", "--root", root, *SETTINGS)
    assert f"raid is {raid_csv}, max_rows 400, as it was prepared last" in printed
    assert "up to date, skipped" in printed
    run = root / "tiny-raid-400"
    call("evaluate", run, "--root", root)
    columns = {each["column"] for each in read_json(run / "evaluated/after/metrics.json")["slices"]}
    assert {"domain", "model", "attack", "decoding"} <= columns


def test_sizes_stand_beside_each_other_and_are_recalled_by_size(raid_csv: Path, tmp_path: Path) -> None:
    root = tmp_path / "output"
    prepare(raid_csv, root, 500)
    prepare(raid_csv, root, 300)
    ids = {
        size: {row for split in ("train", "validation", "test") for row in read_ids(root, size, split)}
        for size in ("500", "300")
    }
    assert ids["300"] < ids["500"]
    words = ("--dataset", "raid", "--set", "dataset.max_rows=500", *QUICK)
    printed = call("prepare", "--root", root, *words)
    assert "max_rows 500, as it was prepared last" in printed
    assert "up to date, skipped" in printed
    assert "redone: shuffle_seed: 42 -> 1" in prepare(raid_csv, root, 300, "--set", "dataset.shuffle_seed=1")


def test_prepared_sample_serves_on_when_its_file_is_gone_and_a_changed_file_is_read_anew(
    tmp_path: Path,
) -> None:
    path, root = write_raid_csv(tmp_path / "train.csv", ROWS), tmp_path / "output"
    prepare(path, root, 300)
    assert "up to date, skipped" in prepare(path, root, 300)
    pl.read_csv(path, infer_schema=False).head(ROWS - 1).write_csv(path)
    assert "redone: raid changed" in prepare(path, root, 300)
    path.unlink()
    assert "up to date, skipped" in call("tokenize", "--root", root, *SETTINGS)
    gone = prepare(path, root, 300, "--set", "dataset.shuffle_seed=1", code=2)
    assert "train.csv does not exist" in gone


def test_part_of_a_set_that_was_prepared_is_what_the_next_stage_takes(toy_csv: Path, tmp_path: Path) -> None:
    root = tmp_path / "output"
    call("prepare", "--dataset", toy_csv, "--root", root, "--set", "dataset.max_rows=100", *QUICK)
    printed = call("tokenize", "--root", root, *SETTINGS)
    assert "data set: toy (the one prepared last, max_rows 100)" in " ".join(printed.split())
    assert "up to date, skipped" in printed


def test_the_next_stage_takes_a_set_as_it_was_prepared_unless_told_otherwise(tmp_path: Path) -> None:
    root, data = tmp_path / "output", tmp_path / "mail.jsonl"
    rows = [{"body": f"letter {n} of {n * 7 % 31}", "kind": n % 2, "other": 1 - n % 2} for n in range(60)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("--set", "model.text_column=body", "--set", "model.label_column=kind")
    classes = ("--set", "model.labels=[ham, spam]", "--set", "model.label_mapping={0: ham, 1: spam}")
    printed = call("prepare", "--dataset", data, "--root", root, *columns, *classes, *QUICK)
    following = f"next: qwenkit tokenize --dataset {data} --set model.text_column=body"
    assert following in printed
    assert f"--root {root}" in printed.splitlines()[-1]
    tokenize = ("tokenize", "--root", root, "--set", "tokenization.tokenizer=train", *QUICK)
    printed = " ".join(call(*tokenize).split())
    for setting in (
        "text_column body",
        "label_column kind",
        'labels ["ham", "spam"]',
        '{"0": "ham", "1": "spam"}',
    ):
        assert setting in printed
    assert "up to date, skipped" in printed
    redone = " ".join(call(*tokenize, "--set", "model.label_column=other").split())
    assert "redone: label_column: kind -> other" in redone


def read_ids(root: Path, size: str, split: str) -> list[str]:
    return pl.read_parquet(root / f"datasets/raid-{size}/prepared/{split}.parquet")["id"].to_list()


def test_raid_without_its_file_or_with_another_is_one_clear_error(tmp_path: Path, toy_csv: Path) -> None:
    root = tmp_path / "output"
    assert "add --set dataset.path=train.csv" in " ".join(
        call("prepare", "--dataset", "raid", "--root", root, code=2).split()
    )
    assert "is no RAID file: it lacks id," in prepare(toy_csv, root, 10, code=2)
    assert "nowhere.csv does not exist" in prepare(tmp_path / "nowhere.csv", root, 10, code=2)
    streamed = call(
        *("prepare", "--dataset", toy_csv, "--root", root),
        *("--set", "dataset.streaming=true", "--set", "dataset.max_rows=9"),
        code=2,
    )
    assert "dataset.streaming is for hub data sets" in " ".join(streamed.split())


def test_leaderboard_file_keeps_both_halves_of_a_line_break_between_blocks(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    head = b"id,generation\n" + b"".join(b"%d,%s\n" % (row, b"x" * 2**20) for row in range(31))
    # The CR is the last byte of 32 MB, where the reader that was used before began another block.
    last = b'31,"' + b"y" * (32 * 2**20 - len(head) - 5) + b'\r\nz"\n32,end\n'
    path.write_bytes(head + last)
    blocks = list(read_raid(path, Console(quiet=True)))
    assert [text[-3:] for block in blocks for text in block["generation"]] == ["xxx"] * 31 + ["\r\nz", "end"]
