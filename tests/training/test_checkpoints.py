"""What lies in a run folder: whole checkpoints or none, rotated by step, matched before a resume."""

import json
import os
import shutil
import time

import pytest

from qwenkit.artifacts import publish, read_manifest, verify
from qwenkit.errors import ArtifactError
from qwenkit.training.checkpoints import (
    check_resume,
    find_resumable_checkpoint,
    list_checkpoints,
    resolve_resume,
    rotate_checkpoints,
    set_aside_later_checkpoints,
    stage_checkpoint,
)
from qwenkit.training.plan import RunRecord
from tests.training.tiny_training import make_config

RECORD = RunRecord(
    settings={
        "training.learning_rate": 1e-4,
        "training.num_train_epochs": 3.0,
        "peft.target_modules": ("q", "v"),
    },
    inputs={"tokenize": "sha256:aa"},
    identity={"train_rows": 100},
)


def write_checkpoint(run_folder, step, record=RECORD):
    target = run_folder / f"checkpoint-{step}"
    options = {"record": record, "seed": 42, "counts": {"step": step}, "is_main": True, "world_size": 1}
    with stage_checkpoint(target, **options) as folder:
        (folder / "weights.bin").write_bytes(bytes(range(100)) + str(step).encode())
    return target


def names(run_folder):
    return [folder.name for _, folder in list_checkpoints(run_folder)]


@pytest.fixture
def run_folder(tmp_path):
    for step in (5, 10, 95, 100):
        write_checkpoint(tmp_path, step)
    return tmp_path


# ---- Rotation ----


def test_rotation_keeps_the_newest_by_step_number(run_folder):
    deleted = rotate_checkpoints(run_folder, limit=2, best=None)
    assert [folder.name for folder in deleted] == ["checkpoint-5", "checkpoint-10"]
    assert names(run_folder) == ["checkpoint-95", "checkpoint-100"]


def test_rotation_keeps_the_best_within_the_limit(run_folder):
    rotate_checkpoints(run_folder, limit=2, best=run_folder / "checkpoint-5")
    assert names(run_folder) == ["checkpoint-5", "checkpoint-100"]


def test_a_limit_of_one_still_keeps_best_and_newest(run_folder):
    rotate_checkpoints(run_folder, limit=1, best=run_folder / "checkpoint-10")
    assert names(run_folder) == ["checkpoint-10", "checkpoint-100"]


def test_rotation_does_not_trust_modification_times(run_folder):
    """A clock that was set back makes the newest checkpoint look the oldest."""
    long_ago = time.time() - 10**6
    os.utime(run_folder / "checkpoint-100", (long_ago, long_ago))
    rotate_checkpoints(run_folder, limit=1, best=None)
    assert names(run_folder) == ["checkpoint-100"]


def test_rotation_neither_counts_nor_touches_what_is_broken_or_foreign(run_folder):
    (run_folder / "checkpoint-100" / "weights.bin").write_bytes(b"short")
    (run_folder / "checkpoint-200").mkdir()
    rotate_checkpoints(run_folder, limit=1, best=None)
    assert names(run_folder) == ["checkpoint-95", "checkpoint-100", "checkpoint-200"]


@pytest.mark.parametrize("limit", [None, 0, 9])
def test_nothing_is_deleted_within_the_limit(run_folder, limit):
    assert rotate_checkpoints(run_folder, limit=limit, best=None) == []


# ---- Finding ----


def test_the_newest_whole_checkpoint_is_found(run_folder):
    assert find_resumable_checkpoint(run_folder).name == "checkpoint-100"
    assert find_resumable_checkpoint(run_folder / "nothing") is None


def test_half_written_and_damaged_checkpoints_are_passed_over(run_folder):
    (run_folder / "checkpoint-100" / "manifest.json").unlink()
    content = bytearray((run_folder / "checkpoint-95" / "weights.bin").read_bytes())
    content[50] ^= 1  # One flipped bit; the size is the same.
    (run_folder / "checkpoint-95" / "weights.bin").write_bytes(content)
    shutil.copytree(run_folder / "checkpoint-10", run_folder / ".checkpoint-110.staging-1")
    told = []
    assert find_resumable_checkpoint(run_folder, warn=told.append).name == "checkpoint-10"
    assert [line.split()[0] for line in told] == ["checkpoint-100", "checkpoint-95"]


def test_checkpoints_of_another_run_in_the_same_folder_are_passed_over(run_folder):
    other = RunRecord(settings={"training.learning_rate": 0.5}, inputs=RECORD.inputs, identity={})
    write_checkpoint(run_folder, 105, record=other)
    told = []
    found = resolve_resume("auto", run_folder, fingerprint=RECORD.fingerprint, warn=told.append)
    assert found.name == "checkpoint-100"
    assert told == ["checkpoint-105 is passed over: it is of a run with other settings."]
    assert resolve_resume("auto", run_folder).name == "checkpoint-105"


def test_a_failing_save_leaves_nothing_behind(run_folder):
    options = {"record": RECORD, "seed": 42, "counts": {}, "is_main": True, "world_size": 1}
    with (
        pytest.raises(RuntimeError, match="power cut"),
        stage_checkpoint(run_folder / "checkpoint-110", **options) as folder,
    ):
        (folder / "weights.bin").write_bytes(b"half")
        raise RuntimeError("power cut")
    assert find_resumable_checkpoint(run_folder).name == "checkpoint-100"
    assert not [path for path in run_folder.iterdir() if "110" in path.name and path.suffix != ".lock"]


def test_resume_takes_a_checkpoint_a_run_or_auto(run_folder, tmp_path):
    newest = run_folder / "checkpoint-100"
    assert resolve_resume(None, run_folder) is None
    assert resolve_resume("auto", run_folder) == newest
    assert resolve_resume(str(run_folder / "checkpoint-5"), run_folder).name == "checkpoint-5"
    assert resolve_resume(run_folder, tmp_path / "other") == newest
    assert resolve_resume("auto", tmp_path / "other") is None
    with pytest.raises(ArtifactError, match="holds no whole checkpoint"):
        resolve_resume(tmp_path / "other", run_folder)


# ---- Matching ----


def test_a_checkpoint_of_the_same_run_is_accepted(run_folder):
    assert check_resume(run_folder / "checkpoint-10", RECORD).counts["step"] == 10


def test_what_differs_is_named(run_folder):
    other = RunRecord(
        settings={**RECORD.settings, "training.num_train_epochs": 5.0},
        inputs={"tokenize": "sha256:bb"},
        identity={"train_rows": 101},
    )
    with pytest.raises(ArtifactError) as caught:
        check_resume(run_folder / "checkpoint-10", other)
    message = str(caught.value)
    assert "num_train_epochs: 3.0 -> 5.0" in message
    assert "tokenize: sha256:aa -> sha256:bb" in message
    assert "train_rows: 100 -> 101" in message
    assert "learning_rate" not in message and "target_modules" not in message
    assert caught.value.exit_code == 3


def test_another_artifact_is_no_checkpoint(tmp_path):
    options = {"stage": "train", "fingerprint": "x", "settings": {}, "inputs": {}, "identity": {}}
    with publish(tmp_path / "trained", **options) as staging:
        (staging.folder / "weights.bin").write_bytes(b"1")
    with pytest.raises(ArtifactError, match="is a train artifact, not a checkpoint"):
        check_resume(tmp_path / "trained", RECORD)


def test_later_checkpoints_are_set_aside_not_deleted(run_folder):
    moved = set_aside_later_checkpoints(run_folder, 10)
    assert names(run_folder) == ["checkpoint-5", "checkpoint-10"]
    assert [folder.name for folder in moved] == ["superseded-checkpoint-95", "superseded-checkpoint-100"]
    assert all(verify(folder, deep=True) for folder in moved)
    write_checkpoint(run_folder, 95)
    assert [folder.name for folder in set_aside_later_checkpoints(run_folder, 10)] == [
        "superseded-checkpoint-95-2"
    ]


# ---- What the trainer writes ----


def test_a_checkpoint_holds_all_that_a_resume_needs_and_no_pickled_arguments(make_trainer):
    record = RunRecord(settings={"training.learning_rate": 1e-2})
    trainer = make_trainer(
        record=record, write_extra=lambda folder: (folder / "qwenkit.json").write_text("{}", encoding="utf-8")
    )
    trainer.train()
    checkpoint = trainer.run_folder / "checkpoint-3"
    manifest = verify(checkpoint, deep=True)
    assert {output.path for output in manifest.outputs} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "qwenkit.json",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
    }
    assert manifest.settings == {"training.learning_rate": 1e-2}
    assert manifest.identity == {
        "class_weights": [0.7, 1.9],
        "train_rows": 80,
        "documents_per_step": 32,
    }
    micro_batches = {"documents": 8, "tokens": None}
    assert manifest.counts == {"step": 3, "epoch": 1.0, "micro_batches": micro_batches}


def test_no_checkpoint_points_into_its_staging_folder(make_trainer):
    trainer = make_trainer(config=make_config(eval_steps=1))
    trainer.train()
    for _, folder in list_checkpoints(trainer.run_folder):
        best = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))[
            "best_model_checkpoint"
        ]
        assert best in {str(path) for path in trainer.run_folder.glob("checkpoint-*")}


def test_the_trainer_keeps_no_more_checkpoints_than_asked(make_trainer):
    config = make_config(num_train_epochs=4.0, eval_steps=1, save_total_limit=2, learning_rate=0.05)
    config.early_stopping.enabled = False
    trainer = make_trainer(config=config)
    trainer.train()
    best, last = trainer.state.best_global_step, trainer.state.global_step
    assert last == 12
    assert {step for step, _ in list_checkpoints(trainer.run_folder)} >= {best, last}
    assert len(list_checkpoints(trainer.run_folder)) == 2


def test_a_new_best_between_two_saves_is_saved_too(make_trainer):
    """With save_steps a multiple of eval_steps the stock Trainer would load an older best without a word."""
    config = make_config(num_train_epochs=2.0, eval_steps=1, save_steps=6, learning_rate=0.05)
    trainer = make_trainer(config=config)
    trainer.train()
    best = trainer.state.best_global_step
    assert best % 6, "the best came at a regular save, so this test shows nothing"
    assert trainer.state.best_model_checkpoint == str(trainer.run_folder / f"checkpoint-{best}")
    assert read_manifest(trainer.run_folder / f"checkpoint-{best}") is not None


def test_a_damaged_best_checkpoint_is_not_loaded(make_trainer):
    trainer = make_trainer()

    def damage(folder):
        # The sizes stay; only the content changes, after it was published.
        weights = trainer.run_folder / "checkpoint-3" / "adapter_model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)

    trainer.callback_handler.callbacks[-1].on_save = lambda *args, **kwargs: damage(None)
    with pytest.raises(ArtifactError, match=r"adapter_model.safetensors changed"):
        trainer.train()
