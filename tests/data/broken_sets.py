"""Broken inputs of which nothing is left, and those with a name that leads to no data."""

import gzip
from pathlib import Path

from tests.data.good_inputs import (
    ROWS,
    BrokenInput,
    add_file,
    change_rows,
    each,
    edit,
    put,
    rename,
    to_csv,
    to_jsonl,
)

READERS = "qwenkit.data.readers"
SOURCES = "qwenkit.data.sources"
PREPARE = "qwenkit.data.prepare"


def replace_with_folder(path: Path) -> Path:
    path.unlink()
    folder = path.with_name("nothing")
    folder.mkdir()
    (folder / "notes.txt").write_text("no data")
    return folder


def name_in_latin_1(path: Path) -> None:
    (path / "a.jsonl").rename(path / b"caf\xe9.jsonl".decode(errors="surrogateescape"))


NOTHING_LEFT = [
    BrokenInput(
        "no bytes", "rows.csv", put(b""), f"{READERS}.refuse_empty", ("is empty (0 bytes)", "Fetch it again")
    ),
    BrokenInput(
        "no bytes in parquet", "rows.parquet", put(b""), f"{READERS}.refuse_empty", ("is empty (0 bytes)",)
    ),
    BrokenInput(
        "no bytes in an archive", "rows.csv.gz", put(b""), f"{READERS}.refuse_empty", ("is empty (0 bytes)",)
    ),
    BrokenInput(
        "all texts null",
        "rows.jsonl",
        change_rows(each(text=lambda *_: None), to_jsonl),
        f"{PREPARE}._require_kept",
        ("no row is usable: 60 in, dropped 60 null", "model.text_column"),
    ),
    BrokenInput(
        "all labels null",
        "rows.csv",
        change_rows(each(label=lambda *_: None), to_csv),
        f"{PREPARE}._require_kept",
        ("no row is usable: 60 in, dropped 60 null", "model.label_column"),
    ),
    BrokenInput(
        "all texts blank",
        "rows.jsonl",
        change_rows(each(text=lambda i, _: " \u200b"[: i % 2 + 1]), to_jsonl),
        f"{PREPARE}._require_kept",
        ("60 in, dropped 60 empty",),
    ),
    BrokenInput(
        "one text under both labels",
        "rows.csv",
        change_rows(each(text=lambda *_: "the same"), to_csv),
        f"{PREPARE}._require_kept",
        ("60 in, dropped 60 conflicting_label",),
    ),
    BrokenInput(
        "one row",
        "rows.csv",
        change_rows(lambda rows: rows[:1], to_csv),
        f"{PREPARE}._require_rows",
        ("1 usable row is too few: validation would be empty", "Add rows"),
    ),
    BrokenInput(
        "one text in many forms",
        "rows.csv",
        change_rows(each(text=lambda i, _: "one and the same long text about nothing " + "!" * i), to_csv),
        f"{PREPARE}._require_rows",
        ("60 usable rows in 1 groups of near-duplicates", "dataset.near_duplicates.threshold"),
    ),
    BrokenInput(
        "shards without rows",
        "set",
        lambda path: [shard.write_bytes(b"[]") and None for shard in path.iterdir()] and None,
        "qwenkit.data.loading.refuse_no_rows",
        ("set is whole, but has no rows",),
    ),
    BrokenInput(
        "ids in the test split alone",
        "splits",
        edit(
            lambda content: content.replace(b"AI_Generated", b"0").replace(b"Human_Written", b"1"), "test.csv"
        ),
        f"{PREPARE}._require_kept",
        (
            'no row of test is usable: 10 in, dropped 10 unknown_label. Unknown labels: "0" (5), "1" (5)',
            "model.label_mapping",
        ),
    ),
    BrokenInput(
        "empty test split",
        "splits",
        put(b"text,label\n,AI_Generated\n", "test.csv"),
        f"{PREPARE}._require_kept",
        ("no row of test is usable: 1 in, dropped 1 null",),
    ),
]

NAMES = [
    BrokenInput(
        "name that is not utf-8",
        "set",
        name_in_latin_1,
        f"{READERS}.refuse_bad_name",
        ("caf\\udce9.jsonl has a name that is not UTF-8", "Rename it"),
    ),
    BrokenInput(
        "no suffix",
        "rows.csv",
        rename("rows"),
        f"{SOURCES}.refuse_other_suffix",
        ("has no suffix; data files are .csv",),
    ),
    BrokenInput(
        "hostile suffix",
        "rows.csv",
        rename("rows.\x1b[31m"),
        f"{SOURCES}.refuse_other_suffix",
        ("has .\\u001b[31m;",),
    ),
    BrokenInput(
        "folder without data",
        "rows.csv",
        replace_with_folder,
        f"{READERS}.refuse_no_files",
        ("holds no data files (.csv",),
    ),
    BrokenInput(
        "two kinds",
        "set",
        add_file("c.csv", to_csv(ROWS)),
        f"{READERS}.refuse_mixed_kinds",
        ("holds .csv and .jsonl files", "Keep one kind"),
    ),
    BrokenInput(
        "packed and unpacked",
        "set",
        add_file("a.jsonl.gz", gzip.compress(to_jsonl(ROWS))),
        f"{READERS}.refuse_packed_copies",
        ("holds a.jsonl and a.jsonl.gz, the same rows twice", "Keep one"),
    ),
]
