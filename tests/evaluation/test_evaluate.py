"""Evaluations: before and after on the same rows, and the files that they are read back from."""

import numpy as np
import polars as pl
import pytest

from qwenkit.errors import ArtifactError
from qwenkit.evaluation.baselines import fit_baselines, measure_baselines, sample_rows
from qwenkit.evaluation.conduct import EvaluationTask, conduct_evaluation
from qwenkit.evaluation.evaluate import (
    compare_before_after,
    evaluate_split,
    measure_clean,
    read_evaluation,
    write_evaluation,
)
from qwenkit.evaluation.tables import TABLE_METRICS, baseline_table, comparison_table
from qwenkit.files import read_json
from qwenkit.metrics import compute_metrics
from qwenkit.text.probes import PROBES

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture
def trained_run(make_prepared, make_logits):
    """Before training on 50 drawn rows, after it on all 200, in another order; and the logits of both."""
    prepared = make_prepared(200)
    row_ids = prepared["row_id"].to_numpy()
    before_logits, after_logits = make_logits(prepared, skill=0.0), make_logits(prepared, skill=2.0, seed=5)
    drawn = sample_rows(200, size=50, seed=42)
    before = evaluate_split(
        before_logits[drawn], row_ids[drawn], prepared, labels=LABELS, class_weights=[2, 1]
    )
    after = evaluate_split(after_logits[::-1], row_ids[::-1], prepared, labels=LABELS, class_weights=[2, 1])
    return before, after, drawn, after_logits, prepared["label_id"].to_numpy()


def test_before_and_after_are_compared_on_exactly_the_same_rows(trained_run):
    before, after, drawn, after_logits, label_ids = trained_run
    comparison = compare_before_after(before, after)
    same = compute_metrics(after_logits[drawn], label_ids[drawn], labels=LABELS, class_weights=[2, 1])
    full = compute_metrics(after_logits, label_ids, labels=LABELS, class_weights=[2, 1])
    assert (comparison.same_rows, comparison.full_rows) == (50, 200)
    for line in comparison.lines:
        name = line.metric.name
        assert line.before == before.metrics[name]
        assert line.after == pytest.approx(same[name], rel=1e-12)
        assert line.full == pytest.approx(full[name], rel=1e-12)
        assert line.change == line.after - line.before
        assert line.is_better is True
    assert {line.metric.name: line.change for line in comparison.lines}["loss"] < 0


def test_the_comparison_shows_the_full_score_only_where_it_is_another_one(trained_run):
    before, after, *_ = trained_run
    columns, rows = comparison_table(compare_before_after(before, after))
    assert columns == ["Metric", "Before (50 rows)", "After (same 50)", "Change", "After (all 200)"]
    assert rows[0][0] == "AUROC"
    assert rows[0][3].startswith("+")
    columns, rows = comparison_table(compare_before_after(after, after))
    assert columns == ["Metric", "Before (200 rows)", "After (same 200)", "Change"]
    assert {len(row) for row in rows} == {4}


def test_a_metric_that_is_undefined_on_the_rows_has_no_change(make_evaluation):
    one_class = make_evaluation(2)
    one_class = evaluate_split(
        np.eye(2),
        np.array([1000, 1001]),
        pl.DataFrame(
            {"row_id": [1000, 1001], "text": ["a", "b"], "label": ["AI_Generated"] * 2, "label_id": [0, 0]}
        ),
        labels=LABELS,
    )
    auroc = compare_before_after(one_class, one_class).lines[0]
    assert (auroc.before, auroc.change, auroc.is_better) == (None, None, None)
    assert comparison_table(compare_before_after(one_class, one_class))[1][0] == ["AUROC", "–", "–", "–"]


def test_evaluations_of_different_splits_are_not_compared(make_evaluation):
    before, after = make_evaluation(20), make_evaluation(12)
    with pytest.raises(ArtifactError, match="8 rows that the one after it has not"):
        compare_before_after(before, after)


def test_an_evaluation_is_read_back_as_it_was_written(trained_run, tmp_path):
    before, after, *_ = trained_run
    comparison = compare_before_after(before, after)
    train = [f"text {n}" for n in range(20)]
    scores = fit_baselines(train, np.arange(20) % 2, ["text 1"] * 200, labels=LABELS)
    baselines = measure_baselines(scores, after.predictions["label_id"].to_numpy(), labels=LABELS)
    write_evaluation(tmp_path, after, report_html="<p>", comparison=comparison, baselines=baselines)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.json", "predictions.parquet", "predictions.csv", "report.html"}
    read = read_evaluation(tmp_path)
    assert read.metrics == after.metrics
    assert read.predictions.equals(after.predictions)
    assert (read.labels, read.positive_label, read.class_weights) == (
        tuple(LABELS),
        "AI_Generated",
        (2.0, 1.0),
    )
    stored = read_json(tmp_path / "metrics.json")
    assert {name: stored[name] for name in after.metrics} == after.metrics
    assert stored["comparison"]["metrics"]["auroc"]["before"] == before.metrics["auroc"]
    assert stored["baselines"]["words"]["auroc"] == baselines["words"]["auroc"]


def test_predictions_can_be_left_out_and_are_then_missed_with_advice(make_evaluation, tmp_path):
    write_evaluation(tmp_path, make_evaluation(), save_predictions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    with pytest.raises(ArtifactError, match=r"evaluation\.save_predictions"):
        read_evaluation(tmp_path)


def test_every_metric_of_the_tables_exists(make_evaluation):
    assert {metric.name for metric in TABLE_METRICS} <= set(make_evaluation().metrics)


def test_the_baseline_table_ranks_the_model_among_its_baselines(make_evaluation):
    weak, strong = make_evaluation(skill=0.1).metrics, make_evaluation(skill=4.0).metrics
    titles = {name: probe.title for name, probe in PROBES.items()}
    columns, rows = baseline_table(weak, {"words": strong, "majority": weak | {"auroc": 0.1}}, titles)
    assert columns[0] == "Classifier"
    assert [row[0] for row in rows] == ["Word TF-IDF", "This model", "Majority class"]


def test_rows_with_a_near_duplicate_in_train_are_told_and_measured_without(
    tmp_path, make_prepared, make_logits
):
    leaks = [row < 40 for row in range(200)]
    prepared = make_prepared(200, leaks_from_train=leaks)
    logits = make_logits(prepared, skill=0.5)
    # The model knows by heart what it was trained on.
    logits[:40] = 10 * np.eye(2)[prepared["label_id"].to_numpy()[:40]]
    task = EvaluationTask(title="x", labels=LABELS, positive_label=LABELS[0], rows=prepared, draws=200)
    row_ids = prepared["row_id"].to_numpy()
    outcome = conduct_evaluation(tmp_path, logits=logits, row_ids=row_ids, task=task)
    stored = read_json(tmp_path / "metrics.json")
    expected = evaluate_split(logits[40:], row_ids[40:], prepared, labels=LABELS)
    assert stored["decontaminated"]["rows"] == 160
    assert stored["decontaminated"]["auroc"] == expected.metrics["auroc"] < stored["auroc"]
    said = "40 of these 200 rows have a near-duplicate in train. Without them: AUROC"
    assert said in (tmp_path / "report.html").read_text()
    assert {one.value for one in outcome.analysis.slices if one.column == "leaks_from_train"} == {
        "true",
        "false",
    }


@pytest.mark.parametrize("leaks", [[False] * 60, [True] * 60])
def test_where_no_row_leaks_or_all_do_there_is_nothing_to_set_beside(make_evaluation, leaks):
    assert measure_clean(make_evaluation(60, leaks_from_train=leaks)) is None
    assert measure_clean(make_evaluation(60)) is None
