"""Staging, manifest, fingerprint, lock, verification."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qwenkit import artifacts
from qwenkit.errors import ArtifactError, BusyError, ResourceError

PLAN = {"stage": "prepare", "fingerprint": "sha256:1", "settings": {"a.b": 1}, "inputs": {}, "identity": {}}


def publish_text(target: Path, text: str = "hello", *, replace: bool = False) -> None:
    with artifacts.publish(target, **PLAN, replace=replace) as staging:
        (staging.folder / "data.txt").write_text(text)
        staging.counts["rows"] = 1


def test_published_artifact_verifies_and_names_its_files(tmp_path: Path) -> None:
    publish_text(tmp_path / "prepared")
    manifest = artifacts.verify(tmp_path / "prepared", deep=True)
    assert [output.path for output in manifest.outputs] == ["data.txt"]
    assert manifest.counts == {"rows": 1}
    assert "torch" in manifest.versions
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")) == ["prepared"]


def test_an_exception_leaves_neither_target_nor_staging(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), artifacts.publish(tmp_path / "x", **PLAN) as staging:
        (staging.folder / "half").write_text("half")
        raise RuntimeError("boom")
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_an_existing_artifact_is_kept_unless_replaced(tmp_path: Path) -> None:
    publish_text(tmp_path / "x", "old")
    with pytest.raises(BusyError, match="--force"):
        publish_text(tmp_path / "x", "new")
    assert (tmp_path / "x/data.txt").read_text() == "old"
    publish_text(tmp_path / "x", "new", replace=True)
    assert (tmp_path / "x/data.txt").read_text() == "new"


def test_a_failing_replacement_keeps_the_old_artifact(tmp_path: Path) -> None:
    publish_text(tmp_path / "x", "old")
    with pytest.raises(RuntimeError), artifacts.publish(tmp_path / "x", **PLAN, replace=True):
        raise RuntimeError
    artifacts.verify(tmp_path / "x", deep=True)
    assert (tmp_path / "x/data.txt").read_text() == "old"


@pytest.mark.parametrize("deep", [False, True])
def test_a_missing_or_cut_file_is_found(tmp_path: Path, deep: bool) -> None:
    publish_text(tmp_path / "x")
    (tmp_path / "x/data.txt").write_text("hell")
    with pytest.raises(ArtifactError, match=r"data\.txt has 4 bytes, not 5"):
        artifacts.verify(tmp_path / "x", deep=deep)
    (tmp_path / "x/data.txt").unlink()
    with pytest.raises(ArtifactError, match=r"data\.txt is missing"):
        artifacts.verify(tmp_path / "x", deep=deep)


def test_a_changed_byte_is_found_by_the_deep_check(tmp_path: Path) -> None:
    publish_text(tmp_path / "x")
    (tmp_path / "x/data.txt").write_text("hellO")
    artifacts.verify(tmp_path / "x", deep=False)
    with pytest.raises(ArtifactError, match="changed"):
        artifacts.verify(tmp_path / "x", deep=True)


def test_a_folder_without_a_manifest_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    assert artifacts.read_manifest(tmp_path / "x") is None
    with pytest.raises(ArtifactError, match="no finished artifact"):
        artifacts.verify(tmp_path / "x", deep=False)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stage": 1}'])
def test_a_broken_manifest_is_an_error_not_a_traceback(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError, match="not a manifest"):
        artifacts.read_manifest(tmp_path)


def test_fingerprint_depends_on_each_part_and_on_no_order() -> None:
    def make(**changes: object) -> str:
        facts = {
            "stage": "s",
            "revision": 1,
            "settings": {"a": 1, "b": 2},
            "inputs": {"p": "f"},
            "identity": {"r": "x"},
        }
        return artifacts.fingerprint(**{**facts, **changes})  # type: ignore[arg-type]

    assert make() == make(settings={"b": 2, "a": 1})
    variants = [make(stage="t"), make(revision=2), make(settings={}), make(inputs={}), make(identity={})]
    assert len({make(), *variants}) == 6


def test_staleness_is_explained_by_the_setting(tmp_path: Path) -> None:
    manifest = artifacts.Manifest(
        stage="tokenize",
        fingerprint="f",
        settings={"tokenization.max_length": 384},
        inputs={"prepare": "a"},
        identity={"tokenizer": "t"},
    )
    reasons = artifacts.explain_staleness(
        manifest,
        settings={"tokenization.max_length": 512},
        inputs={"prepare": "b"},
        identity={"tokenizer": "t"},
    )
    assert reasons == ["max_length: 384 -> 512", "prepare was remade"]


def test_what_is_named_by_a_hash_is_said_to_have_changed_without_it() -> None:
    manifest = artifacts.Manifest(
        stage="train",
        fingerprint="f",
        settings={},
        inputs={},
        identity={
            "base": {"sha256": "a" * 64, "kind": "folder"},
            "csv": "b" * 64,
            "own_code": {"loss": "c" * 64},
        },
    )
    now = {"base": {"sha256": f"sha256:{'d' * 64}", "kind": "own"}, "jsonl": "b" * 64, "own_code": {}}
    assert artifacts.explain_staleness(manifest, settings={}, inputs={}, identity=now) == [
        "kind: folder -> own",
        "base.sha256 changed",
        "csv is gone",
        "jsonl is new",
        "own_code.loss is gone",
    ]


def test_a_second_process_is_told_that_the_target_is_busy(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from qwenkit.artifacts import hold_lock\n"
        "from qwenkit.errors import BusyError\n"
        "try:\n"
        "    with hold_lock(Path(sys.argv[1])): print('free')\n"
        "except BusyError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "x")]
    with artifacts.hold_lock(tmp_path / "x"):
        busy = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    free = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "another qwenkit process" in busy
    assert free == "free\n"


@pytest.mark.parametrize("moment", ["writing", "_fsync_tree", "_rename_into_place"])
def test_a_kill_leaves_nothing_that_looks_whole(tmp_path: Path, moment: str) -> None:
    script = f"""
import os, signal, sys
from pathlib import Path
from qwenkit import artifacts
def die(*args): os.kill(os.getpid(), signal.SIGKILL)
if {moment!r} != "writing": setattr(artifacts, {moment!r}, die)
facts = dict(stage="s", fingerprint="f", settings={{}}, inputs={{}}, identity={{}})
with artifacts.publish(Path(sys.argv[1]), **facts) as staging:
    (staging.folder / "data.txt").write_text("x")
    if {moment!r} == "writing": die()
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "x")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "x").exists()
    publish_text(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir() if "staging" in path.name] == []


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    publish_text(tmp_path / "x", "old")
    (tmp_path / "x").rename(tmp_path / ".x.old-1")
    with pytest.raises(BusyError, match="already exists"):
        publish_text(tmp_path / "x", "new")
    assert (tmp_path / "x/data.txt").read_text() == "old"


def test_a_full_disk_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="disk is full"), artifacts.publish(tmp_path / "x", **PLAN):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
