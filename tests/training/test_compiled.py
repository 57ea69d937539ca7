"""Compiled layers give the same losses, from one compilation for all layers and sizes."""

import shutil

import numpy as np
import pytest
import torch._dynamo

from qwenkit.modeling.compiled import compile_layers
from tests.training.tiny_training import load_lora, logged, make_config, weights_of

# float32 sums in another order; losses are of order 1.
TOLERANCE = 1e-5
HAS_COMPILER = any(shutil.which(name) for name in ("g++", "clang++"))


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    config = torch._dynamo.config
    before = config.optimize_ddp, config.specialize_float
    yield
    config.optimize_ddp, config.specialize_float = before
    torch._dynamo.reset()


@pytest.mark.slow
def test_compiled_layers_take_the_same_steps_whatever_the_sizes(base_folder, make_trainer):
    """Micro-batches of a dozen sizes, two layers, an evaluation in between."""
    config = make_config(micro_batch_tokens=300, eval_steps=2)
    plain = make_trainer(run="plain", config=config)
    plain.train()
    model = load_lora(base_folder)
    assert compile_layers(model, backend="aot_eager") == 2
    compiled = make_trainer(run="compiled", config=config, model=model)
    compiled.train()
    for name in ("loss", "grad_norm", "eval_loss"):
        np.testing.assert_allclose(logged(compiled, name), logged(plain, name), rtol=TOLERANCE)
    assert weights_of(model).keys() == weights_of(plain.model).keys()
    # The first layer's input needs no gradient, the others' does, and an evaluation needs none at all.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]


def test_the_scaling_of_an_adapter_is_part_of_the_compiled_code(base_folder):
    """As a tensor of its own it would be one on the CPU, beside a layer on a GPU."""
    inputs: list[torch.Tensor] = []

    def keep_inputs(graph, example_inputs):
        inputs.extend(example_inputs)
        return graph.forward

    model = load_lora(base_folder)
    compile_layers(model, backend=keep_inputs)
    for size in ((2, 16), (3, 24)):
        model(input_ids=torch.ones(size, dtype=torch.long), use_cache=False).logits.sum().backward()
    assert len(inputs) > 20
    assert not [each for each in inputs if isinstance(each, torch.Tensor) and each.ndim == 0]


def test_ranks_do_not_have_layers_cut(base_folder, tmp_path, monkeypatch):
    def refuse(self, graph, example_inputs):
        raise AssertionError("cut into pieces")

    monkeypatch.setattr("torch._dynamo.backends.distributed.DDPOptimizer.compile_fn", refuse)
    model = load_lora(base_folder)
    compile_layers(model, backend="eager")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        ranks = torch.nn.parallel.DistributedDataParallel(model)
        logits = ranks(input_ids=torch.ones((2, 8), dtype=torch.long), use_cache=False).logits
        logits.sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="torch.compile needs a C++ compiler on a CPU")
def test_the_switch_compiles_and_changes_no_loss(make_trainer):
    options = {"max_steps": 1, "load_best_model_at_end": False}
    plain = make_trainer(run="plain", config=make_config(**options), eval_dataset=False)
    compiled = make_trainer(run="compiled", config=make_config(compile=True, **options), eval_dataset=False)
    plain.train()
    compiled.train()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    np.testing.assert_allclose(logged(compiled, "loss"), logged(plain, "loss"), rtol=TOLERANCE)
