"""Numbers that are not finite stop training, and are never saved."""

import pytest

from qwenkit.errors import DivergedError
from qwenkit.training.checkpoints import find_resumable_checkpoint
from qwenkit.training.steps import StepSampler
from tests.training.tiny_training import load_lora, make_config, make_rows, poison, poison_row


def test_a_loss_that_is_not_finite_stops_with_step_rows_and_last_checkpoint(base_folder, make_trainer):
    model = load_lora(base_folder)
    poison(model)
    rows = make_rows(80)
    bad_row = list(StepSampler(rows["length"][:], documents_per_step=32, seed=42))[1][5]
    rows = poison_row(rows, bad_row)
    trainer = make_trainer(
        model=model, train_dataset=rows, config=make_config(micro_batch_tokens=1, eval_steps=1)
    )
    with pytest.raises(DivergedError) as caught:
        trainer.train()
    message = str(caught.value)
    assert f"the loss of step 2 is not finite, at row_id {1000 + bad_row} (1 documents)" in message
    checkpoint = find_resumable_checkpoint(trainer.run_folder)
    assert checkpoint.name == "checkpoint-1"
    assert str(checkpoint) in message
    assert caught.value.exit_code == 6


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is(make_trainer):
    def loss_with_infinite_slope(outputs, labels, num_items_in_batch=None):
        at_zero = outputs.logits - outputs.logits.detach()
        return at_zero.abs().sqrt().sum()

    with pytest.raises(
        DivergedError, match=r"gradient norm of step 1 is not finite.*no checkpoint was written yet"
    ):
        make_trainer(compute_loss_func=loss_with_infinite_slope).train()


@pytest.mark.parametrize("has_validation", [True, False])
def test_weights_that_broke_are_not_saved_even_between_two_checks(base_folder, make_trainer, has_validation):
    """As on a GPU, where the numbers are read at a log or a save only."""
    model = load_lora(base_folder)
    poison(model, token=1)
    config = make_config(logging_steps=50, eval_steps=3, save_steps=3)
    rows = make_rows(37, seed=1) if has_validation else False
    trainer = make_trainer(model=model, config=config, eval_dataset=rows)
    trainer.remove_callback(type(trainer._divergence))
    with pytest.raises(DivergedError, match="step 1"):
        trainer.train()
    assert list(trainer.run_folder.glob("checkpoint-*")) == []
