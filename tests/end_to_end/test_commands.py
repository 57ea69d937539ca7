"""The commands as a user types them, on a finished toy run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from qwenkit.artifacts import read_manifest, verify
from qwenkit.modeling.bundle import read_bundle
from qwenkit.pipeline import QwenTrainingPipeline
from tests.commands import call, call_for_json
from tests.conftest import TINY_SETTINGS

HEAVY = ("torch", "transformers", "datasets", "wandb", "polars", "matplotlib", "sklearn", "numpy")


def root_of(pipeline: QwenTrainingPipeline) -> Path:
    return Path(pipeline.config.paths.root)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\nfrom typer.testing import CliRunner\nfrom qwenkit.cli.app import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "[]"


def test_a_run_leaves_every_artifact_whole(finished: QwenTrainingPipeline) -> None:
    run = finished.run_folder
    folders = ["trained", "evaluated/before", "evaluated/after", "exported/merged", "exported/adapter"]
    for folder in folders:
        verify(run / folder, deep=True)
    assert (run / "evaluated/after/report.html").exists()
    assert (run / "config.yaml").exists()
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"step", "loss", "grad_norm", "learning_rate", "tokens_per_second"} <= set(records[0])
    assert any("eval_balanced_accuracy" in record for record in records)


def test_training_learns_the_toy_task(finished: QwenTrainingPipeline) -> None:
    assert finished.post_metrics["auroc"] > 0.9
    assert finished.post_metrics["auroc"] > finished.pre_metrics["auroc"]
    assert finished.post_metrics["rows"] == 32


def test_rows_add_up_in_the_manifest(finished: QwenTrainingPipeline) -> None:
    counts = read_manifest(root_of(finished) / "datasets/toy/prepared").counts
    account = counts["splits"]["all"]
    assert account["in"] == account["kept"] + sum(account["dropped"].values()) == 320
    assert sum(counts["written"].values()) == account["kept"]


def test_status_finds_all_up_to_date_and_then_the_damage(finished: QwenTrainingPipeline) -> None:
    (found,) = call_for_json("status", "--root", root_of(finished))
    assert {state["state"] for state in found["artifacts"]} == {"up to date"}
    damaged = finished.run_folder / "exported/adapter/README.md"
    content = damaged.read_bytes()
    damaged.write_bytes(content + b"x")
    try:
        call("status", "--root", root_of(finished), code=3)
    finally:
        damaged.write_bytes(content)


def test_a_trained_model_and_its_exports_carry_temperature_and_operating_points(
    finished: QwenTrainingPipeline,
) -> None:
    trained, adapter, merged = (
        read_bundle(finished.run_folder / folder)
        for folder in ("trained", "exported/adapter", "exported/merged")
    )
    assert list(trained.operating_points) == ["fpr=0.05", "fpr=0.01"]
    assert trained.operating_points == adapter.operating_points == merged.operating_points
    assert trained.temperature == adapter.temperature
    assert merged.temperature == 1.0  # it is in the merged head's weights
    card = (finished.run_folder / "exported/merged/README.md").read_text()
    assert "Results on validation" in card and "- `fpr=0.01`: probability at least" in card


def test_evaluate_freezes_thresholds_and_measures_another_target_without_scoring_again(
    finished: QwenTrainingPipeline,
) -> None:
    after = finished.run_folder / "evaluated/after"
    first = json.loads((after / "metrics.json").read_text())
    points = read_bundle(finished.run_folder / "trained").operating_points
    assert {name: one["threshold_log_odds"] for name, one in first["operating_points"].items()} == {
        name: point.threshold for name, point in points.items()
    }
    assert first["intervals"]["auroc"]["low"] <= first["auroc"] <= first["intervals"]["auroc"]["high"]
    assert {one["column"] for one in first["slices"]} == {"domain_name"}
    asked = ("evaluate", finished.run_folder, "--root", root_of(finished))
    printed = call(*asked, "--operating-point", "fpr=20%", "--set", "evaluation.slice_columns=[characters]")
    assert "its logits are taken" in printed
    again = json.loads((after / "metrics.json").read_text())
    assert list(again["operating_points"]) == ["fpr=0.2", "fpr=0.05", "fpr=0.01"]
    assert {one["column"] for one in again["slices"]} == {"characters", "domain_name"}
    assert again["log_loss"] == first["log_loss"]
    printed = call(*asked, "--set", "evaluation.slice_columns=[genre]", code=2)
    assert 'slice_columns names "genre"' in printed
    # --force scores anew, and leaves what the other tests expect.
    assert "its logits are taken" not in call(*asked, "--force")


def test_evaluating_again_is_skipped_and_a_file_gets_its_own_folder(
    finished: QwenTrainingPipeline, toy_csv: Path
) -> None:
    assert "up to date, skipped" in call("evaluate", finished.run_folder, "--root", root_of(finished))
    call("evaluate", finished.run_folder, "--data", toy_csv, "--root", root_of(finished))
    metrics = json.loads((finished.run_folder / "evaluated/toy/metrics.json").read_text())
    assert metrics["rows"] == 320


def test_a_wrong_column_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("body,label\nhello,AI_Generated\n")
    printed = call("prepare", "--dataset", path, "--root", tmp_path / "output", code=2)
    assert 'text column "text" is not in the data' in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("train", "--dataset", "nowhere.csv"), 2),
        (("train", "--set", "training.learnig_rate=1"), 2),
        (("evaluate", "no-such-folder"), 3),
        (("predict", "no/such/folder", "text"), 2),
        (("export",), 3),
    ],
)
def test_errors_have_their_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    printed = call(*arguments, "--root", tmp_path, code=code)
    assert "error:" in printed
    assert "Traceback" not in printed


def test_a_file_in_the_way_is_no_bug_of_ours(finished: QwenTrainingPipeline, tmp_path: Path) -> None:
    way = tmp_path / "way"
    way.touch()
    trained = str(finished.trained_folder)
    for arguments, told in (
        (("prepare", "--dataset", "demo", "--root", str(way)), "choose another --root."),
        (("predict", trained, "hi", "--output", str(way / "x.csv")), f"{way} cannot be used (File exists)"),
    ):
        printed = call(*arguments, code=4)
        assert told in printed and "bug of qwenkit's" not in printed


def test_another_file_of_a_known_name_is_refused_before_anything_is_said_to_be_redone(
    finished: QwenTrainingPipeline, toy_csv: Path, tmp_path: Path
) -> None:
    def prepare_again(path: Path, code: int = 0) -> str:
        options = [word for setting in TINY_SETTINGS for word in ("--set", setting)]
        return call("prepare", "--dataset", path, "--root", root_of(finished), *options, code=code)

    moved = Path(shutil.copy(toy_csv, tmp_path))
    assert "up to date" in prepare_again(moved)
    moved.write_text("".join(moved.read_text().splitlines(keepends=True)[:-1]))
    printed = prepare_again(moved, code=4)
    assert "holds data prepared from" in printed and "redone" not in printed


def test_config_commands_show_check_and_start_a_config(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    call("config", "init", path)
    assert "is valid" in call("config", "validate", "--config", path)
    assert "Qwen/Qwen3-0.6B" in call("config", "show", "--config", path)
    assert json.loads(call("config", "schema"))["properties"]
    call("config", "init", path, code=4)


def test_a_name_that_does_not_exist_is_told_before_anything_is_made(toy_csv: Path, tmp_path: Path) -> None:
    wrong = ("--set", "export.formats=[tflite]")
    assert "tflite is unknown; there is adapter" in call("config", "validate", *wrong, code=2)
    told = call("train", "--dataset", toy_csv, "--root", tmp_path / "output", *wrong, code=2)
    assert "tflite is unknown; there is adapter" in told
    for setting, why in (
        ("metric_for_best_model=acuracy", "did you mean"),
        ("metric_for_best_model=rows", "rows is unknown"),
        ("liger=true", "need a GPU"),
    ):
        asked = ("--root", tmp_path / "output", "--set", f"training.{setting}")
        assert why in call("train", "--dataset", toy_csv, *asked, code=2)
    resume = ("--root", tmp_path / "output", "--resume", tmp_path / "none")
    assert "no whole checkpoint" in call("run", "--dataset", toy_csv, *resume, code=3)
    assert not (tmp_path / "output").exists()


def test_a_metric_that_the_validation_rows_do_not_give_ends_no_training(
    finished: QwenTrainingPipeline,
) -> None:
    root = Path(finished.config.paths.root)
    runs = sorted(root.iterdir())
    asked = ("--config", finished.run_folder / "config.yaml", "--set", "training.eval_samples=1")
    told = call("train", *asked, "--set", "training.metric_for_best_model=auroc", code=2)
    assert "auroc cannot be measured: the 1 validation rows used while training hold none of" in told
    assert sorted(root.iterdir()) == runs


def write_raid_file(path: Path, *, has_labels: bool) -> Path:
    """Write a tiny file in RAID's schema: 3 domains, texts with newlines and quotes, one empty."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(240):
        is_human = number % 3 > 0
        words = rng.choice(["the", "mud", "dog", "delve", "tapestry"], size=9).tolist()
        rows.append(
            {
                "id": f"id-{number}",
                "generation": None if number == 7 else f'{" ".join(words)}\n"quoted", end',
                "domain": ("books", "news")[number // 3 % 2],
                "attack": ("none", "homoglyph")[number // 6 % 2],
                "model": "human" if is_human else "gpt4",
                "decoding": None if is_human else "greedy",
                "repetition_penalty": None if is_human else "no",
            }
        )
    frame = pl.DataFrame(rows)
    (frame if has_labels else frame.select("id", "generation")).write_csv(path)
    return path


def test_a_raid_file_becomes_a_submission(finished: QwenTrainingPipeline, tmp_path: Path) -> None:
    path = write_raid_file(tmp_path / "test.csv", has_labels=False)
    words = ("evaluate", finished.run_folder, "--raid", path, "--out", tmp_path / "out")
    told = ("--contact", "me@x.org", "--detector-name", "tiny", "--root", root_of(finished))
    assert "texts that are empty, ranked as the least machine-like: 1" in call(*words, *told)
    predictions = json.loads((tmp_path / "out/predictions.json").read_text())
    assert [one["id"] for one in predictions] == [f"id-{number}" for number in range(240)]
    scores = [one["score"] for one in predictions]
    assert min(scores) == 0.0 == scores[7] and max(scores) <= 1.0
    metadata = json.loads((tmp_path / "out/metadata.json").read_text())
    assert list(metadata) == ["date_released", "detector_name", "contact_info"]
    assert (metadata["detector_name"], metadata["contact_info"]) == ("tiny", "me@x.org")
    assert not (tmp_path / "out/results.json").exists()


def test_a_raid_file_with_labels_is_scored_as_the_leaderboard_does(
    finished: QwenTrainingPipeline, tmp_path: Path
) -> None:
    path = write_raid_file(tmp_path / "extra.csv", has_labels=True)
    call("evaluate", finished.run_folder, "--raid", path, "--root", root_of(finished))
    folder = finished.run_folder / "evaluated/raid-extra"
    verify(folder, deep=True)
    results = json.loads((folder / "results.json").read_text())
    assert set(results["thresholds"]["0.05"]) == {"books", "news"}
    assert results["score_agg"]["all"]["domain"] == "all"


def test_what_is_no_raid_file_is_one_clear_error(
    finished: QwenTrainingPipeline, toy_csv: Path, tmp_path: Path
) -> None:
    printed = call("evaluate", finished.run_folder, "--raid", toy_csv, code=2)
    assert 'lacks the column "id"' in printed
    call("evaluate", finished.run_folder, "--raid", "nowhere.csv", code=2)
    empty = tmp_path / "empty.csv"
    empty.write_text("id,generation\n")
    assert "a header but no rows" in call("evaluate", finished.run_folder, "--raid", empty, code=2)
