"""Small prepared splits and evaluations made of numbers; no model is needed to test how one is evaluated."""

import shutil

import numpy as np
import polars as pl
import pytest

from qwenkit.data.audit import audit_leaks
from qwenkit.evaluation.analysis import analyse
from qwenkit.evaluation.challenges import ATTACK, LENGTH, Challenges, HeldOut, Variant
from qwenkit.evaluation.evaluate import compare_before_after, evaluate_split
from qwenkit.evaluation.mistakes import find_worst_mistakes
from qwenkit.evaluation.operating_points import calibrate
from qwenkit.evaluation.page import ReportContext
from qwenkit.evaluation.robustness import measure_robustness
from qwenkit.text.attacks import ATTACKS
from qwenkit.text.probes import PROBES
from tests.data.test_audit import make_rows as make_audit_rows

collect_ignore = [] if shutil.which("chromium") else ["test_report_in_browser.py"]

LABELS = ["AI_Generated", "Human_Written"]


@pytest.fixture
def make_prepared():
    def make(n_rows=60, *, labels=LABELS, first_row_id=1_000, **columns):
        label_ids = np.arange(n_rows) % len(labels)
        return pl.DataFrame(
            {
                "row_id": pl.Series(range(first_row_id, first_row_id + n_rows), dtype=pl.Int64),
                "text": [f"text {row}" for row in range(n_rows)],
                "label": [labels[label_id] for label_id in label_ids],
                "label_id": pl.Series(label_ids, dtype=pl.Int64),
                "domain_name": [("news", "books", "wiki")[row % 3] for row in range(n_rows)],
                **columns,
            }
        )

    return make


@pytest.fixture
def make_logits():
    def make(prepared, *, skill=1.0, seed=0, n_classes=2):
        noise = np.random.default_rng(seed).normal(size=(prepared.height, n_classes))
        return (noise + skill * np.eye(n_classes)[prepared["label_id"].to_numpy()]).astype(np.float32)

    return make


@pytest.fixture
def make_evaluation(make_prepared, make_logits):
    def make(n_rows=60, *, labels=LABELS, skill=1.0, seed=0, positive_label=None, **columns):
        prepared = make_prepared(n_rows, labels=labels, **columns)
        return evaluate_split(
            make_logits(prepared, skill=skill, seed=seed, n_classes=len(labels)),
            prepared["row_id"].to_numpy(),
            prepared,
            labels=labels,
            positive_label=positive_label,
        )

    return make


@pytest.fixture
def analyse_fully(make_prepared, make_logits):
    """Analyse an evaluation with thresholds, slices and baselines, as conduct_evaluation does."""

    def analyse_it(evaluation, **options):
        is_two_classes = len(evaluation.labels) == 2
        validation = make_prepared(400, labels=list(evaluation.labels))
        found = calibrate(
            make_logits(validation, skill=2.0, seed=9, n_classes=len(evaluation.labels)),
            validation["label_id"].to_numpy(),
            labels=evaluation.labels,
        )
        points = list(found.points.values()) if is_two_classes else []
        return analyse(evaluation, points=points, domain_columns=["domain_name"], draws=60, **options)

    return analyse_it


@pytest.fixture(scope="session")
def leaks():
    """What the audit says of data whose first class has line breaks, a phrase, and some hostile texts."""
    hostile = "\x1b[31m\u202e<script>alert(1)</script>{{ 7 * 7 }}"

    def plant(text):
        is_hostile = text.startswith("Dog")
        return (hostile if is_hostile else "") + f"Mist over cold hills. {text}".replace(". ", ".\n")

    return audit_leaks({"train": make_audit_rows(plant)}, labels=LABELS, domain_column=None, seed=1)


@pytest.fixture
def make_robustness(make_prepared, make_logits):
    """Measure an evaluation of two classes under every attack, each a little worse than the one before."""

    def make(evaluation, *, held_out_name="test_holdout_model"):
        predictions = evaluation.predictions
        logits = predictions.select([f"logit_{name}" for name in evaluation.labels]).to_numpy()
        drift = np.random.default_rng(4).normal(size=logits.shape)
        is_changed = np.ones(len(logits), dtype=bool)
        names = [(ATTACK, name) for name in ATTACKS] + [(LENGTH, "32"), (LENGTH, "64")]
        other = make_prepared(60, labels=list(evaluation.labels), first_row_id=9_000)
        challenges = Challenges(
            row_ids=predictions["row_id"].to_numpy(),
            variants=[
                Variant(kind=kind, name=name, logits=logits + place / 4 * drift, is_changed=is_changed)
                for place, (kind, name) in enumerate(names)
            ],
            held_out=[HeldOut(name=held_out_name, rows=other, logits=make_logits(other, skill=0.5))],
        )
        return measure_robustness(evaluation, challenges, draws=60)

    return make


@pytest.fixture
def full_context(make_evaluation, make_prepared, analyse_fully, make_robustness, leaks):
    after = make_evaluation(120, skill=2.0)
    worse = {"auroc": 0.61, "balanced_accuracy": 0.6}
    log = [{"step": step, "loss": 0.7 - step / 100, "grad_norm": 1.0} for step in range(1, 30)]
    log += [
        {"step": step, "eval_loss": 0.6, "eval_balanced_accuracy": 0.7, "eval_auroc": 0.8}
        for step in (10, 20)
    ]
    return ReportContext(
        title="qwen3-tiny-demo",
        subtitle="after training, test split",
        evaluation=after,
        comparison=compare_before_after(make_evaluation(40, skill=0.0, seed=3), after),
        baselines=dict.fromkeys(PROBES, after.metrics | worse),
        baseline_train_rows=50_000,
        training_log=log,
        analysis=analyse_fully(after),
        robustness=make_robustness(after),
        mistakes=find_worst_mistakes(after, make_prepared(120), place_columns=["domain_name"]),
        leaks=leaks,
        provenance={"Fingerprints": {"train": "sha256:abc"}, "Settings": {f"a.b{n}": n for n in range(40)}},
        notes=["What this cannot prove."],
    )
