"""What is tried before the first step: it finds what would fail later, and leaves no trace."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from qwenkit.errors import DivergedError, ResourceError
from qwenkit.training.checkpoints import find_resumable_checkpoint, list_checkpoints
from qwenkit.training.probe import find_largest, probe_micro_batch_tokens
from qwenkit.training.rehearsal import check_disk, count_checkpoints_to_come, is_rehearsal_due
from tests.training.test_micro_batches import Telling, fail_in_the_allocator, limit_memory
from tests.training.test_resume import RaiseSignal, assert_same_weights, numbers_of
from tests.training.tiny_training import (
    VOCAB,
    load_base,
    load_lora,
    make_config,
    make_rows,
    poison,
    weights_of,
)


class Saying(Telling):
    """Keeps its plain lines too."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


# ---- The probe ----


@pytest.mark.parametrize("limit", [0, 1, 5, 37, 100, 255, 256, 300])
def test_the_largest_that_fits_is_found_to_an_eighth(limit):
    tried = []

    def fits(count):
        tried.append(count)
        return count <= limit

    found = find_largest(fits, most=256)
    assert found <= limit
    assert found == min(limit, 256) or found > limit * 7 / 8 - 1
    assert len(tried) <= 13 and max(tried) <= 256
    # A compiler makes forms of their own for one document.
    assert 1 not in tried or limit < 2


@pytest.mark.parametrize("limit", [130, 10_000])
def test_the_probe_finds_what_fits_and_leaves_no_trace(base_folder, make_trainer, limit):
    """The longest document pads to 40 tokens: three of them are 120, and a step has 32."""
    trainers = []
    for name in ("plain", "probed"):
        model = limit_memory(load_lora(base_folder, dropout=0.3), tokens=limit, fail=fail_in_the_allocator)
        config = make_config(micro_batch_tokens=120)
        trainers.append(make_trainer(run=name, config=config, model=model))
    plain, probed = trainers
    found = []

    def prepare(*args, **kwargs):
        model, loader = type(probed)._prepare_for_training(probed, *args, **kwargs)
        found.append(probe_micro_batch_tokens(probed, model))
        return model, loader

    probed._prepare_for_training = prepare
    plain.train()
    probed.train()
    assert found == [120 if limit == 130 else 32 * 40]
    assert numbers_of(probed) == numbers_of(plain)
    assert_same_weights(weights_of(probed.model), weights_of(plain.model))


def test_auto_is_settled_before_the_first_step_and_kept_for_a_resume(base_folder, make_trainer):
    config, console = make_config(micro_batch_tokens="auto", eval_steps=1), Saying()
    trainer = make_trainer(config=config, callbacks=[RaiseSignal(2)], console=console)
    with pytest.raises(Exception, match="SIGTERM"):
        trainer.train()
    assert trainer.plan.micro_batch_tokens == 4096
    assert [line for line in console.lines if "micro-batches of at most 4,096 tokens" in line]
    checkpoint = find_resumable_checkpoint(trainer.run_folder)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert manifest["counts"]["micro_batches"]["tokens"] == 4096
    console = Saying()
    resumed = make_trainer(config=config, console=console)
    resumed.train(checkpoint)
    assert resumed.plan.micro_batch_tokens == 4096
    assert not [line for line in console.lines if "micro-batches" in line]


# ---- The rehearsal ----


def test_auto_rehearses_before_long_runs_only():
    assert [is_rehearsal_due("auto", steps_left=steps) for steps in (0, 49, 50)] == [False, False, True]
    assert [is_rehearsal_due(True, steps_left=steps) for steps in (0, 1)] == [False, True]
    assert not is_rehearsal_due(False, steps_left=10_000)


@pytest.mark.parametrize("kind", ["lora", "nf4", "full", "adamw_8bit", "resumed"])
def test_a_run_with_a_rehearsal_equals_one_without_bit_for_bit(base_folder, make_trainer, kind):
    def build(name, *, rehearsal, **options):
        if kind == "full":
            model = load_base(base_folder)
        else:
            quantization = "nf4" if kind == "nf4" else "none"
            model = load_lora(base_folder, quantization=quantization, dropout=0.3)
        optimizer = {"optim": "adamw_8bit"} if kind == "adamw_8bit" else {}
        config = make_config(rehearsal=rehearsal, num_train_epochs=2.0, eval_steps=2, **optimizer)
        return make_trainer(run=name, config=config, model=model, **options)

    plain, console = build("plain", rehearsal=False), Saying()
    plain.train()
    checkpoint = None
    if kind == "resumed":
        cut = build("rehearsed", rehearsal=False, callbacks=[RaiseSignal(4)])
        with pytest.raises(Exception, match="SIGTERM"):
            cut.train()
        checkpoint = find_resumable_checkpoint(cut.run_folder)
    rehearsed = build("rehearsed", rehearsal=True, console=console)
    rehearsed.train(checkpoint)
    assert numbers_of(rehearsed) == numbers_of(plain)
    assert_same_weights(weights_of(rehearsed.model), weights_of(plain.model))
    (line,) = [line for line in console.lines if line.startswith("rehearsed in ")]
    assert (
        "a step on the 32 longest documents (up to 40 tokens), 37 documents scored, a checkpoint of" in line
    )
    assert sorted(path.name for path in rehearsed.run_folder.iterdir()) == sorted(
        path.name for path in plain.run_folder.iterdir()
    )


def test_what_would_fail_late_fails_before_the_first_step(base_folder, make_trainer):
    """The longest document, which the seed puts into the last step, holds a token that gives NaN."""
    rows = make_rows(320)
    columns = rows.to_dict()
    columns["input_ids"][7] = [VOCAB - 1] * 60
    columns["length"][7] = 60
    rows = type(rows).from_dict(columns, features=rows.features)
    model = load_lora(base_folder)
    poison(model)
    trainer = make_trainer(model=model, train_dataset=rows, config=make_config(rehearsal=True))
    with pytest.raises(DivergedError, match="row_id 1007"):
        trainer.train()
    assert trainer.state.global_step == 0


@pytest.mark.parametrize("name", ["rehearsal", ".rehearsal.staging-123"])
def test_what_a_killed_rehearsal_left_is_gone_after_a_run_without_one(make_trainer, name):
    trainer = make_trainer(config=make_config(max_steps=1, rehearsal=False), eval_dataset=False)
    leftover = Path(trainer.args.output_dir, name)
    leftover.mkdir(parents=True)
    (leftover / "adapter_model.safetensors").write_bytes(b"weights")
    trainer.train()
    assert not leftover.exists()


def test_an_evaluation_that_cannot_be_done_fails_in_the_rehearsal(base_folder, make_trainer):
    model = load_lora(base_folder)

    def fail(module, args, kwargs):
        if not module.training:
            raise RuntimeError("no evaluation today")

    model.register_forward_pre_hook(fail, with_kwargs=True)
    trainer = make_trainer(model=model, config=make_config(rehearsal=True))
    with pytest.raises(RuntimeError, match="no evaluation today"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_memory_that_is_too_small_is_found_and_met_before_the_first_step(base_folder, make_trainer):
    model, console = limit_memory(load_lora(base_folder), tokens=400), Saying()
    config = make_config(rehearsal=True, micro_batch_tokens=1280)
    make_trainer(model=model, config=config, console=console).train()
    (line,) = console.warnings
    assert "out of memory" in line
    # Tried before the first step, with the longest documents, and never again.
    assert [size for size in model.sizes if size[0] * size[1] > 400] == model.sizes[:1]


def test_the_disk_is_held_against_the_checkpoints_to_come(make_trainer):
    check_disk(3, checkpoint_bytes=2**20, free_bytes=4 * 2**20, folder=Path("run"))
    with pytest.raises(ResourceError) as caught:
        check_disk(3, checkpoint_bytes=2**30, free_bytes=2**30, folder=Path("run"))
    message = str(caught.value)
    assert "3 checkpoints of 1.0 GiB and the trained model need 4.0 GiB in run, where 1.0 GiB are" in message
    assert "training.save_total_limit" in message
    trainer = make_trainer(config=make_config(eval_steps=1, save_total_limit=2, num_train_epochs=4.0))
    trainer.train()
    trainer.state.global_step = 0
    assert count_checkpoints_to_come(trainer) == 1
    shutil.rmtree(trainer.run_folder)
    trainer.run_folder.mkdir()
    assert count_checkpoints_to_come(trainer) == 3
    trainer.plan = make_trainer(config=make_config(save_total_limit=None)).plan
    assert count_checkpoints_to_come(trainer) == 12


def test_a_new_best_is_saved_between_two_checkpoints_and_counts(make_trainer):
    options = {"eval_steps": 1, "save_steps": 1000, "num_train_epochs": 4.0}
    trainer = make_trainer(run="best", config=make_config(save_total_limit=None, **options))
    trainer.train()
    steps = trainer.state.max_steps
    saved = len(list_checkpoints(trainer.run_folder))
    assert saved > 1
    shutil.rmtree(trainer.run_folder)
    trainer.run_folder.mkdir()
    trainer.state.global_step = 0
    assert saved <= count_checkpoints_to_come(trainer) == steps
    trainer.plan = make_trainer(run="few", config=make_config(save_total_limit=2, **options)).plan
    assert count_checkpoints_to_come(trainer) == 3
    trainer.args.load_best_model_at_end = False
    assert count_checkpoints_to_come(trainer) == 1


def test_more_checkpoints_than_are_kept_from_now_on_leave_room_for_the_next(make_trainer):
    trainer = make_trainer(config=make_config(eval_steps=1, save_total_limit=None, num_train_epochs=4.0))
    trainer.train()
    assert len(list_checkpoints(trainer.run_folder)) > 3
    trainer.plan = make_trainer(run="few", config=make_config(save_total_limit=1)).plan
    trainer.state.global_step = 0
    assert count_checkpoints_to_come(trainer) == 1


def test_the_rehearsal_draws_nothing_from_the_global_generators(make_trainer):
    states = []
    for rehearsal in (False, True):
        torch.manual_seed(1)
        make_trainer(run=str(rehearsal), config=make_config(rehearsal=rehearsal, max_steps=1)).train()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)
