"""What `qwenkit status` shows, and the command that it ends with."""

import json
import shutil
from pathlib import Path

import pytest

from qwenkit.cli.status import build_tree
from qwenkit.files import read_json
from qwenkit.inventory import ArtifactState, State, list_states
from qwenkit.pipeline import QwenTrainingPipeline
from qwenkit.runs import Workspace
from qwenkit.suggestion import START, suggest_command

ROOT = Path("output")
FOLDERS = {
    "prepare": "datasets/toy/prepared",
    "tokenize": "datasets/toy/tokenized/own-bpe-48",
    "train": "tiny-toy/trained",
    "evaluate": "tiny-toy/evaluated/after",
    "export": "tiny-toy/exported/merged",
}


def make_states(**changes: State) -> list[ArtifactState]:
    """Give the states of one data set and one run, all up to date but those named."""
    states = []
    for stage, folder in FOLDERS.items():
        owner = "toy" if folder.startswith("datasets") else "tiny-toy"
        state = changes.get(stage, "up to date")
        states.append(ArtifactState(owner, stage, ROOT / folder, state, dataset="my data/toy.csv"))
    return states


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, 'qwenkit predict output/tiny-toy "some text"'),
        ({"prepare": "corrupt", "export": "stale"}, "qwenkit prepare --dataset 'my data/toy.csv' --force"),
        ({"tokenize": "stale", "export": "missing"}, "qwenkit tokenize --dataset 'my data/toy.csv'"),
        ({"train": "missing"}, "qwenkit train --config output/tiny-toy/config.yaml"),
        ({"evaluate": "missing", "export": "missing"}, "qwenkit evaluate output/tiny-toy"),
        ({"export": "corrupt"}, "qwenkit export output/tiny-toy --format merged --force"),
    ],
)
def test_the_next_command_mends_first_and_uses_last(changes: dict[str, State], command: str) -> None:
    assert suggest_command(make_states(**changes), ROOT) == command


@pytest.mark.parametrize(
    ("stages", "command"),
    [
        ((), START),
        (("prepare",), "qwenkit train --dataset 'my data/toy.csv'"),
        (("prepare", "tokenize"), "qwenkit train --dataset 'my data/toy.csv'"),
    ],
)
def test_the_next_command_follows_the_stages(stages: tuple[str, ...], command: str) -> None:
    states = [state for state in make_states() if state.stage in stages]
    assert suggest_command(states, ROOT) == command


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("exported/gguf-checkpoint-8", "qwenkit export output/tiny-toy/checkpoint-8 --format gguf"),
        ("evaluated/checkpoint-8", "qwenkit evaluate output/tiny-toy/checkpoint-8"),
    ],
)
def test_what_was_made_of_a_checkpoint_is_made_again_of_it(folder: str, command: str) -> None:
    stage = "export" if folder.startswith("exported") else "evaluate"
    state = ArtifactState("tiny-toy", stage, ROOT / "tiny-toy" / folder, "corrupt")
    assert suggest_command([*make_states(), state], ROOT) == f"{command} --force"


def test_the_export_of_a_checkpoint_does_not_depend_on_the_trained_model(
    finished: QwenTrainingPipeline, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.run_folder, run)
    export = run / "exported/merged-checkpoint-8"
    shutil.copytree(run / "exported/merged", export)
    manifest = read_json(export / "manifest.json")
    manifest["inputs"]["train"] = read_json(run / "checkpoint-8/manifest.json")["fingerprint"]
    (export / "manifest.json").write_text(json.dumps(manifest))
    states = {
        state.folder.name: state for state in list_states(Workspace(tmp_path), settings=None, deep=False)
    }
    assert states["merged-checkpoint-8"].state == states["merged"].state == "up to date"


def test_what_was_measured_of_a_model_that_was_trained_anew_is_stale(
    finished: QwenTrainingPipeline, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished.run_folder, run)
    for name in ("other", "checkpoint-8"):
        shutil.copytree(run / "evaluated/after", run / "evaluated" / name)
        path = run / "evaluated" / name / "manifest.json"
        manifest = read_json(path)
        manifest["inputs"]["train"] = "sha256:before"
        path.write_text(json.dumps(manifest))
    states = list_states(Workspace(tmp_path), settings=None, deep=False)
    found = {state.folder.name: state.state for state in states if state.stage == "evaluate"}
    assert found["other"] == "stale"
    assert found["after"] == found["before"] == found["checkpoint-8"] == "up to date"
    # Which rows the other ones are is not known here.
    evaluations = [state for state in states if state.stage == "evaluate"]
    assert "evaluate" not in suggest_command([*make_states(), *evaluations], ROOT)


def test_a_root_of_ones_own_is_named_where_the_command_needs_it() -> None:
    states = [state for state in make_states() if state.stage == "prepare"]
    assert suggest_command(states, Path("my root")).endswith("--root 'my root'")


def test_the_tree_of_a_finished_run_names_every_artifact_under_its_owner(
    finished: QwenTrainingPipeline,
) -> None:
    root = Path(finished.config.paths.root)
    states = list_states(Workspace(root), settings=None, deep=False)
    lines = list(build_tree(root, states).walk())
    assert lines[0] == (0, str(root))
    assert (1, "data set toy") in lines and (1, "run tiny-toy") in lines
    leaves = {line.partition(":")[0] for depth, line in lines if depth == 2}
    assert leaves >= {"✓ prepared", "✓ tokenized/own-bpe-48", "✓ trained", "✓ exported/merged"}
    rows = sum(split.height for split in finished._prepared.splits.values())
    assert (2, f"✓ prepared: up to date ({rows} rows)") in lines
    auroc = finished.post_metrics["auroc"]
    assert (2, f"✓ evaluated/after: up to date (AUROC {auroc:.4f})") in lines
    assert suggest_command(states, root) == f'qwenkit predict {root}/tiny-toy "some text"'


def test_a_run_that_was_cut_off_shows_what_it_can_go_on_from(tmp_path: Path) -> None:
    (tmp_path / "half/checkpoint-8").mkdir(parents=True)
    (tmp_path / "half/checkpoint-16").mkdir()
    (tmp_path / "half/summary.json").write_text('{"started_at": "2026-01-01"}')
    states = list_states(Workspace(tmp_path), settings=None, deep=False)
    assert states[0].reason == "checkpoints of step 8, 16"
    assert suggest_command(states, tmp_path) == f"qwenkit train --config {tmp_path}/half/config.yaml"
