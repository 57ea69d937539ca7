"""A long CSV comes out block by block as a whole reader reads it, whatever its texts hold."""

import csv
import gzip
import random
from pathlib import Path

import pytest

from qwenkit.data import csv_stream
from qwenkit.data.csv_stream import read_header, stream_csv
from qwenkit.errors import DataError

COLUMNS = ["id", "text", "model"]
PIECES = ["a", " ", '"', ",", "\n", "\r\n", "\r", "é", "字", "\u200b", '\n"', '",\n"']


@pytest.fixture
def awkward(tmp_path: Path) -> tuple[Path, list[tuple[str, str, str]]]:
    """Write 2,000 rows of what is hard in CSV, with Python's writer as the judge."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(1, 80))) for _ in range(2000)]
    rows = [(f"row {place}", text, draw.choice(["", "m"])) for place, text in enumerate(texts)]
    path = tmp_path / "awkward.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        # Python leaves a text of one CR bare, which no reader can tell from a line's end.
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return path, rows


def read_rows(path: Path, **options: int) -> list[tuple[str, ...]]:
    blocks = list(stream_csv(path, columns=COLUMNS, **options))
    assert [block.columns for block in blocks] == [COLUMNS] * len(blocks)
    return [tuple(value or "" for value in row) for block in blocks for row in block.rows()]


@pytest.mark.parametrize("block_bytes", [1, 7, 100, 4096, 1 << 20])
def test_blocks_of_any_size_give_the_same_rows(awkward, block_bytes: int) -> None:
    path, rows = awkward
    if block_bytes == 1:
        path.write_bytes(path.read_bytes()[:4000].rpartition(b'\n"row')[0] + b"\n")
        rows = rows[: len(read_rows(path))]
        assert len(rows) > 10
    assert read_rows(path, block_bytes=block_bytes) == rows


def test_gzip_is_read_as_the_file_that_it_packs(awkward) -> None:
    path, rows = awkward
    packed = path.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    told: list[int] = []
    blocks = list(stream_csv(packed, columns=COLUMNS, on_read=told.append, block_bytes=10_000))
    assert sum(block.height for block in blocks) == len(rows)
    assert sum(told) == packed.stat().st_size


def test_columns_come_in_the_order_asked_for_and_empty_fields_are_null(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(b'\xef\xbb\xbfid,"a\nb",text\r\n1,x,\r\n2,y,"t"')
    assert read_header(path) == ["id", "a\nb", "text"]
    blocks = list(stream_csv(path, columns=["text", "id"]))
    assert all(block.columns == ["text", "id"] for block in blocks)
    assert [row for block in blocks for row in block.rows()] == [(None, "1"), ("t", "2")]


def test_quote_that_is_never_closed_does_not_swallow_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "open.csv"
    path.write_text('id,text,model\n1,a,b\n2,"never closed\n' + "3,x,y\n" * 2000)
    with pytest.raises(DataError, match=r"begins at byte 20 does not end in the 12,016"):
        read_rows(path)
    # In a file of eleven gigabytes the rest is not read to its end first.
    monkeypatch.setattr(csv_stream, "LONGEST_RECORD_BYTES", 4000)
    with pytest.raises(DataError, match=r"byte 20 does not end in the 4,980 bytes"):
        read_rows(path, block_bytes=1000)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"id,te\xe9xt\n", "does not begin with the names of columns"),
        ("a.csv", b"id,text,model\n1,\xe9,m\n", "is not UTF-8: byte 16 cannot be decoded"),
        ("a.csv", b"id,text,model\n1,a,m,z\n", "is not valid CSV between bytes 0 and 22"),
        ("a.csv.gz", b"id,text,model\n1,a,m\n", "is no whole gzip file"),
        ("a.csv.gz", gzip.compress(b"id,text,model\n1,a,m\n" * 99)[:-9], "is no whole gzip file"),
    ],
)
def test_broken_file_is_one_line_that_says_where(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_place_of_a_bad_byte_is_counted_through_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    good = b"id,text,model\n" + b"1,a,m\n" * 1000
    path.write_bytes(good + b"2,\xff,m\n")
    with pytest.raises(DataError, match=f"byte {len(good) + 2:,} cannot be decoded"):
        read_rows(path, block_bytes=256)
    with pytest.raises(DataError, match="does not exist"):
        read_header(tmp_path / "nowhere.csv")
