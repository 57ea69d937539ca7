"""Plain files: what is written as a whole, what is refused, and what a hash stands for."""

import errno
import os
from pathlib import Path

import pytest

from qwenkit.errors import ArtifactError, BusyError
from qwenkit.files import hash_file, hash_tree, read_json, replace_file, translate_disk_errors, write_json


def test_json_with_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "x.json", {"a": float("nan")})


def test_replacing_a_file_never_shows_half(tmp_path: Path) -> None:
    replace_file(tmp_path / "a/b.txt", "one")
    replace_file(tmp_path / "a/b.txt", "two")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "a/b.txt").read_text() == "two"


def test_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"label": "KI-geschrieben äöü", "scores": [0.5, None]})
    assert read_json(tmp_path / "x.json") == {"label": "KI-geschrieben äöü", "scores": [0.5, None]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "is missing"), (b'{"cut": ', "cannot be read as JSON"), (b"\xff\xfe", "cannot be read as JSON")],
)
def test_what_is_no_json_is_named_with_its_file(
    tmp_path: Path, content: bytes | None, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"x.json {complaint}"):
        read_json(tmp_path / "x.json")


def test_the_hash_of_a_folder_follows_names_and_contents_of_what_matches(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    before = hash_tree(tmp_path, ["*.txt"])
    (tmp_path / "notes.md").write_text("not asked for")
    assert hash_tree(tmp_path, ["*.txt", "a.*"]) == before
    (tmp_path / "a.txt").rename(tmp_path / "b.txt")
    renamed = hash_tree(tmp_path, ["*.txt"])
    (tmp_path / "b.txt").write_text("two")
    assert len({before, renamed, hash_tree(tmp_path, ["*.txt"])}) == 3


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    assert hash_file(tmp_path / "a.txt").startswith("ba7816bf8f01cfea")


def test_a_folder_without_permission_is_said_with_what_to_do(tmp_path: Path) -> None:
    with (
        pytest.raises(BusyError, match=r"cannot be written .*choose another --root"),
        translate_disk_errors(tmp_path / "x"),
    ):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_an_error_that_is_not_of_the_disk_passes_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(KeyError), translate_disk_errors(tmp_path / "x"):
        raise KeyError("x")
