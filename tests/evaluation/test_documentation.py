"""qwenkit/docs/metrics.md names every key that metrics.json has, and none that it has not."""

import re
from pathlib import Path

import pytest

from qwenkit.evaluation.evaluate import write_evaluation
from qwenkit.files import read_json

DOCUMENT = Path(__file__).parents[2] / "qwenkit/docs/metrics.md"


@pytest.fixture
def written(full_context, tmp_path):
    context = full_context
    write_evaluation(
        tmp_path,
        context.evaluation,
        comparison=context.comparison,
        baselines=context.baselines,
        analysis=context.analysis.to_json(),
        robustness=context.robustness.to_json(),
    )
    return read_json(tmp_path / "metrics.json")


def read_keys(text):
    """Collect what stands in backticks in the first column of the tables."""
    cells = re.findall(r"^\| (`.*?) \|", text, flags=re.M)
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


def test_every_key_is_documented_and_every_documented_key_is_there(written):
    general, robustness = DOCUMENT.read_text().split("## robustness")
    macro = {"precision_macro", "recall_macro", "f1_macro"}
    assert all(f"`{key}`" in general for key in macro)
    assert read_keys(general) == set(written) - {"robustness"} - macro
    assert read_keys(robustness) == set(written["robustness"])
    (attack, *_), (piece, *_) = written["robustness"]["attacks"], written["slices"]
    inner = {*attack, *piece, *written["operating_points"]["fpr=0.01"], *written["bootstrap"]}
    assert [key for key in sorted(inner) if f"`{key}`" not in general + robustness] == []
