"""Texts to predict come in from lines and columns, in order and whole, or not at all."""

import gzip
import io
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from qwenkit.data.prediction_files import check_destination, read_texts, write_records
from qwenkit.data.readers import read_file
from qwenkit.errors import BusyError, DataError
from tests.data.good_inputs import zstd

LINES = "one\r\n\ntwo \n \u200b \nthr\u00e9e"


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_each_line_is_a_text(tmp_path: Path, mark: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    content = mark + LINES.encode()
    packed = {"a.txt": content, "a.txt.gz": gzip.compress(content), "a.txt.zst": zstd(content)}
    for name, written in packed.items():
        texts = read_texts(write(tmp_path / name, written), text_column="text")
        assert texts == ["one", "two ", "thr\u00e9e"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert read_texts("-", text_column="text") == ["one", "two ", "thr\u00e9e"]


def test_lines_of_an_old_mac_are_lines(tmp_path: Path) -> None:
    assert read_texts(write(tmp_path / "a.txt", "one\rtwo\r"), text_column="text") == ["one", "two"]


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "jsonl.zst", "json", "parquet"])
def test_column_of_a_file_is_read_in_order(tmp_path: Path, suffix: str) -> None:
    frame, path = pl.DataFrame({"n": [1, 2], "body": ["one", "two"]}), tmp_path / f"a.{suffix}"
    plain = tmp_path / f"plain.{suffix.split('.')[0]}"
    frame.write_parquet(plain) if suffix == "parquet" else None
    frame.write_csv(plain) if "csv" in suffix else None
    frame.write_ndjson(plain) if "json" in suffix else None
    pack = {"gz": gzip.compress, "zst": zstd}.get(suffix.split(".")[-1], bytes)
    path.write_bytes(pack(plain.read_bytes()))
    assert read_texts(path, text_column="body") == ["one", "two"]


BROKEN = [
    ("a.csv", "body\none\n", 'text column "text" is not in'),
    ("a.jsonl", '{"text": "x"}\n{"text": null}\n', "rows without a text to label: row 1 (from 0 on)"),
    ("a.jsonl", '{"text": "x"}\n' + '{"text": " "}\n' * 7, "rows 1, 2, 3, 4, 5 and 2 more (from 0 on)"),
    ("a.csv", 'text,n\n"",1\na,2\n', "row 0 (from 0 on). Fill or remove them"),
    ("a.jsonl", '{"text": "x"}\n{"text": \n', "1 of 2 lines is not a JSON object"),
    ("a.jsonl", '{"text": ["x"]}\n', 'the column "text" holds List(String), not text. Set --text-column'),
    ("a.txt", b"abc\n\xff", "is not UTF-8: byte 4 (0xFF, in line 2) cannot be decoded"),
    ("a.txt", b"\xef\xbb\xbfabc\n\xff", "byte 7 (0xFF, in line 2)"),
    ("a.txt", "abc".encode("utf-16"), "is UTF-16, not UTF-8. Convert it: `iconv -f UTF-16"),
    ("a.txt", "abcdef\n".encode("utf-16-le") * 9, "looks like UTF-16"),
    ("a.txt", gzip.compress(b"abc"), "is a gzip archive by its first bytes. Name it .txt.gz"),
    ("a.txt.gz", gzip.compress(b"abc" * 99)[:-9], "is no whole gzip archive"),
    ("a.md", "abc", "is no .txt, .csv"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN, ids=[message[:40] for *_, message in BROKEN])
def test_broken_input_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes | str, message: str
) -> None:
    with pytest.raises(DataError) as raised:
        read_texts(write(tmp_path / name, content), text_column="text")
    assert message in str(raised.value)
    assert str(tmp_path / name) in str(raised.value) or "the column" in message


def test_folder_and_missing_file_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.txt", tmp_path / "gone.csv"):
        with pytest.raises(DataError, match="does not exist, or is no file"):
            read_texts(path, text_column="text")


def test_stdin_that_is_not_utf8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"caf\xe9\n")))
    with pytest.raises(DataError, match=r"stdin is not UTF-8: byte 3 \(0xE9, in line 1\)"):
        read_texts("-", text_column="text")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_records_are_written_in_the_kind_that_the_suffix_names(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    write_records(path, [{"text": 'a, "b"\nc', "label": "A"}])
    assert read_file(path).rows() == [('a, "b"\nc', "A")]


def test_records_of_an_unknown_kind_have_no_destination(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.csv"):
        check_destination(tmp_path / "out.xlsx", source=None, force=True)


@pytest.mark.parametrize("source", [None, "-", "texts.csv"])
def test_a_file_that_is_there_is_overwritten_by_force_only(tmp_path: Path, source: str | None) -> None:
    path = tmp_path / "out.csv"
    path.touch()
    with pytest.raises(BusyError, match="exists: name another file, or overwrite it with --force"):
        check_destination(path, source=source, force=False)
    check_destination(path, source=source, force=True)


@pytest.mark.parametrize("force", [False, True])
def test_neither_the_texts_themselves_nor_a_folder_are_overwritten(tmp_path: Path, force: bool) -> None:
    path = tmp_path / "texts.csv"
    path.touch()
    (tmp_path / "link.csv").symlink_to(path)
    (tmp_path / "folder.csv").mkdir()
    for name, told in (("texts.csv", "read from"), ("link.csv", "read from"), ("folder.csv", "is a folder")):
        with pytest.raises(BusyError, match=told):
            check_destination(tmp_path / name, source=path, force=force)
