"""Runs compared: on the rows that they share, with paired intervals, and refused where that means nothing."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from qwenkit.artifacts import publish
from qwenkit.cli.app import app
from qwenkit.errors import ArtifactError
from qwenkit.evaluation.compare import compare_runs, comparison_tables
from qwenkit.evaluation.evaluate import evaluate_split, write_evaluation

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture
def make_run(tmp_path, make_prepared, make_logits):
    """A run folder with a published evaluation and the settings that it was trained with."""

    def make(name, *, skill, rows=slice(None), data="sha256:one", noise_seed=0, **settings):
        prepared = make_prepared(400)
        logits = make_logits(prepared, skill=skill)
        logits += np.random.default_rng(noise_seed).normal(size=logits.shape) * 0.2
        evaluation = evaluate_split(
            logits[rows], prepared["row_id"].to_numpy()[rows], prepared, labels=LABELS
        )
        run = tmp_path / name
        facts = {"settings": {"training.seed": 42, **settings}, "identity": {"dataset": "toy"}}
        with publish(run / "trained", stage="train", fingerprint="sha256:t", inputs={}, **facts):
            pass
        facts = {"settings": {}, "identity": {"split": "test"}, "inputs": {"prepare": data}}
        folder = run / "evaluated/after"
        with publish(folder, stage="evaluate", fingerprint="sha256:e", **facts) as staging:
            write_evaluation(staging.folder, evaluation)
        return run

    return make


def compare(*runs, **options):
    return compare_runs(
        [run / "evaluated/after" for run in runs], names=[run.name for run in runs], draws=200, **options
    )


def test_a_better_run_leads_by_an_interval_that_excludes_zero(make_run):
    first, second = make_run("weak", skill=0.3), make_run("strong", skill=2.0, noise_seed=1)
    comparison = compare(first, second)
    lead = comparison.runs[1].differences["auroc"]
    assert lead.value == comparison.runs[1].metrics["auroc"] - comparison.runs[0].metrics["auroc"]
    assert 0 < lead.low < lead.value < lead.high
    assert comparison.runs[1].decisions["p_value"] < 0.001
    assert comparison.runs[0].differences == {}


def test_a_run_against_itself_differs_by_nothing(make_run):
    run = make_run("one", skill=1.0)
    comparison = compare(run, run)
    lead = comparison.runs[1].differences["auroc"]
    assert (lead.low, lead.value, lead.high) == (0.0, 0.0, 0.0)
    assert comparison.differing_settings() == {}


def test_only_settings_that_differ_are_shown(make_run):
    first = make_run("a", skill=1.0, **{"peft.lora_r": 16})
    second = make_run("b", skill=1.0, **{"peft.lora_r": 32})
    assert compare(first, second).differing_settings() == {"peft.lora_r": [16, 32]}


def test_only_shared_rows_count(make_run):
    first = make_run("some", skill=1.0, rows=slice(0, 300))
    second = make_run("others", skill=1.0, rows=slice(100, 400))
    comparison = compare(first, second)
    assert comparison.rows == comparison.runs[0].metrics["rows"] == 200
    assert comparison.own_rows == [300, 300]


def test_runs_on_other_data_or_without_shared_rows_are_refused(make_run):
    first = make_run("first", skill=1.0, rows=slice(0, 100))
    with pytest.raises(ArtifactError, match="other and first were evaluated on different data"):
        compare(first, make_run("other", skill=1.0, data="sha256:two"))
    with pytest.raises(ArtifactError, match="were not evaluated on the same rows"):
        compare(first, make_run("apart", skill=1.0, rows=slice(200, 300)))


def test_three_runs_stand_in_one_table(make_run):
    runs = [make_run(name, skill=skill) for name, skill in (("a", 0.5), ("b", 1.0), ("c", 1.5))]
    tables = dict(comparison_tables(compare(*runs)))
    assert tables["On the same 400 rows"][0] == ["Metric", "a", "b", "c"]
    assert tables["More than a"][0] == ["Metric", "b", "c"]
    for columns, rows in tables.values():
        assert {len(row) for row in rows} == {len(columns)}


def test_the_command_prints_tables_or_json(make_run):
    runs = [str(make_run(name, skill=skill)) for name, skill in (("a", 0.5), ("b", 1.5))]
    printed = CliRunner().invoke(app, ["compare", *runs, "--draws", "200"])
    assert printed.exit_code == 0, printed.output
    assert "On the same 400 rows" in printed.output and "More than a" in printed.output
    printed = CliRunner().invoke(app, ["compare", *runs, "--json", "--draws", "200"])
    record = json.loads(printed.stdout)
    assert [run["name"] for run in record["runs"]] == ["a", "b"]
    assert record["runs"][1]["differences"]["auroc"]["low"] > 0


@pytest.mark.parametrize(("arguments", "code"), [(["one"], 2), (["one", "two"], 3)])
def test_the_command_says_what_is_missing(tmp_path, arguments, code):
    printed = CliRunner().invoke(app, ["compare", *(str(tmp_path / name) for name in arguments)])
    assert printed.exit_code == code
    assert "error:" in printed.output and "Traceback" not in printed.output
