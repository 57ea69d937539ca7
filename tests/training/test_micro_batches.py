"""Memory that is too small: the step is cut finer and repeated, and is the same step."""

import datasets
import numpy as np
import pytest
import torch

from qwenkit.artifacts import read_manifest
from qwenkit.console import Console
from qwenkit.errors import Interrupted, ResourceError
from qwenkit.training.checkpoints import find_resumable_checkpoint
from tests.training.test_resume import RaiseSignal
from tests.training.tiny_training import load_lora, logged, make_config, make_rows, weights_of

# float32 sums in another order; losses and norms here are of order 1.
TOLERANCE = 1e-5
IMPOSSIBLE_BYTES = 2**60


class Telling(Console):
    """Keeps its warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.warnings: list[str] = []

    def warn(self, line: str, *, is_of_rank: bool = False) -> None:
        self.warnings.append(line)


def fail_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def fail_in_the_allocator() -> None:
    torch.empty(IMPOSSIBLE_BYTES, dtype=torch.uint8)


def limit_memory(model, *, tokens: int, fail=fail_on_a_gpu, in_backward: bool = False):
    """Let the model have no room for more tokens at once; `sizes` tells what it was asked for."""
    sizes: list[tuple[int, int]] = []

    def check(shape: torch.Size) -> None:
        if shape[0] * shape[1] > tokens:
            fail()

    def before_forward(module, args, kwargs):
        if not module.training:
            return
        shape = kwargs["input_ids"].shape
        sizes.append(tuple(shape))
        assert len(sizes) < 1000, "the same step is tried for ever"
        if not in_backward:
            check(shape)

    def after_layer(module, args, output):
        if output.requires_grad:
            output.register_hook(lambda grad: check(grad.shape))

    model.register_forward_pre_hook(before_forward, with_kwargs=True)
    if in_backward:
        model.get_base_model().model.layers[1].register_forward_hook(after_layer)
    model.sizes = sizes
    return model


def run(trainer):
    trainer.train()
    return logged(trainer, "loss"), logged(trainer, "grad_norm")


@pytest.mark.parametrize(
    ("fail", "in_backward", "budget"),
    [(fail_on_a_gpu, False, None), (fail_on_a_gpu, True, 1280), (fail_in_the_allocator, True, None)],
)
def test_a_step_that_does_not_fit_is_cut_finer_and_stays_the_same_step(
    base_folder, make_trainer, fail, in_backward, budget
):
    options = {"micro_batch_tokens": budget, "eval_steps": 50}
    if budget is None:
        options |= {"per_device_train_batch_size": 32, "gradient_accumulation_steps": 1}
    config, console = make_config(**options), Telling()
    expected = run(make_trainer(run="roomy", config=config))
    model = limit_memory(load_lora(base_folder), tokens=400, fail=fail, in_backward=in_backward)
    trainer = make_trainer(run="tight", config=config, model=model, console=console)
    found = run(trainer)
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE)
    # From the second step on nothing too large is tried again.
    too_large = [size for size in model.sizes if size[0] * size[1] > 400]
    assert too_large == model.sizes[: len(too_large)] and too_large
    (line,) = console.warnings
    assert line.startswith("out of memory at step 1: micro-batches have at most ")
    assert "instead of " + ("1,280 tokens" if budget else "32 documents") in line


def test_dropout_goes_on_from_where_the_step_began(base_folder, make_trainer):
    """What fits at once and what fits after a failure draw the same noise."""

    def train(name, limit, **options):
        model = limit_memory(load_lora(base_folder, dropout=0.3), tokens=limit, in_backward=True)
        trainer = make_trainer(run=name, config=make_config(eval_steps=50, **options), model=model)
        return run(trainer), weights_of(trainer.model)

    expected, weights = train("fits", 40, micro_batch_tokens=40)
    found, found_weights = train("halved", 40, micro_batch_tokens=80)
    assert found == expected
    assert all(torch.equal(found_weights[name], weights[name]) for name in weights)


def test_one_document_that_does_not_fit_ends_with_what_would_help(base_folder, make_trainer):
    model = limit_memory(load_lora(base_folder), tokens=20)
    with pytest.raises(ResourceError, match=r"not even one document of \d+ tokens fits: set training.grad"):
        make_trainer(model=model).train()


def test_a_long_document_that_does_not_fit_alone_ends_it_among_short_ones_too(base_folder, make_trainer):
    """It goes alone at once; halving by its size would repeat the step for ever."""
    rows = make_rows(32).to_dict()
    rows["input_ids"] = [ids[-3:] for ids in rows["input_ids"]]
    rows["input_ids"][5] = [7] * 60
    rows["length"] = [len(ids) for ids in rows["input_ids"]]
    model = limit_memory(load_lora(base_folder), tokens=50)
    trainer = make_trainer(
        model=model,
        config=make_config(micro_batch_tokens=128),
        train_dataset=datasets.Dataset.from_dict(rows, features=make_rows(1).features),
    )
    with pytest.raises(ResourceError, match="not even one document of 60 tokens fits"):
        trainer.train()


def test_other_errors_are_not_taken_for_a_lack_of_memory(base_folder, make_trainer):
    def fail() -> None:
        raise RuntimeError("the shapes do not fit")

    model = limit_memory(load_lora(base_folder), tokens=20, fail=fail)
    with pytest.raises(RuntimeError, match="the shapes do not fit"):
        make_trainer(model=model).train()
    assert len(model.sizes) == 1


def test_a_resumed_run_starts_with_what_fitted(base_folder, make_trainer):
    config = make_config(micro_batch_tokens=1280, eval_steps=1)

    def build(**options):
        model = limit_memory(load_lora(base_folder), tokens=400)
        return make_trainer(run="cut", config=config, model=model, eval_dataset=False, **options)

    with pytest.raises(Interrupted):
        build(callbacks=[RaiseSignal(2)]).train()
    console = Telling()
    resumed = build(console=console)
    checkpoint = find_resumable_checkpoint(resumed.run_folder)
    assert read_manifest(checkpoint).counts["micro_batches"] == {"documents": 8, "tokens": 220}
    resumed.train(checkpoint)
    assert console.warnings == []
    assert resumed.plan.micro_batch_tokens == 220
