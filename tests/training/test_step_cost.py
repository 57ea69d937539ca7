"""What a step asks of the device: no mask, no wait, and no more kernels than there were."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForSequenceClassification, Qwen3Config
from transformers import Qwen3ForSequenceClassification as Qwen3

from qwenkit.config.schema_model import Peft
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.classifier import no_mask_arguments
from qwenkit.modeling.precision import adapter_inputs_kept
from qwenkit.modeling.predictor import predict_logits
from tests.qwen3_sizes import TINY_SIZES
from tests.training.tiny_training import PAD, load_lora, logged, make_config, make_rows

aten = torch.ops.aten
# With these the host asks the device for a value, and waits until it has computed all that came before.
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.equal.default,
    aten.masked_select.default,
}
# Kernels of a decoder layer in a LoRA step on seven projections, dropout 0, counted on torch 2.13, CPU.
KERNELS = {"forward": 95, "backward": 122}


class Operations(TorchDispatchMode):
    """Counts what is really computed: views launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: list[str] = []
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITS:
            self.waits.append(str(func))
        if not func.is_view:
            self.kernels.append(str(func))
        return func(*args, **(kwargs or {}))


class AttentionCalls(TorchFunctionMode):
    """Notes what masks attention is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, bool]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention:
            self.calls.append((kwargs.get("attn_mask"), kwargs.get("is_causal")))
        return func(*args, **kwargs)


def test_attention_gets_no_mask_and_knows_that_it_is_causal(make_trainer):
    """In training and evaluation alike, though documents are padded."""
    with AttentionCalls() as attention:
        make_trainer(config=make_config(max_steps=1, eval_steps=1)).train()
    # Two layers in four micro-batches and one evaluation.
    assert len(attention.calls) == 10
    assert all(mask is None and is_causal is True for mask, is_causal in attention.calls)


# What attention runs as, on a CPU and on a GPU, where all scores and weights are never held at once.
FUSED_ATTENTION = {
    "aten._scaled_dot_product_flash_attention_for_cpu.default",
    "aten._scaled_dot_product_flash_attention.default",
    "aten._scaled_dot_product_efficient_attention.default",
    "aten._scaled_dot_product_cudnn_attention.default",
}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_attention_runs_as_one_fused_causal_kernel(base_folder, device):
    """As the recipes compute it: bfloat16, on a GPU under autocast over bfloat16 weights."""
    model = load_lora(base_folder).to(device, torch.bfloat16).train()
    ids = torch.ones((2, 16), dtype=torch.long, device=device)
    with Operations() as operations:
        model(input_ids=ids, use_cache=False, **no_mask_arguments(model)).logits.sum().backward()
    forward = [name for name in operations.kernels if name in FUSED_ATTENTION]
    assert len(forward) == 2
    assert not [name for name in operations.kernels if "softmax" in name]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_driver_too_sees_no_wait_in_a_step(make_trainer):
    """What happens inside a kernel's launch, CUDA alone can tell."""
    config = make_config(max_steps=2, logging_steps=50, eval_steps=50, load_best_model_at_end=False)
    trainer = make_trainer(config=config, eval_dataset=False)
    run_step = trainer.training_step

    def watch(*args: Any, **kwargs: Any) -> Any:
        # The first step also brings the class weights to the device.
        torch.cuda.set_sync_debug_mode("error" if trainer.state.global_step else "default")
        try:
            return run_step(*args, **kwargs)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    trainer.training_step = watch
    trainer.train()


def count_waits(trainer: Any) -> int:
    """Count how often a whole run waits, as on a GPU: on a CPU the guard looks after each step."""
    trainer.remove_callback(type(trainer._divergence))
    with Operations() as operations:
        trainer.train()
    assert len(operations.kernels) > 100
    return len(operations.waits)


def test_the_loop_waits_for_the_device_at_a_log_and_never_between(make_trainer):
    """From the loader over clipping and the optimizer to the callbacks."""

    def run(*, steps: int, logging_steps: int) -> int:
        never = {"eval_steps": 50, "load_best_model_at_end": False}
        config = make_config(max_steps=steps, logging_steps=logging_steps, **never)
        name = f"{steps}-{logging_steps}"
        return count_waits(
            make_trainer(run=name, config=config, train_dataset=make_rows(320), eval_dataset=False)
        )

    at_the_end = run(steps=2, logging_steps=50)
    assert run(steps=8, logging_steps=50) == at_the_end
    # Loss and gradient norm of the log, which come together.
    assert run(steps=8, logging_steps=4) == at_the_end + 2


def test_the_search_for_packed_documents_would_wait(base_folder):
    """What no_mask_arguments is for; once transformers no longer searches, it can go."""
    model, ids = load_lora(base_folder), torch.ones((2, 8), dtype=torch.long)
    with Operations() as operations:
        model(input_ids=ids, use_cache=False)
    assert operations.waits
    with Operations() as operations:
        model(input_ids=ids, use_cache=False, **no_mask_arguments(model))
    assert operations.waits == []


def test_a_window_of_attention_keeps_its_mask():
    sizes = {**TINY_SIZES, "vocab_size": 64, "pad_token_id": PAD}
    windowed = Qwen3Config(**sizes, use_sliding_window=True, sliding_window=4, max_window_layers=1)
    assert no_mask_arguments(Qwen3(windowed)) == {}
    assert no_mask_arguments(Qwen3(Qwen3Config(**sizes))) == {"attention_mask": {"full_attention": None}}


def test_other_decoders_are_scored_without_it(base_folder):
    sizes = {**TINY_SIZES, "vocab_size": 64, "pad_token_id": PAD}
    torch.manual_seed(0)
    model = LlamaForSequenceClassification(LlamaConfig(**sizes)).eval()
    rows = make_rows(9)["input_ids"][:]
    logits = predict_logits(model, rows, pad_token_id=PAD, batch_tokens=200)
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([row])).logits[0].numpy() for row in rows]
    # float32 sums over rows of other widths.
    np.testing.assert_allclose(logits, alone, rtol=1e-4, atol=1e-6)


def test_adapters_take_bfloat16_as_it_comes_and_learn_the_same(base_folder, make_trainer, monkeypatch):
    """PEFT would copy each input to float32, from which autocast takes the same bfloat16 back."""

    def train(run: str) -> tuple[list[float], set[torch.dtype], Any]:
        model, seen = load_lora(base_folder), set()
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad and "score" not in name:
                parameter.data = parameter.data.to(torch.bfloat16)
        inputs = [module for name, module in model.named_modules() if name.endswith("lora_A.default")]
        assert len(inputs) == 6
        for module in inputs:
            module.register_forward_pre_hook(lambda module, args: seen.add(args[0].dtype))
        trainer = make_trainer(run=run, config=make_config(max_steps=2, eval_steps=1), model=model)
        trainer.train()
        return (
            logged(trainer, "loss") + logged(trainer, "grad_norm") + logged(trainer, "eval_loss"),
            seen,
            model,
        )

    numbers, seen, model = train("ours")
    assert seen == {torch.bfloat16}
    assert all(getattr(module, "cast_input_dtype_enabled", True) for module in model.modules())
    for module in ("training.trainer", "modeling.predictor"):
        name = f"qwenkit.{module}.adapter_inputs_kept"
        monkeypatch.setattr(name, lambda model, is_wanted: nullcontext())
    as_peft_does, seen, _ = train("peft")
    assert seen == {torch.float32}
    assert numbers == as_peft_does


def test_a_dropout_is_given_float32_as_by_peft(base_folder):
    """In bfloat16 it would, on a CPU, round its scale of 1.053 to 1.055."""
    model, seen = load_lora(base_folder, dropout=0.05).to(torch.bfloat16).train(), set()
    for name, module in model.named_modules():
        if name.endswith("lora_dropout.default"):
            module.register_forward_pre_hook(lambda module, args: seen.add(args[0].dtype))
        if name.endswith(("lora_A.default", "lora_B.default")):
            module.float()
    with torch.autocast("cpu", torch.bfloat16), adapter_inputs_kept(model, is_wanted=True):
        model(input_ids=torch.ones((2, 8), dtype=torch.long), use_cache=False)
    assert seen == {torch.float32}


def count_kernels(layers: int) -> dict[str, int]:
    config = Qwen3Config(**{**TINY_SIZES, "num_hidden_layers": layers}, vocab_size=64, pad_token_id=PAD)
    config._attn_implementation = "sdpa"
    model = apply_adapter(Qwen3(config), Peft(lora_r=4, lora_dropout=0.0)).train()
    ids = torch.ones((2, 16), dtype=torch.long)
    with Operations() as forward:
        loss = model(input_ids=ids, use_cache=False, **no_mask_arguments(model)).logits.sum()
    with Operations() as backward:
        loss.backward()
    return {"forward": len(forward.kernels), "backward": len(backward.kernels)}


@pytest.mark.parametrize("direction", KERNELS)
def test_a_layer_launches_no_more_kernels_than_it_did(direction):
    """On a GPU small layers cost as many launches, not as many operations; fewer are welcome."""
    per_layer = count_kernels(4)[direction] - count_kernels(3)[direction]
    assert 20 < per_layer <= KERNELS[direction]
