"""Every optimizer that the schema offers takes steps, and is the kind that its name says."""

from typing import get_args

import pytest
import torch

from qwenkit.config.schema_training import Training
from tests.training.tiny_training import make_config, weights_of

OPTIMIZERS = get_args(Training.model_fields["optim"].annotation)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_every_weight(make_trainer, name):
    config = make_config(optim=name, max_steps=1, load_best_model_at_end=False)
    trainer = make_trainer(config=config, eval_dataset=False)
    before = weights_of(trainer.model)
    trainer.train()
    after = weights_of(trainer.model)
    assert [name for name, weight in after.items() if torch.equal(weight, before[name])] == []
    assert all(weight.isfinite().all() for weight in after.values())


def test_the_default_updates_all_weights_in_one_fused_kernel(make_trainer):
    trainer = make_trainer()
    trainer.create_optimizer()
    assert type(trainer.optimizer) is torch.optim.AdamW
    assert trainer.optimizer.defaults["fused"] is True


@pytest.mark.parametrize(
    ("name", "bits", "is_paged"),
    [("adamw_8bit", 8, False), ("paged_adamw_8bit", 8, True), ("paged_adamw_32bit", 32, True)],
)
def test_small_and_paged_ones_are_so(make_trainer, name, bits, is_paged):
    trainer = make_trainer(config=make_config(optim=name))
    trainer.create_optimizer()
    assert trainer.optimizer.args.optim_bits == bits
    assert trainer.optimizer.is_paged is is_paged
