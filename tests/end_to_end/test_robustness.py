"""evaluate --robustness, as a user types it: what is scored, what is kept, and what needs no model."""

import html
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from qwenkit.modeling.predictor import Predictor
from qwenkit.steps.robustness import list_lengths, sample_evenly
from qwenkit.text.attacks import ATTACKS, attack_text
from tests.commands import call
from tests.conftest import TINY_SETTINGS, write_toy_csv


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that never saw poetry and reads lower case only, under attack; do not touch."""
    folder = tmp_path_factory.mktemp("attacked")
    data = write_toy_csv(folder / "toy.csv", rows=400)
    settings = (
        *TINY_SETTINGS,
        "dataset.holdout={domain_name: [poetry]}",
        "dataset.normalize=[lower_case, strip_zero_width]",
        "evaluation.run_pre_training_eval=false",
        "training.max_steps=12",
    )
    options = [part for setting in settings for part in ("--set", setting)]
    call("train", "--dataset", data, "--root", folder / "output", *options)
    run = folder / "output/tiny-toy"
    call("evaluate", run, "--root", run.parent, "--robustness", "--set", "evaluation.bootstrap_draws=200")
    return run


def read_robustness(run: Path) -> dict:
    return json.loads((run / "evaluated/after/metrics.json").read_text())["robustness"]


def copy_run(run: Path, folder: Path) -> Path:
    shutil.copytree(run.parent, folder / "output")
    return folder / "output" / run.name


def read_pass(run: Path, name: str) -> tuple[Path, np.ndarray]:
    for folder in (run / "scored").glob("[!.]*"):
        if json.loads((folder / "manifest.json").read_text())["counts"]["name"] == name:
            return folder, np.load(folder / "logits.npy")
    raise AssertionError(name)


def test_every_attack_length_and_held_out_split_is_measured(attacked: Path) -> None:
    found = read_robustness(attacked)
    assert {one["name"] for one in found["attacks"]} == set(ATTACKS)
    assert [one["name"] for one in found["lengths"]] == ["32", "48"]
    test = pl.read_parquet(attacked.parent / "datasets/toy/prepared/test.parquet")
    assert found["clean"]["rows"] == found["test"]["rows"] == test.height
    (held_out,) = found["held_out"]
    assert (held_out["name"], held_out["rows"]) == ("test_holdout_domain_name", 200)
    whole = found["lengths"][-1]
    assert whole["auroc"]["value"] == pytest.approx(found["clean"]["auroc"]["value"])
    report = (attacked / "evaluated/after/report.html").read_text()
    assert "What it stands up to" in report
    assert "Under attack, worst first" in (attacked / "evaluated/after/report.md").read_text()


def test_an_attacked_text_is_scored_as_prediction_would_and_after_the_rules(attacked: Path) -> None:
    rows = pl.read_parquet(attacked / "evaluated/after/predictions.parquet").select("row_id")
    prepared = pl.read_parquet(attacked.parent / "datasets/toy/prepared/test.parquet")
    rows = rows.join(prepared, on="row_id", how="left", maintain_order="left")
    predictor = Predictor.from_folder(attacked / "trained")
    for name in ("homoglyph", "whitespace", "number"):
        pairs = zip(rows["text"], rows["row_id"], strict=True)
        texts = [attack_text(name, text, seed=42, row_id=row_id) for text, row_id in pairs]
        expected = predictor.predict(texts).logits
        np.testing.assert_allclose(read_pass(attacked, name)[1], expected, rtol=0, atol=1e-4)
    changed = {one["name"]: one["changed_rows"] for one in read_robustness(attacked)["attacks"]}
    assert changed["homoglyph"] == rows.height
    # What the model's rules undo never reaches it.
    assert changed["upper_lower"] == changed["zero_width_space"] == 0


def test_the_report_names_the_command_that_makes_it_again(attacked: Path) -> None:
    report = html.unescape((attacked / "evaluated/after/report.html").read_text())
    (command,) = re.findall(r"<bdi>(qwenkit evaluate [^<]*)</bdi>", report)
    words = shlex.split(command)
    assert "evaluation.robustness=true" in words and "evaluation.bootstrap_draws=200" in words
    assert "up to date, skipped" in call(*words[1:])
    assert f"qwenkit run --config {attacked}/config.yaml" in report


def test_measuring_it_again_needs_no_model_but_a_damaged_pass_does(attacked: Path, tmp_path: Path) -> None:
    run = copy_run(attacked, tmp_path)
    weights = run / "trained/adapter_model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    asked = ("evaluate", run, "--root", run.parent, "--robustness")
    call(*asked, "--set", "evaluation.bootstrap_draws=300")
    again = read_robustness(run)
    assert again["draws"] == 300
    before = {one["name"]: one["auroc"]["value"] for one in read_robustness(attacked)["attacks"]}
    assert {one["name"]: one["auroc"]["value"] for one in again["attacks"]} == pytest.approx(before)
    folder, logits = read_pass(run, "homoglyph")
    np.save(folder / "logits.npy", logits + 1)
    call(*asked, code=3)
    weights.write_bytes(kept)
    call(*asked)
    np.testing.assert_allclose(read_pass(run, "homoglyph")[1], logits, rtol=0, atol=1e-4)


def test_fewer_rows_are_another_sample_and_without_the_switch_there_is_none(
    attacked: Path, tmp_path: Path
) -> None:
    run = copy_run(attacked, tmp_path)
    few = ("--set", "evaluation.robustness_rows=20", "--set", "evaluation.bootstrap_draws=200")
    call("evaluate", run, "--root", run.parent, "--robustness", *few)
    found = read_robustness(run)
    assert found["clean"]["rows"] == 20
    assert found["held_out"][0]["rows"] == 20
    assert found["clean"]["positives"] == found["clean"]["negatives"] == 10
    call("evaluate", run, "--root", run.parent, *few)
    assert read_robustness(run) is None


def test_a_sample_is_even_over_its_strata_and_drawn_by_the_seed() -> None:
    label_ids = [0] * 700 + [1] * 300
    rows = pl.DataFrame({"label_id": label_ids, "domain": ["a", "b", None, "d"] * 250})
    chosen = sample_evenly(rows, ["label_id", "domain", "absent"], size=100, seed=1)
    assert len(np.unique(chosen)) == 100
    assert (np.diff(chosen) > 0).all()
    counts = rows[chosen].group_by("label_id", "domain").len()
    shares = {0: 17.5, 1: 7.5}
    assert counts.height == 8
    assert all(abs(count - shares[label_id]) <= 1 for label_id, _, count in counts.rows())
    assert sample_evenly(rows, ["label_id"], size=100, seed=2).tolist() != chosen.tolist()
    assert sample_evenly(rows, ["label_id"], size=1_000, seed=2).tolist() == list(range(1_000))


@pytest.mark.parametrize(
    ("max_length", "expected"),
    [(384, [32, 64, 128, 256, 384]), (128, [32, 64, 128]), (48, [32, 48]), (32, [32]), (8, [8])],
)
def test_lengths_double_up_to_the_models_own(max_length: int, expected: list[int]) -> None:
    assert list_lengths(max_length) == expected
