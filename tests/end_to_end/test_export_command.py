"""`qwenkit export` as a user types it, with the formats that other programs run."""

from pathlib import Path

import pytest

from qwenkit.artifacts import read_json, read_manifest, verify
from qwenkit.export.formats import FORMATS
from qwenkit.pipeline import QwenTrainingPipeline
from tests.end_to_end.test_commands import call, root_of


@pytest.fixture(scope="module")
def out(finished: QwenTrainingPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an onnx and a gguf export of the finished run."""
    out = tmp_path_factory.mktemp("exports")
    printed = export(finished, out, "--format", "onnx", "--format", "gguf", "--json")
    assert [path.name for path in sorted(out.iterdir()) if path.is_dir()] == ["gguf", "onnx"], printed
    return out


def export(finished: QwenTrainingPipeline, out: Path, *options: str, code: int = 0) -> str:
    settings = ("--set", "export.parity_rows=16")
    return call(
        "export",
        finished.run_folder,
        "--root",
        root_of(finished),
        "--out",
        out,
        *settings,
        *options,
        code=code,
    )


def test_help_lists_every_format() -> None:
    help_text = " ".join(call("export", "--help").replace("│", " ").split())
    assert ", ".join(FORMATS) in help_text


@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_the_export_is_published_whole_with_its_proof_and_the_data_it_was_trained_on(
    name: str, out: Path
) -> None:
    verify(out / name, deep=True)
    manifest = read_manifest(out / name)
    assert manifest is not None
    assert (manifest.stage, manifest.identity["format"]) == ("export", name)
    assert manifest.counts["rows"] == read_json(out / name / "parity.json")["rows"] == 16
    assert "Trained on toy." in (out / name / "README.md").read_text()


def test_another_gguf_type_redoes_that_format_alone(finished: QwenTrainingPipeline, out: Path) -> None:
    options = ("--format", "onnx", "--format", "gguf", "--set", "export.gguf_type=q8_0")
    printed = export(finished, out, *options)
    assert printed.count("up to date, skipped") == 1
    assert "gguf_type: f16 -> q8_0" in printed


@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_predict_says_that_other_programs_run_it(name: str, out: Path) -> None:
    printed = call("predict", out / name, "some text", code=3)
    assert f"in the {name} format, which other programs run" in " ".join(printed.split())
