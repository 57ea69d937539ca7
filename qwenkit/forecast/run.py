"""Puts the parts together: what training with a config will compute, hold in memory, write and last."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from qwenkit.config import Config
from qwenkit.forecast.base import find_shape
from qwenkit.forecast.rates import Rate, find_measured_rate
from qwenkit.forecast.rows import RowFacts, find_row_facts
from qwenkit.modeling.cost import Training, count_adapter, count_flops, count_parameters, count_trainable
from qwenkit.modeling.memory import Storage, count_checkpoint_bytes, estimate_memory
from qwenkit.runs import Workspace
from qwenkit.training.schedule import (
    CPU_MICRO_BATCH_TOKENS,
    FREE_MEMORY_SHARE,
    choose_eval_and_save_steps,
    count_steps,
    documents_per_step,
)

Device = Literal["auto", "cpu", "gpu"]
# Mean length of a document, as a share of max_length, where nothing is known of the data.
UNKNOWN_LENGTH_SHARE = 0.75
# What a GPU that is not at hand is taken to have, where the plan depends on it.
USUAL_GPU_BYTES = 24 * 2**30


@dataclass(frozen=True)
class Steps:
    """The course of training. `evaluations` are those until its last step; early stopping may spare some."""

    documents_per_step: int
    per_epoch: int
    total: int
    warmup: int
    evaluations: int
    checkpoints: int


@dataclass(frozen=True)
class Seconds:
    """How long it takes."""

    training: float
    evaluation: float

    @property
    def total(self) -> float:
        """Both together."""
        return self.training + self.evaluation


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes:
        parameters: Of the classifier and its adapter, by part.
        mean_tokens: Length of the documents that the next line is for.
        flops_per_token: "forward" and "step".
        rows, steps, seconds: None where the data, or the rate, is not known.
        memory: Peak of a step on the device by part, in bytes.
        micro_batch_tokens: Of the largest micro-batch, padding included.
        device: As the user knows it.
        device_bytes: Its memory; None where it is not at hand.
    """

    model: str
    parameters: Mapping[str, int]
    trainable: int
    mean_tokens: float
    flops_per_token: Mapping[str, float]
    rows: RowFacts | None
    steps: Steps | None
    memory: Mapping[str, float]
    micro_batch_tokens: int
    device: str
    device_bytes: int | None
    checkpoint_bytes: int
    rate: Rate | None
    seconds: Seconds | None

    def to_json(self) -> dict[str, Any]:
        """Give plain values, with the sums that a reader would make."""
        sums = {
            "parameters_total": sum(self.parameters.values()),
            "memory_total": sum(self.memory.values()),
            "tokens_per_epoch": self.rows.tokens["train"] if self.rows else None,
            "seconds_total": self.seconds.total if self.seconds else None,
        }
        return {**asdict(self), **sums}


def forecast_run(
    config: Config, *, tokens_per_second: float | None = None, device: Device = "auto"
) -> Forecast:
    """Work out what training with this config will take, without loading model or data.

    Args:
        tokens_per_second: Speed of training; None takes what a like run under the root measured.
        device: "auto" is this machine's; "gpu" one with bfloat16, wherever this runs.
    """
    target, workspace = _find_target(device), Workspace(Path(config.paths.root))
    shape, training = find_shape(config), _read_training(config)
    storage = _choose_storage(config, target)
    rows = _find_rows(config, workspace)
    steps = _plan_steps(config, rows.rows) if rows else None
    length = rows.mean_tokens("train") if rows else UNKNOWN_LENGTH_SHARE * config.tokenization.max_length
    flops = count_flops(shape, training, length=length)
    rate = Rate(tokens_per_second, "as given") if tokens_per_second else None
    rate = rate or find_measured_rate(workspace, config, is_like=target.is_like)
    optimizer = config.training.optim
    memory = partial(estimate_memory, shape, training, storage, optimizer=optimizer)
    most = _count_affordable_tokens(target, memory) if config.training.micro_batch_tokens == "auto" else None
    tokens = _count_micro_batch_tokens(config, rows, most)
    return Forecast(
        model=config.model.name,
        parameters={**count_parameters(shape), "adapter": count_adapter(shape, training)},
        trainable=count_trainable(shape, training),
        mean_tokens=length,
        flops_per_token=flops,
        rows=rows,
        steps=steps,
        memory=memory(tokens=tokens),
        micro_batch_tokens=tokens,
        device=target.name,
        device_bytes=target.bytes,
        checkpoint_bytes=count_checkpoint_bytes(shape, training, optimizer=optimizer),
        rate=rate,
        seconds=_count_seconds(config, rows, steps, rate, flops) if rows and steps and rate else None,
    )


@dataclass(frozen=True)
class _Target:
    """The device that a forecast is for; `bytes` is None where it is not at hand."""

    name: str
    is_gpu: bool
    has_bf16: bool
    bytes: int | None

    def is_like(self, device: str) -> bool:
        """Tell whether a speed that a device reached holds here: of any GPU, for one that is not at hand."""
        return device == self.name if self.bytes is not None else (device != "cpu") == self.is_gpu


def _find_target(device: Device) -> _Target:
    from qwenkit.modeling.device import describe_machine, find_device_bytes

    machine = describe_machine()
    if device == "auto" or (device == "gpu") == machine.is_gpu:
        return _Target(machine.name, machine.is_gpu, machine.has_bf16, find_device_bytes())
    return _Target(f"{device} (not at hand)", device == "gpu", True, None)


def _find_rows(config: Config, workspace: Workspace) -> RowFacts | None:
    settings = config.tokenization
    return find_row_facts(
        workspace, config.dataset.name, max_length=settings.max_length, truncation=settings.truncation
    )


def _read_training(config: Config) -> Training:
    peft = config.peft
    return Training(
        lora_r=peft.lora_r if peft.enabled else None,
        target_modules=peft.target_modules,
        modules_to_save=peft.modules_to_save,
        use_dora=peft.use_dora,
        checkpointing=config.training.gradient_checkpointing,
    )


def _choose_storage(config: Config, target: _Target) -> Storage:
    """Follow the rules by which the base is loaded and autocast is switched on."""
    is_fast = target.is_gpu and target.has_bf16
    has_bf16_weights = config.model.dtype == "bfloat16" or (config.model.dtype == "auto" and is_fast)
    return Storage(
        method=config.quantization.method,
        double_quant=config.quantization.bnb_4bit_use_double_quant,
        weights=2 if has_bf16_weights else 4,
        computes_in_bf16=has_bf16_weights or (config.training.bf16 and is_fast),
        lora_dropout=config.peft.enabled and config.peft.lora_dropout > 0,
        on_gpu=target.is_gpu,
    )


def _plan_steps(config: Config, rows: Mapping[str, int]) -> Steps:
    settings = config.training
    documents = documents_per_step(config)
    per_epoch = count_steps(rows["train"], documents)
    total = settings.max_steps if settings.max_steps > 0 else math.ceil(per_epoch * settings.num_train_epochs)
    eval_steps, save_steps = choose_eval_and_save_steps(
        per_epoch, eval_steps=settings.eval_steps, save_steps=settings.save_steps
    )
    return Steps(
        documents_per_step=documents,
        per_epoch=per_epoch,
        total=total,
        warmup=math.ceil(total * settings.warmup_ratio),
        # The last step is followed by both, wherever it falls.
        evaluations=math.ceil(total / eval_steps),
        checkpoints=math.ceil(total / save_steps),
    )


def _count_affordable_tokens(target: _Target, memory: Callable[..., Mapping[str, float]]) -> int:
    """Estimate what the probe of training.micro_batch_tokens: auto will find."""
    if not target.is_gpu:
        return CPU_MICRO_BATCH_TOKENS
    fixed = sum(memory(tokens=0).values())
    each = sum(memory(tokens=1).values()) - fixed
    available = (target.bytes or USUAL_GPU_BYTES) * (1 - FREE_MEMORY_SHARE) - fixed
    return max(1, int(available / each))


def _count_micro_batch_tokens(config: Config, rows: RowFacts | None, most: int | None) -> int:
    """Count the tokens of the largest micro-batch: of the longest documents, since steps are sorted.

    Args:
        most: What auto will find; None where it is not asked for.
    """
    settings, multiple = config.training, config.tokenization.pad_to_multiple_of or 1
    longest = rows.longest if rows else config.tokenization.max_length
    padded = -(-longest // multiple) * multiple
    share = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    documents = settings.per_device_train_batch_size
    budget = most or settings.micro_batch_tokens
    if isinstance(budget, int):
        documents = min(max(1, budget // padded), share)
    return documents * padded


def _count_seconds(
    config: Config, rows: RowFacts, steps: Steps, rate: Rate, flops: Mapping[str, float]
) -> Seconds:
    """Divide tokens by the rate; a token that is only scored costs a forward pass instead of a step."""
    evaluation, samples = config.evaluation, config.training.eval_samples
    scored = min(samples or rows.rows["validation"], rows.rows["validation"]) * steps.evaluations
    tokens = scored * rows.mean_tokens("validation") + rows.tokens["validation"]
    if evaluation.run_pre_training_eval:
        before = min(evaluation.pre_training_eval_samples, rows.rows["test"])
        tokens += before * rows.mean_tokens("test")
    if evaluation.run_post_training_eval:
        tokens += rows.tokens["test"]
    trained = rows.tokens["train"] * steps.total / steps.per_epoch
    return Seconds(
        training=trained / rate.tokens_per_second,
        evaluation=tokens * flops["forward"] / flops["step"] / rate.tokens_per_second,
    )
