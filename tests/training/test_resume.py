"""A run that was cut and resumed against one that was not: the same to the last bit."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from qwenkit.errors import ArtifactError, Interrupted
from qwenkit.training.checkpoints import find_resumable_checkpoint, list_checkpoints
from qwenkit.training.plan import RunRecord
from qwenkit.training.stopping import EarlyStopping
from tests.training.tiny_training import load_base, load_lora, logged, make_config, weights_of

TIMES = {
    "tokens_per_second",
    "peak_memory_gib",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    # An average over the steps of one call of train().
    "train_loss",
}


class RaiseSignal(TrainerCallback):
    """Stands in for Ctrl-C or the batch system, in the middle of a step."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number = step, number

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.step:
            signal.raise_signal(self.number)


def numbers_of(trainer):
    """The log without what a clock or the machine decides."""
    return [{k: v for k, v in record.items() if k not in TIMES} for record in trainer.state.log_history]


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    different = [name for name in expected if not torch.equal(found[name], expected[name])]
    assert different == []


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize(("step", "eval_steps"), [(4, 3), (3, 3), (4, 1)])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    base_folder, make_trainer, quantization, step, eval_steps
):
    """Dropout on, two epochs of three steps: cut in the middle, at the edge, and before an evaluation."""
    config = make_config(num_train_epochs=2.0, eval_steps=eval_steps)

    def build(run, **options):
        model = load_lora(base_folder, quantization=quantization, dropout=0.2)
        return make_trainer(run=run, config=config, model=model, **options)

    whole = build("whole")
    whole.train()
    with pytest.raises(Interrupted):
        build("cut", callbacks=[RaiseSignal(step)]).train()
    resumed = build("cut")
    checkpoint = find_resumable_checkpoint(resumed.run_folder)
    assert checkpoint.name == f"checkpoint-{step}"
    resumed.train(checkpoint)
    assert_same_weights(weights_of(resumed.model), weights_of(whole.model))
    assert numbers_of(resumed) == numbers_of(whole)
    last = "checkpoint-6/optimizer.pt"
    optimizers = [torch.load(t.run_folder / last, weights_only=True) for t in (resumed, whole)]
    for ours, theirs in zip(*(o["state"].values() for o in optimizers), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_full_fine_tuning_resumes_bit_for_bit(base_folder, make_trainer):
    config = make_config(num_train_epochs=2.0, load_best_model_at_end=False)
    config.early_stopping.enabled = False
    whole = make_trainer(run="whole", config=config, model=load_base(base_folder))
    whole.train()
    cut = {"run": "cut", "config": config}
    with pytest.raises(Interrupted):
        make_trainer(**cut, model=load_base(base_folder), callbacks=[RaiseSignal(2)]).train()
    resumed = make_trainer(**cut, model=load_base(base_folder))
    resumed.train(resumed.run_folder / "checkpoint-2")
    assert_same_weights(weights_of(resumed.model), weights_of(whole.model))


def test_logs_agree_when_the_cut_falls_between_two_logs_and_a_save(make_trainer):
    """Each regular save also logs, so that the mean loss after it covers the same steps in both runs."""
    config = make_config(num_train_epochs=3.0, logging_steps=4, eval_steps=3)
    whole = make_trainer(run="whole", config=config)
    whole.train()
    resumed = make_trainer(run="resumed", config=config)
    shutil.copytree(whole.run_folder / "checkpoint-3", resumed.run_folder / "checkpoint-3")
    resumed.train(resumed.run_folder / "checkpoint-3")
    assert numbers_of(resumed) == numbers_of(whole)


# ---- Interruption ----


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_resumable_checkpoint_and_its_exit_code(make_trainer, number, exit_code):
    before = signal.getsignal(number)
    trainer = make_trainer(callbacks=[RaiseSignal(2, number)])
    told = r"after step 2; .*checkpoint-2 is complete\. The same command goes on from there"
    with pytest.raises(Interrupted, match=told) as caught:
        trainer.train()
    assert caught.value.exit_code == exit_code
    assert find_resumable_checkpoint(trainer.run_folder).name == "checkpoint-2"
    assert signal.getsignal(number) is before


def test_an_interrupted_trainer_can_evaluate_and_go_on(make_trainer):
    """As in a notebook, where Ctrl-C leaves the objects in place."""
    config = make_config(num_train_epochs=2.0)
    whole = make_trainer(run="whole", config=config)
    whole.train()
    trainer = make_trainer(run="cut", config=config, callbacks=[RaiseSignal(2, signal.SIGINT)])
    with pytest.raises(Interrupted):
        trainer.train()
    assert "eval_loss" in trainer.evaluate()
    trainer.train(trainer.run_folder / "checkpoint-2")
    assert_same_weights(weights_of(trainer.model), weights_of(whole.model))


def test_a_second_signal_acts_at_once(make_trainer):
    class Impatient(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **kwargs):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_trainer(callbacks=[Impatient()]).train()


def test_a_signal_before_an_evaluation_does_not_wait_for_its_end(make_trainer):
    """The time between SIGTERM and SIGKILL is short; the resumed run makes the evaluation up."""
    config = make_config(num_train_epochs=2.0, eval_steps=3)
    whole = make_trainer(run="whole", config=config)
    whole.train()
    cut = make_trainer(run="cut", config=config, callbacks=[RaiseSignal(6)])
    with pytest.raises(Interrupted, match="checkpoint-6 is complete"):
        cut.train()
    assert len(logged(cut, "eval_loss")) == 1
    resumed = make_trainer(run="cut", config=config)
    resumed.train(find_resumable_checkpoint(resumed.run_folder))
    assert numbers_of(resumed) == numbers_of(whole)
    assert resumed.state.best_global_step == whole.state.best_global_step
    assert_same_weights(weights_of(resumed.model), weights_of(whole.model))


def test_a_signal_during_the_last_steps_evaluation_is_not_lost(make_trainer):
    class DuringEvaluation(TrainerCallback):
        def on_evaluate(self, args, state, control, **kwargs):
            if state.global_step == state.max_steps:
                signal.raise_signal(signal.SIGTERM)

    trainer = make_trainer(callbacks=[DuringEvaluation()])
    with pytest.raises(Interrupted, match="checkpoint-3 is complete"):
        trainer.train()
    assert find_resumable_checkpoint(trainer.run_folder).name == "checkpoint-3"


# ---- Early stopping and the end ----


def stopping_config(**training):
    config = make_config(num_train_epochs=6.0, eval_steps=1, learning_rate=1e-6, **training)
    config.early_stopping.patience = 4
    return config


def test_early_stopping_keeps_its_patience_over_a_resume(make_trainer):
    """At this learning rate nothing improves: the first evaluation is the best, the fifth stops."""
    whole = make_trainer(run="whole", config=stopping_config())
    whole.train()
    assert whole.state.global_step == 5
    with pytest.raises(Interrupted):
        make_trainer(run="cut", config=stopping_config(), callbacks=[RaiseSignal(3)]).train()
    resumed = make_trainer(run="cut", config=stopping_config())
    resumed.train(find_resumable_checkpoint(resumed.run_folder))
    assert resumed.state.global_step == 5
    assert resumed.state.best_global_step == whole.state.best_global_step == 1


def test_a_run_whose_patience_had_run_out_takes_no_more_steps(make_trainer):
    config = stopping_config()
    first = make_trainer(config=config)
    first.train()
    again = make_trainer(config=config)
    again.train(first.run_folder / "checkpoint-5")
    assert again.state.global_step == 5
    assert any(isinstance(each, EarlyStopping) for each in again.callback_handler.callbacks)
    assert_same_weights(weights_of(again.model), weights_of(first.model))


@pytest.mark.parametrize("max_steps", [-1, 4])
def test_resuming_a_finished_run_takes_no_step_and_loads_the_best_weights(make_trainer, max_steps):
    """max_steps 4 ends in the middle of an epoch, where the stock Trainer takes a fifth step."""
    config = make_config(num_train_epochs=2.0, max_steps=max_steps, eval_steps=1, learning_rate=0.05)
    first = make_trainer(config=config)
    first.train()
    again = make_trainer(config=config)
    again.train(find_resumable_checkpoint(first.run_folder))
    assert again.state.global_step == first.state.global_step == (4 if max_steps == 4 else 6)
    assert_same_weights(weights_of(again.model), weights_of(first.model))


def test_the_best_checkpoint_is_found_in_a_run_folder_that_was_moved(make_trainer, tmp_path):
    config = make_config(num_train_epochs=2.0, eval_steps=1, learning_rate=0.05)
    first = make_trainer(run="here", config=config)
    first.train()
    (tmp_path / "here").rename(tmp_path / "there")
    again = make_trainer(run="there", config=config)
    again.train(find_resumable_checkpoint(tmp_path / "there"))
    assert again.state.best_model_checkpoint == str(
        tmp_path / "there" / f"checkpoint-{first.state.best_global_step}"
    )
    assert_same_weights(weights_of(again.model), weights_of(first.model))


# ---- What else is in the folder ----


def test_resuming_from_an_earlier_checkpoint_sets_the_later_ones_aside(make_trainer):
    config = make_config(num_train_epochs=2.0, eval_steps=1, save_total_limit=None)
    first = make_trainer(config=config)
    first.train()
    again = make_trainer(config=config)
    again.train(first.run_folder / "checkpoint-2")
    assert [step for step, _ in list_checkpoints(again.run_folder)] == [1, 2, 3, 4, 5, 6]
    aside = sorted(path.name for path in again.run_folder.glob("superseded-*"))
    assert aside == [f"superseded-checkpoint-{step}" for step in (3, 4, 5, 6)]
    assert_same_weights(weights_of(again.model), weights_of(first.model))


def test_a_fresh_start_sets_old_checkpoints_aside(make_trainer):
    make_trainer().train()
    again = make_trainer()
    again.train()
    assert [path.name for path in again.run_folder.glob("superseded-*")] == ["superseded-checkpoint-3"]


def test_a_checkpoint_of_other_settings_or_data_is_refused(make_trainer):
    first = make_trainer(record=RunRecord(settings={"training.learning_rate": 1e-2}))
    first.train()
    checkpoint = first.run_folder / "checkpoint-3"
    other = make_trainer(run="other", record=RunRecord(settings={"training.learning_rate": 2e-2}))
    with pytest.raises(ArtifactError, match=r"learning_rate: 0.01 -> 0.02"):
        other.train(checkpoint)
    config = make_config(gradient_accumulation_steps=2)
    with pytest.raises(ArtifactError, match="documents_per_step: 32 -> 16"):
        make_trainer(run="other", config=config, record=first.plan.record).train(checkpoint)


def test_metrics_file_has_each_step_once_after_a_resume(make_trainer):
    config = make_config(num_train_epochs=2.0, save_total_limit=None)
    first = make_trainer(config=config)
    first.train()
    again = make_trainer(config=config)
    again.train(first.run_folder / "checkpoint-3")
    lines = (again.run_folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4, 5, 6]
    for record in records:
        if "loss" in record:
            assert {"grad_norm", "learning_rate", "epoch", "tokens_per_second"} <= record.keys()
            assert record["tokens_per_second"] > 0
    assert np.isclose([r["loss"] for r in records if "loss" in r], logged(again, "loss")).all()


class RaiseSignalAtTheEnd(TrainerCallback):
    """Sends SIGTERM to this process when the last step is done."""

    def on_train_end(self, args, state, control, **kwargs):
        signal.raise_signal(signal.SIGTERM)


def test_a_stop_after_the_last_step_names_a_checkpoint_only_where_one_is(make_trainer):
    """Early stopping ends at an evaluation, where nothing need be saved."""
    config = make_config(num_train_epochs=9.0, eval_steps=1, save_steps=1000, learning_rate=1e-9)
    config.early_stopping.patience = 2
    trainer = make_trainer(config=config, callbacks=[RaiseSignalAtTheEnd()])
    with pytest.raises(Interrupted) as stopped:
        trainer.train()
    assert trainer.state.global_step == 3
    assert [path.name for path in trainer.run_folder.glob("checkpoint-*")] == ["checkpoint-1"]
    assert "checkpoint-3" not in str(stopped.value)
    assert "stopped by SIGTERM after step 3; " in str(stopped.value)
