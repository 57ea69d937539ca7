"""The account of memory against what autograd keeps and against the peak of torch's allocator, on a CPU."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, Qwen3Config

from qwenkit.config.schema_model import Peft
from qwenkit.config.schema_training import Training as TrainingSettings
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.cost import ModelShape, Training, read_shape
from qwenkit.modeling.memory import (
    OPTIMIZER_BYTES,
    Storage,
    count_activation_bytes,
    count_layer_bytes,
    count_linear_bytes,
    estimate_memory,
)
from qwenkit.modeling.precision import adapter_inputs_kept

DOCUMENTS, LENGTH = 8, 96
TOKENS = DOCUMENTS * LENGTH
RANK = 4


@dataclass(frozen=True)
class Case:
    """One way of training a small model."""

    bf16: bool = False
    dropout: float = 0.0
    checkpointing: bool = False
    full: bool = False
    float32_base: bool = False
    targets: tuple[str, ...] = tuple(Peft().target_modules)
    hidden_size: int = 96

    def __str__(self) -> str:
        """Say what is not usual about it."""
        usual = Case()
        unusual = [f"{name}={value}" for name, value in vars(self).items() if value != getattr(usual, name)]
        return " ".join(unusual) or "usual"

    def build(self, *, layers: int = 4) -> Any:
        """Make the model, in bfloat16 where it computes so; full fine-tuning holds float32."""
        config = Qwen3Config(
            vocab_size=64,
            hidden_size=self.hidden_size,
            intermediate_size=320,
            num_hidden_layers=layers,
            num_attention_heads=6,
            num_key_value_heads=3,
            head_dim=32,
            pad_token_id=0,
            num_labels=2,
            use_cache=False,
        )
        config._attn_implementation = "sdpa"
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config)
        if self.storage.weights == 2:
            model = model.to(torch.bfloat16)
        peft = Peft(
            enabled=not self.full, lora_r=RANK, lora_dropout=self.dropout, target_modules=list(self.targets)
        )
        return apply_adapter(model, peft, gradient_checkpointing=self.checkpointing).train()

    def forward(self, model: Any) -> torch.Tensor:
        """Score documents of equal length."""
        ids = torch.ones((DOCUMENTS, LENGTH), dtype=torch.long)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
            logits = model(input_ids=ids, attention_mask={"full_attention": None}, use_cache=False).logits
        return logits.float().sum()

    @property
    def training(self) -> Training:
        return Training(
            lora_r=None if self.full else RANK, target_modules=self.targets, checkpointing=self.checkpointing
        )

    @property
    def storage(self) -> Storage:
        return Storage(
            weights=2 if self.bf16 and not (self.full or self.float32_base) else 4,
            computes_in_bf16=self.bf16,
            lora_dropout=self.dropout > 0,
        )


CASES = [
    Case(),
    Case(hidden_size=160),
    Case(dropout=0.05),
    Case(bf16=True),
    Case(bf16=True, dropout=0.05),
    Case(bf16=True, float32_base=True),
    Case(bf16=True, targets=("q_proj", "v_proj")),
    Case(targets=("q_proj", "v_proj")),
    Case(full=True),
    Case(full=True, bf16=True),
]
CHECKPOINTED = [Case(checkpointing=True), Case(checkpointing=True, bf16=True)]


def shape_of(model: Any) -> ModelShape:
    return read_shape(model.config, num_labels=2)


def count_kept_bytes(case: Case, model: Any) -> int:
    """Add up the memory that autograd keeps for the backward pass, weights and their casts left out."""
    kept: dict[int, torch.UntypedStorage] = {}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    # A cast weight is kept as well, but has nothing to do with the tokens.
    shapes = {weight.shape for weight in model.parameters() if weight.dim() == 2}
    shapes |= {weight.T.shape for weight in model.parameters() if weight.dim() == 2}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.shape not in shapes:
            kept[storage.data_ptr()] = storage
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with adapter_inputs_kept(model, is_wanted=case.bf16), hooks:
        case.forward(model)
    return sum(storage.nbytes() for storage in kept.values())


def measure_peak(case: Case, model: Any) -> int:
    """Follow each allocation of a micro-batch in torch's CPU allocator, and give the highest sum in bytes."""
    from torch.profiler import ProfilerActivity, profile

    with adapter_inputs_kept(model, is_wanted=case.bf16):
        # After the first micro-batch of a step the gradients are there.
        case.forward(model).backward()
        # Without acc_events torch 2.11 warns that only one cycle is reported; there is one.
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
            case.forward(model).backward()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    assert peak > 0
    return peak


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_layer_keeps_what_is_foreseen(case: Case) -> None:
    fewer, more = case.build(layers=3), case.build(layers=5)
    kept = (count_kept_bytes(case, more) - count_kept_bytes(case, fewer)) / 2
    assert kept == pytest.approx(
        TOKENS * count_layer_bytes(shape_of(more), case.training, case.storage), rel=0.005
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_all_layers_keep_what_is_foreseen(case: Case) -> None:
    model = case.build(layers=8)
    predicted = TOKENS * count_activation_bytes(shape_of(model), case.training, case.storage)
    # The first layer keeps less than the others, e.g. no dropout masks: its inputs need no gradient.
    assert count_kept_bytes(case, model) == pytest.approx(predicted, rel=0.02)


@pytest.mark.parametrize("case", CASES + CHECKPOINTED, ids=str)
def test_peak_of_a_step_is_foreseen(case: Case) -> None:
    model = case.build()
    parts = estimate_memory(
        shape_of(model), case.training, case.storage, tokens=TOKENS, optimizer="adamw_torch"
    )
    # Weights and gradients were there before, the optimizer comes after.
    rising = ("bfloat16 copies", "activations", "working memory")
    assert measure_peak(case, model) == pytest.approx(sum(parts[name] for name in rising), rel=0.1)


def test_weights_take_the_bytes_that_are_foreseen() -> None:
    model = Case(bf16=True).build()
    parts = estimate_memory(
        shape_of(model), Case().training, Storage(weights=2), tokens=0, optimizer="adamw_torch"
    )
    held = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    # The original of the head is held in bfloat16.
    assert parts["base weights"] + parts["trained weights"] == pytest.approx(held, abs=96 * 2 * 2)


def test_4_bit_weights_take_the_bytes_that_are_foreseen() -> None:
    from bitsandbytes.functional import quantize_4bit

    weight = torch.randn(1024, 1024)
    for double_quant in (True, False):
        packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=double_quant)
        scales = [state.absmax, *([state.state2.absmax] if double_quant else [])]
        held = packed.nbytes + sum(scale.nbytes for scale in scales)
        storage = Storage(method="nf4", double_quant=double_quant)
        assert held == pytest.approx(weight.numel() * count_linear_bytes(storage), rel=1e-3)


@pytest.mark.filterwarnings("ignore:.*[Pp]aged:UserWarning")
@pytest.mark.parametrize("name", [name for name in OPTIMIZER_BYTES if name != "adafactor"])
def test_optimizer_state_takes_the_bytes_that_are_foreseen(name: str) -> None:
    from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit, PagedAdamW32bit

    kinds: dict[str, Any] = {
        "adamw_torch_fused": partial(torch.optim.AdamW, fused=True),
        "adamw_torch": torch.optim.AdamW,
        "adamw_8bit": AdamW8bit,
        "paged_adamw_8bit": PagedAdamW8bit,
        "paged_adamw_32bit": PagedAdamW32bit,
        "sgd": torch.optim.SGD,
    }
    weight = torch.nn.Parameter(torch.zeros(512, 512))
    optimizer = kinds[name]([weight], lr=1e-3)
    weight.sum().backward()
    optimizer.step()
    state = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.dim()]
    # 8 bits come with a scale for each block of 256.
    held = sum(value.nbytes for value in state)
    assert held == pytest.approx(weight.numel() * OPTIMIZER_BYTES[name], rel=0.02)


def test_every_optimizer_of_the_schema_has_its_bytes() -> None:
    choices = TrainingSettings.model_fields["optim"].annotation.__args__  # type: ignore[union-attr]
    assert set(choices) == set(OPTIMIZER_BYTES)
