"""`qwenkit export` as a user types it, with the formats that other programs run."""

from pathlib import Path

import pytest

from qwenkit.artifacts import read_manifest, verify
from qwenkit.export.formats import FORMATS
from qwenkit.files import read_json
from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call
from tests.end_to_end.test_commands import root_of


def export(finished: QwenTrainingPipeline, out: Path, *options: str) -> str:
    """Export the finished run into a folder of the test."""
    fixed = ("--root", root_of(finished), "--out", out, "--set", "export.parity_rows=16")
    return call("export", finished.run_folder, *fixed, *options)


def test_help_lists_every_format() -> None:
    help_text = " ".join(call("export", "--help").replace("│", " ").split())
    assert ", ".join(FORMATS) in help_text


@pytest.mark.parametrize("name", ["gguf", pytest.param("onnx", marks=pytest.mark.slow)])
def test_an_export_is_published_whole_with_its_proof_and_the_data_it_was_trained_on(
    name: str, finished: QwenTrainingPipeline, tmp_path: Path
) -> None:
    export(finished, tmp_path, "--format", name)
    verify(tmp_path / name, deep=True)
    manifest = read_manifest(tmp_path / name)
    assert manifest is not None
    assert (manifest.stage, manifest.identity["format"]) == ("export", name)
    assert manifest.counts["rows"] == read_json(tmp_path / name / "parity.json")["rows"] == 16
    assert "Trained on toy." in (tmp_path / name / "README.md").read_text()
    printed = call("predict", tmp_path / name, "some text", code=3)
    assert f"in the {name} format, which other programs run" in " ".join(printed.split())


def test_another_gguf_type_redoes_that_format_alone(finished: QwenTrainingPipeline, tmp_path: Path) -> None:
    formats = ("--format", "adapter", "--format", "gguf")
    export(finished, tmp_path, *formats)
    printed = export(finished, tmp_path, *formats, "--set", "export.gguf_type=q8_0")
    assert printed.count("up to date, skipped") == 1
    assert "gguf_type: f16 -> q8_0" in printed
