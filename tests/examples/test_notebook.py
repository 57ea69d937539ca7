"""interactive.ipynb: stored clean, in the order of run(), and run from top to bottom by a real kernel."""

import ast
import inspect
import os
import textwrap
from pathlib import Path
from typing import Any

import nbformat
import polars as pl
import pytest
import yaml
from nbclient import NotebookClient

from qwenkit import QwenTrainingPipeline
from tests.conftest import TINY_SETTINGS

NOTEBOOK = Path(__file__).parents[2] / "qwenkit" / "examples" / "interactive.ipynb"
FIGURES = {"text-lengths", "labels", "tokenized", "before", "training", "after", "roc"}
HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> \x1b[31m "
# Cut off before its end: in a figure it would be a formula, and a wrong one.
HOSTILE_LABEL = "<script>$\\frac{1$</script>"


def read_notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook: Any) -> dict[str, Any]:
    return {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}


def called_steps(source: str, *, of: str = "pipeline") -> list[str]:
    """Name the pipeline's methods that are called, in their order."""
    python = "\n".join(line for line in source.splitlines() if not line.strip().startswith("%"))
    calls = [
        node.func
        for node in ast.walk(ast.parse(textwrap.dedent(python)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    calls = [call for call in calls if ast.unparse(call.value) == of]
    names = [call.attr for call in sorted(calls, key=lambda call: call.lineno)]
    # The tokenizer can be called too, but is no step.
    return [name for name in names if inspect.isfunction(getattr(QwenTrainingPipeline, name))]


def steps_of_run() -> list[str]:
    source = inspect.getsource(QwenTrainingPipeline.run)
    return [name for name in called_steps(source, of="self") if name != "cleanup"]


def test_the_notebook_is_stored_without_results() -> None:
    notebook = read_notebook()
    nbformat.validate(notebook)
    for cell in code_cells(notebook).values():
        assert (cell.outputs, cell.execution_count) == ([], None), cell.id
    assert set(notebook.metadata) == {"kernelspec", "language_info"}


def test_its_cells_run_one_step_each_in_the_order_of_run() -> None:
    steps = [called_steps(cell.source) for cell in code_cells(read_notebook()).values()]
    assert all(len(some) <= 1 for some in steps)
    assert [step for some in steps for step in some] == [*steps_of_run(), "export", "cleanup"]


def test_each_step_has_a_heading_and_shows_something() -> None:
    cells = read_notebook().cells
    headings = [cell.source.splitlines()[0] for cell in cells if cell.cell_type == "markdown"]
    numbered = [heading for heading in headings if heading.startswith("## ")]
    assert [heading.split()[1] for heading in numbered] == [f"{n}." for n in range(1, len(numbered) + 1)]
    for cell in code_cells(read_notebook()).values():
        step = called_steps(cell.source)
        if step and step != ["cleanup"]:
            assert any(shown in cell.source for shown in ("show_", "print(", "plt.show")), cell.id
    tagged = [cell.id for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == ["parameters"]


def execute(folder: Path, parameters: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run all cells in a kernel of this Python, with some parameters changed, and give the code cells."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(folder / "jupyter"))
    repository = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([repository, os.environ.get("PYTHONPATH", "")]))
    notebook = read_notebook()
    place = [cell.id for cell in notebook.cells].index("parameters")
    # As papermill does it.
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters, id="injected"))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return code_cells(notebook)


def check_shown(cells: dict[str, Any], *, is_trained_already: bool = False) -> str:
    """Find a figure in each cell that draws one, and nothing on stderr; give all that is shown as HTML."""
    html = []
    for name, cell in cells.items():
        data = [output.get("data", {}) for output in cell.outputs]
        assert any("image/png" in each for each in data) == (name in FIGURES), name
        assert not [output for output in cell.outputs if output.get("name") == "stderr"], cell.outputs
        html += [each["text/html"] for each in data if "text/html" in each]
    # The curve that is drawn while training goes on, and the one after it.
    curves = sum("image/png" in output.get("data", {}) for output in cells["training"].outputs)
    assert curves == (1 if is_trained_already else 2)
    assert ("(trained already)" in cells["model"].outputs[-3].text) == is_trained_already
    return "".join(html)


@pytest.mark.slow
def test_the_notebook_runs_on_own_data_and_shows_hostile_text_as_text(
    toy_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.read_csv(toy_csv).with_columns(
        text=HOSTILE + pl.col("text"), label=pl.col("label").replace({"AI_Generated": HOSTILE_LABEL})
    )
    rows.write_csv(tmp_path / "mine.csv")
    settings: dict[str, Any] = {}
    for setting in (*TINY_SETTINGS, "tokenization.max_length=96"):
        *sections, key = setting.partition("=")[0].split(".")
        place = settings
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = yaml.safe_load(setting.partition("=")[2])
    settings["model"]["labels"] = [HOSTILE_LABEL, "Human_Written"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings))
    cells = execute(tmp_path, 'DATASET, MAX_STEPS, LORA_RANK = "mine.csv", 16, 8', monkeypatch)
    html = check_shown(cells)
    assert "&lt;script&gt;" in html
    assert not [tag for tag in ("<script", "<img", "\x1b") if tag in html]
    assert "of 32 documents are wrong" in cells["worst-errors"].outputs[0].text
    assert (tmp_path / "output/tiny-mine/exported/merged/manifest.json").is_file()


@pytest.mark.slow
def test_the_notebook_runs_on_the_demo_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = execute(tmp_path, "MAX_STEPS = 4", monkeypatch)
    check_shown(cells)
    assert "data set: demo" in cells["dataset"].outputs[0].text
    assert (tmp_path / "output/tiny-demo/evaluated/after/report.html").is_file()
    check_shown(execute(tmp_path, "MAX_STEPS = 4", monkeypatch), is_trained_already=True)
