"""Broken inputs that are packed, or that are another kind of file than their names say."""

import gzip

from tests.data.good_inputs import ROWS, BrokenInput, edit, put, rename, to_csv, to_jsonl, to_parquet

BYTES = "qwenkit.data.file_bytes"
KINDS = "qwenkit.data.file_kinds"
DAMAGE = "qwenkit.data.damage"
READERS = "qwenkit.data.readers"
SOURCES = "qwenkit.data.sources"

ARCHIVES = [
    BrokenInput(
        "gzip cut off",
        "rows.csv.gz",
        edit(lambda content: content[:-30]),
        f"{KINDS}.refuse_damaged_archive",
        ("is no whole gzip archive", "cut off"),
    ),
    BrokenInput(
        "gzip sum wrong",
        "rows.csv.gz",
        edit(lambda content: content[:-6] + b"\0" + content[-5:]),
        f"{KINDS}.refuse_damaged_archive",
        ("is no whole gzip archive", "incorrect data check"),
    ),
    BrokenInput(
        "gzip with a tail",
        "rows.csv.gz",
        edit(lambda content: content + b"tail"),
        f"{KINDS}.refuse_damaged_archive",
        ("is no whole gzip archive",),
    ),
    BrokenInput(
        "zstd cut off",
        "rows.jsonl.zst",
        edit(lambda content: content[:-30]),
        f"{KINDS}.refuse_damaged_archive",
        ("is no whole zstd archive", "cut off"),
    ),
    BrokenInput(
        "zstd damaged",
        "rows.jsonl.zst",
        edit(lambda content: content[:300] + b"\xff" * 9 + content[309:]),
        f"{KINDS}.refuse_damaged_archive",
        ("is no whole zstd archive",),
    ),
    BrokenInput(
        "no archive",
        "rows.csv.gz",
        put(to_csv(ROWS)),
        f"{BYTES}.refuse_other_kind",
        ("is no archive at all by its first bytes, not gzip", "right suffix"),
    ),
    BrokenInput(
        "another archive",
        "rows.jsonl.zst",
        put(gzip.compress(to_jsonl(ROWS))),
        f"{BYTES}.refuse_other_kind",
        ("is a gzip archive by its first bytes, not zstd",),
    ),
    BrokenInput(
        "archive without its suffix",
        "rows.csv",
        put(gzip.compress(to_csv(ROWS))),
        f"{BYTES}.refuse_other_kind",
        ("is a gzip archive by its first bytes", "Name it .csv.gz"),
    ),
    BrokenInput(
        "parquet as csv",
        "rows.csv",
        put(to_parquet(ROWS)),
        f"{BYTES}.refuse_other_kind",
        ("by its first bytes it is a Parquet file", "name it .parquet"),
    ),
    BrokenInput(
        "parquet in gzip",
        "rows.csv.gz",
        put(gzip.compress(to_parquet(ROWS))),
        f"{BYTES}.refuse_other_kind",
        ("by its first bytes it is a Parquet file",),
    ),
    BrokenInput(
        "excel as csv",
        "rows.csv",
        put(b"PK\x03\x04" + bytes(range(1, 200))),
        f"{BYTES}.refuse_other_kind",
        ("a ZIP archive or an Excel file", "save the sheet as CSV"),
    ),
    BrokenInput(
        "packed twice",
        "rows.csv.gz",
        edit(gzip.compress),
        f"{BYTES}.refuse_other_kind",
        ("holds no .csv; by its first bytes it is an archive in an archive: unpack it",),
    ),
    BrokenInput(
        "tar",
        "rows.csv.gz",
        put(gzip.compress(b"rows.csv".ljust(257, b"\0") + b"ustar" + to_csv(ROWS))),
        f"{BYTES}.refuse_other_kind",
        ("it is a tar archive: unpack it",),
    ),
    BrokenInput(
        "pointer",
        "rows.jsonl",
        put(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        f"{BYTES}.refuse_other_kind",
        ("it is a Git LFS pointer in place of the file: run `git lfs pull`",),
    ),
    BrokenInput(
        "pointer to parquet",
        "rows.parquet",
        put(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        f"{DAMAGE}.name_other_kind",
        ("does not begin with PAR1. It is a Git LFS pointer", "git lfs pull"),
    ),
    BrokenInput(
        "web page",
        "rows.csv",
        put(b"<!DOCTYPE html>\n<html><body>404, not found</body></html>\n"),
        f"{BYTES}.refuse_other_kind",
        ("a web page, perhaps an error of the download: fetch it again",),
    ),
    BrokenInput(
        "bomb",
        "rows.csv.gz",
        put(gzip.compress(b"text,label\n" + b"a" * 70_000_000)),
        f"{BYTES}.refuse_bomb",
        ("unpacks to more than 200 times its", "unpack it yourself"),
    ),
    BrokenInput(
        "nothing in gzip",
        "rows.csv.gz",
        put(gzip.compress(b"")),
        f"{READERS}.refuse_no_rows",
        ("rows.csv.gz is whole, but has no rows",),
    ),
    BrokenInput(
        "zip",
        "rows.csv",
        rename("rows.zip"),
        f"{SOURCES}.refuse_other_suffix",
        ("has .zip; data files are .csv", "also packed as .gz or .zst"),
    ),
]
