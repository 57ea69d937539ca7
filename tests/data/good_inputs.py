"""Good inputs of every kind, and the means to spoil one thing in them."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

ROWS = [
    {
        "text": f"number {i} is about subject {i * 7 % 101} and {i * 13 % 89} by name{i}",
        "label": ["AI_Generated", "Human_Written"][i % 2],
    }
    for i in range(60)
]
Rows = list[dict[str, Any]]


def to_csv(rows: Rows, *, separator: str = ",") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, rows[0], delimiter=separator, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def to_jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def to_json(rows: Rows) -> bytes:
    return json.dumps(rows).encode()


def to_parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out)
    return out.getvalue()


def zstd(content: bytes) -> bytes:
    return pa.Codec("zstd").compress(content, asbytes=True)


GOOD: dict[str, bytes | dict[str, bytes]] = {
    "rows.csv": to_csv(ROWS),
    "rows.tsv": to_csv(ROWS, separator="\t"),
    "rows.jsonl": to_jsonl(ROWS),
    "rows.json": to_json(ROWS),
    "rows.parquet": to_parquet(ROWS),
    "rows.csv.gz": gzip.compress(to_csv(ROWS)),
    "rows.jsonl.zst": zstd(to_jsonl(ROWS)),
    "set": {"a.jsonl": to_jsonl(ROWS[:30]), "b.jsonl": to_jsonl(ROWS[30:])},
    "splits": {
        "train.csv": to_csv(ROWS[:40]),
        "validation.csv": to_csv(ROWS[40:50]),
        "test.csv": to_csv(ROWS[50:]),
    },
}
"""Good inputs by the name of the file or folder; each holds the same sixty rows."""


def write_good(folder: Path, name: str) -> Path:
    """Write a good input, which is then spoiled in place."""
    content = GOOD[name]
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
        for file, part in content.items():
            (path / file).write_bytes(part)
    return path


Spoil = Callable[[Path], Path | None]


@dataclass(frozen=True)
class BrokenInput:
    """One broken input.

    Attributes:
        good: Name of the good input that it starts from.
        spoil: Breaks it in place; gives the new path where it has one.
        check: The function that finds it, by dotted name, where it is called from.
        says: What the message must hold: the place, what was found, what to do.
        settings: `--set` that belong to the defect.
    """

    name: str
    good: str
    spoil: Spoil
    check: str
    says: tuple[str, ...]
    settings: tuple[str, ...] = ()
    code: int = 2


def edit(change: Callable[[bytes], bytes], file: str | None = None) -> Spoil:
    def spoil(path: Path) -> None:
        target = path / file if file else path
        target.write_bytes(change(target.read_bytes()))

    return spoil


def put(content: bytes, file: str | None = None) -> Spoil:
    return edit(lambda _: content, file)


def swap(old: str | bytes, new: str | bytes, file: str | None = None) -> Spoil:
    before, after = (part if isinstance(part, bytes) else part.encode() for part in (old, new))
    return edit(lambda content: content.replace(before, after, 1), file)


def recode(encoding: str, *, bom: bytes = b"") -> Spoil:
    return edit(lambda content: bom + content.decode().encode(encoding))


def change_rows(
    change: Callable[[Rows], Iterable[dict[str, Any]]],
    write: Callable[[Rows], bytes],
    file: str | None = None,
) -> Spoil:
    """Change the parsed rows and write them anew."""

    def spoil(path: Path) -> None:
        target = path / file if file else path
        rows = ROWS if file is None else [json.loads(line) for line in target.read_text().splitlines()]
        target.write_bytes(write(list(change(rows))))

    return spoil


def each(**values: Callable[[int, dict[str, Any]], Any]) -> Callable[[Rows], Rows]:
    """Set columns of every row, by its number and what it was."""
    return lambda rows: [
        row | {key: make(i, row) for key, make in values.items()} for i, row in enumerate(rows)
    ]


def rename(new: str) -> Spoil:
    return lambda path: path.rename(path.parent / new)


def add_file(name: str, content: bytes) -> Spoil:
    return lambda path: (path / name).write_bytes(content) and None
