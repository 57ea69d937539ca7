"""Broken inputs whose bytes are not those of the kind that their names promise."""

import gzip
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.good_inputs import (
    ROWS,
    BrokenInput,
    edit,
    put,
    recode,
    swap,
    to_csv,
)

BYTES = "qwenkit.data.file_bytes"
CSV = "qwenkit.data.csv_rows"
JSON = "qwenkit.data.json_damage"
DAMAGE = "qwenkit.data.damage"
READERS = "qwenkit.data.readers"
LABELS = "qwenkit.data.labels"


def repeat_column(path: Path) -> None:
    columns = [pa.array([row[name] for row in ROWS]) for name in ("text", "label", "label")]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "label", "label"]), path)


def break_utf8_in_parquet(path: Path) -> None:
    """Arrow does not check what is said to be UTF-8; the twelfth byte of the first text is none."""
    texts = pa.array([row["text"] for row in ROWS])
    _, offsets, values = texts.buffers()
    broken = bytearray(values.to_pybytes())
    broken[12] = 0xFF
    column = pa.StringArray.from_buffers(len(ROWS), offsets, pa.py_buffer(bytes(broken)))
    pq.write_table(pa.table({"text": column, "label": [row["label"] for row in ROWS]}), path)


def write_bytes_column(path: Path) -> None:
    texts = [row["text"].encode() for row in ROWS]
    texts[7] = b"caf\xe9"
    pq.write_table(pa.table({"text": texts, "label": [row["label"] for row in ROWS]}), path)


ENCODING = [
    BrokenInput(
        "windows-1252 csv",
        "rows.csv",
        swap("number 7", b"caf\xe9 7"),
        f"{CSV}.refuse_bad_utf8",
        ("rows.csv is not UTF-8: byte 420 (0xE9, in line 9)", "iconv -f WINDOWS-1252 -t UTF-8 old > new"),
    ),
    BrokenInput(
        "windows-1252 header",
        "rows.csv",
        swap("text,label", b"text,label,caf\xe9"),
        f"{CSV}.refuse_bad_utf8",
        ("is not UTF-8: byte 14 (0xE9, in line 1)", "iconv"),
    ),
    BrokenInput(
        "windows-1252 jsonl",
        "rows.jsonl",
        swap("number 7", b"caf\xe9 7"),
        f"{DAMAGE}.refuse_bad_utf8",
        ("rows.jsonl is not UTF-8: byte 587 (0xE9, in line 8)", "iconv -f WINDOWS-1252 -t UTF-8 old > new"),
    ),
    BrokenInput(
        "windows-1252 in gzip",
        "rows.csv.gz",
        put(gzip.compress(to_csv(ROWS).replace(b"number 7", b"caf\xe9 7"))),
        f"{CSV}.refuse_bad_utf8",
        ("is not UTF-8: byte 420 (0xE9, in line 9)",),
    ),
    BrokenInput(
        "ends inside a character",
        "rows.csv",
        edit(lambda content: content[:-1] + b"\xc3"),
        f"{CSV}.refuse_bad_utf8",
        ("begins a character, and the file ends inside it", "cut off"),
    ),
    BrokenInput(
        "utf-16 csv",
        "rows.csv",
        recode("utf-16"),
        f"{BYTES}.refuse_wide_text",
        ("is UTF-16, not UTF-8", "iconv -f UTF-16 -t UTF-8"),
    ),
    BrokenInput(
        "utf-16 jsonl", "rows.jsonl", recode("utf-16"), f"{BYTES}.refuse_wide_text", ("is UTF-16, not UTF-8",)
    ),
    BrokenInput(
        "utf-32", "rows.csv", recode("utf-32"), f"{BYTES}.refuse_wide_text", ("is UTF-32, not UTF-8",)
    ),
    BrokenInput(
        "utf-16 without a mark",
        "rows.csv",
        recode("utf-16-le"),
        f"{BYTES}.refuse_nul",
        ("looks like UTF-16", "iconv -f UTF-16LE -t UTF-8"),
    ),
    BrokenInput(
        "utf-16 big endian without a mark",
        "rows.jsonl",
        recode("utf-16-be"),
        f"{BYTES}.refuse_nul",
        ("looks like UTF-16", "iconv -f UTF-16BE -t UTF-8"),
    ),
    BrokenInput(
        "nul in csv",
        "rows.csv",
        swap("number 7", "numb\0er 7"),
        f"{BYTES}.refuse_nul",
        ("holds a NUL byte, which no text has, at byte 421 (line 9)", "tr -d"),
    ),
    BrokenInput(
        "nul in jsonl",
        "rows.jsonl",
        swap("number 7", "numb\0er 7"),
        f"{BYTES}.refuse_nul",
        ("holds a NUL byte", "(line 8)"),
    ),
    BrokenInput(
        "hole in a file",
        "rows.jsonl",
        edit(lambda content: content[:2000] + bytes(2000) + content[4000:]),
        f"{BYTES}.refuse_nul",
        ("holds a NUL byte", "at byte 2,000", "copied badly"),
    ),
    BrokenInput(
        "half a character in json",
        "rows.jsonl",
        swap("number 7", "numb\\ud83d 7"),
        f"{JSON}.refuse_half_characters",
        ("line 8: \\ud83d is half of a character", "Take it out"),
    ),
    BrokenInput(
        "half a character in a json array over many lines",
        "rows.json",
        edit(lambda content: content.replace(b"number 7", b"numb\\ud83d 7").replace(b"}, ", b"},\n")),
        f"{JSON}.refuse_half_characters",
        ("entry 8: \\ud83d is half of a character", "Take it out"),
    ),
    BrokenInput(
        "bytes that are no text",
        "rows.parquet",
        write_bytes_column,
        f"{LABELS}.refuse_bad_bytes",
        ('the column "text" holds bytes, and those of row 7', "byte 3 is 0xE9", "model.text_column"),
    ),
]

PARQUET = [
    BrokenInput(
        "another kind",
        "rows.parquet",
        put(to_csv(ROWS)),
        f"{DAMAGE}.refuse_cut_parquet",
        ("is no Parquet file: it does not begin with PAR1", "suffix"),
    ),
    BrokenInput(
        "cut off",
        "rows.parquet",
        edit(lambda content: content[:-10]),
        f"{DAMAGE}.refuse_cut_parquet",
        ("is no whole Parquet file: it does not end with PAR1", "Fetch it again"),
    ),
    BrokenInput(
        "page damaged",
        "rows.parquet",
        edit(lambda content: content[:60] + b"\xff" * 60 + content[120:]),
        f"{READERS}.explain_damage",
        ("rows.parquet cannot be read", "It seems damaged: fetch it again"),
    ),
    BrokenInput(
        "column named twice",
        "rows.parquet",
        repeat_column,
        f"{READERS}.refuse_repeated_columns",
        ('has 2 columns named "label"', "Rename"),
    ),
    BrokenInput(
        "text that is not utf-8",
        "rows.parquet",
        break_utf8_in_parquet,
        f"{DAMAGE}.refuse_bad_utf8_column",
        ('"text" of row 0 (from 0 on) is not UTF-8: byte 12', "0xFF"),
    ),
    BrokenInput(
        "no rows",
        "rows.parquet",
        lambda path: pl.DataFrame(ROWS).clear().write_parquet(path),
        f"{READERS}.refuse_no_rows",
        ("names the columns text, label, but has no rows",),
    ),
]
