"""Files of every kind come in whole, and a broken one is refused with the place where it breaks."""

import codecs
import csv
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwenkit.data.csv_rows import QuoteCheck
from qwenkit.data.readers import list_data_files, read_file
from qwenkit.errors import DataError
from qwenkit.stages import PREPARE, StagePlan

TRICKY = pl.DataFrame(
    {
        "text": ['a "quoted" word', "two\nlines", "comma, and\r\nreturn", "häß\u200blich 🙂", " padded "],
        "label": ["A", "B", "A", "B", "A"],
    }
)


@pytest.fixture
def write(tmp_path: Path):
    def run(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return run


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "ndjson", "json", "parquet"])
def test_quotes_newlines_and_unicode_survive_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.{suffix}"
    if suffix == "parquet":
        TRICKY.write_parquet(path)
    elif suffix in ("csv", "tsv"):
        TRICKY.write_csv(path, separator="\t" if suffix == "tsv" else ",")
    else:
        TRICKY.write_ndjson(path)
    assert read_file(path).equals(TRICKY)


def test_json_array_is_read_like_json_lines(write) -> None:
    path = write("rows.json", '\n [{"text": "a", "label": "A"}, {"text": 5, "label": "B"}]')
    assert read_file(path).rows() == [("a", "A"), ("5", "B")]


def test_csv_values_stay_as_written(write) -> None:
    path = write("rows.csv", "text,label,id\n0012,1,007\n1e3,0,1.50\ntrue,1,\n")
    assert read_file(path).rows() == [("0012", "1", "007"), ("1e3", "0", "1.50"), ("true", "1", None)]


def test_number_late_in_a_json_text_column_does_not_vanish(write) -> None:
    lines = ['{"text": "word", "label": "A"}'] * 5000 + ['{"text": 12, "label": true}']
    frame = read_file(write("rows.jsonl", "\n".join(lines)))
    assert frame.height == 5001
    assert frame.row(-1) == ("12", "true")


def test_json_types_follow_from_all_lines_and_not_from_the_first(write) -> None:
    lines = ['{"text": 1}'] * 3000 + ['{"text": "word", "late": "x"}']
    frame = read_file(write("rows.jsonl", "\n".join(lines)))
    assert frame.rows()[-2:] == [("1", None), ("word", "x")]


def test_quote_inside_a_bare_csv_field_is_text(write) -> None:
    path = write("rows.csv", 'text,label\na 5" pipe,A\nsays "hi" to,B\n"x, y",A\n')
    assert read_file(path).rows() == [('a 5" pipe', "A"), ('says "hi" to', "B"), ("x, y", "A")]


def test_byte_order_mark_is_not_part_of_the_first_column(write) -> None:
    assert read_file(write("rows.csv", b"\xef\xbb\xbftext,label\na,A\n")).columns == ["text", "label"]
    assert read_file(write("rows.jsonl", b'\xef\xbb\xbf{"text": "a"}\n')).columns == ["text"]


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.csv does not exist"):
        read_file(tmp_path / "gone.csv")


def test_bad_byte_is_found_beyond_the_first_chunk(write) -> None:
    # A character of two bytes lies across the border of the first chunk, which ends after 2^20 bytes.
    good = b"text,label\n" + b"x" * ((1 << 20) - 12) + "ä".encode()
    path = write("rows.csv", good + b"\xff,A\n")
    with pytest.raises(DataError, match=f"byte {len(good):,} "):
        read_file(path)


def test_folder_lists_one_kind_of_data_and_skips_what_is_hidden(write, tmp_path: Path) -> None:
    for name in ("b/2.csv", "a.csv", ".cache/x.csv", "notes.txt", "labels.json"):
        write(name, "text,label\na,A\n")
    assert [p.relative_to(tmp_path).as_posix() for p in list_data_files(tmp_path)] == ["a.csv", "b/2.csv"]


def test_what_qwenkit_wrote_below_a_folder_of_data_is_no_data(write, tmp_path: Path) -> None:
    own = write("rows.parquet", "x")
    artifact = tmp_path / "output/datasets/x/prepared"
    plan = StagePlan(PREPARE, artifact, settings={}, inputs={}, identity={})
    with plan.publish(replace=True) as staging:
        (staging.folder / "train.parquet").write_text("x")
    for name in ("metrics.jsonl", "summary.json", "anything.csv"):
        write(f"output/tiny-x/{name}", "x")
    write("others/manifest.json", "{}")
    others = write("others/a.parquet", "x")
    assert list_data_files(tmp_path) == [others, own]
    assert list_data_files(artifact) == [artifact / "train.parquet"]


def test_folder_with_two_kinds_is_refused(write, tmp_path: Path) -> None:
    write("a.csv", "x")
    write("a.parquet", "x")
    with pytest.raises(DataError, match=r"\.csv and \.parquet"):
        list_data_files(tmp_path)


def test_folder_without_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no data files"):
        list_data_files(tmp_path)


@pytest.mark.parametrize("rows_a_group", [7, 100_000])
def test_every_type_of_parquet_comes_in_as_it_was_written(tmp_path: Path, rows_a_group: int) -> None:
    frame = pl.DataFrame(
        {
            "text": [f"text {i}" if i % 7 else None for i in range(50_000)],
            "kind": pl.Series([f"k{i // 20_000}" for i in range(50_000)], dtype=pl.Categorical),
            "n": range(50_000),
            "tags": [["a", None]] * 25_000 + [[]] * 25_000,
            "meta": [{"x": 1.5, "y": None}] * 50_000,
            "raw": [b"\xff"] * 50_000,
            "nothing": pl.Series([None] * 50_000, dtype=pl.Null),
        }
    )
    frame.write_parquet(tmp_path / "rows.parquet", row_group_size=rows_a_group if rows_a_group > 7 else 7_000)
    assert read_file(tmp_path / "rows.parquet").equals(frame)


def test_damaged_parquet_that_ends_polars_is_refused(tmp_path: Path) -> None:
    """On some of these files polars panics or ends the process; what is not refused must come back."""
    path = tmp_path / "rows.parquet"
    TRICKY.write_parquet(path)
    content = path.read_bytes()
    for place in range(4, len(content) - 4):
        path.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        try:
            read_file(path)
        except DataError as error:
            assert str(path) in str(error)


@given(
    fields=st.lists(
        st.lists(st.text('a",\n\r é', max_size=6), min_size=2, max_size=2), min_size=1, max_size=6
    ),
    pieces=st.integers(3, 9),
    mark=st.sampled_from([b"", codecs.BOM_UTF8]),
)
def test_quotes_that_csv_wrote_are_in_place_however_the_file_is_cut(fields, pieces, mark) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerows(fields)
    content = mark + written.getvalue().encode()
    check = QuoteCheck(",")
    for start in range(0, len(content), pieces):
        check.look(content[start : start + pieces])
    check.look(b"")
    assert check.are_in_place


@pytest.mark.parametrize(
    "row", ['"a "b" c",x', '"a" b,x', '"one "two",x\n"three" four",y', '"never closed""', 'say "so",x']
)
def test_quotes_out_of_place_are_seen_however_the_file_is_cut(row: str) -> None:
    for size in range(1, len(row) + 1):
        check = QuoteCheck(",")
        for start in range(0, len(row), size):
            check.look(row[start : start + size].encode())
        check.look(b"")
        assert not check.are_in_place, size
