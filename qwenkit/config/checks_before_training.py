"""What the config asks of the data, the model and the machine, checked before the first step.

Facts come in as plain values, so that nothing heavy is imported here and a test needs no GPU.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from qwenkit.config.checks import check_warmup
from qwenkit.config.problems import ConfigProblem, list_names, show_name
from qwenkit.config.schema import Config

# Their state is nothing but tensors of their parameters' shapes, and numbers.
SHARDED_OPTIMIZERS = ("adamw_torch_fused", "adamw_torch", "sgd")


@dataclass(frozen=True)
class Machine:
    """What the device can do.

    Attributes:
        name: As the user knows it: "cpu", "Tesla T4".
        has_bf16: It computes in bfloat16, if slowly.
        is_gpu: It is one that CUDA programs run on.
        has_quantization: bitsandbytes works on it.
        has_compiler: What torch.compile needs is there: a C++ compiler for a CPU; for a GPU triton,
            a C compiler and Python's headers.
        has_liger: Liger's kernels are installed.
    """

    name: str
    has_bf16: bool = True
    is_gpu: bool = False
    has_quantization: bool = True
    has_compiler: bool = True
    has_liger: bool = False


def check_before_training(
    config: Config,
    *,
    train_rows: int,
    model_max_length: int | None,
    module_names: Collection[str],
    machine: Machine,
) -> list[ConfigProblem]:
    """Find what the data, the model or the machine cannot give.

    Args:
        train_rows: Documents of the train split.
        model_max_length: Positions that the model was made for; None when it does not say.
        module_names: Dotted names of the model's linear and embedding layers.
    """
    return [
        *check_train_rows(config, train_rows),
        *_check_length(config, model_max_length),
        *_check_modules(config, module_names),
        *check_machine(config, machine),
    ]


def check_train_rows(config: Config, train_rows: int) -> Iterator[ConfigProblem]:
    """Find steps and warm-up that do not go with so many documents of the train split."""
    training = config.training
    documents_at_once = training.per_device_train_batch_size
    documents_per_step = documents_at_once * training.gradient_accumulation_steps
    if documents_per_step > train_rows:
        if documents_at_once <= train_rows:
            advice = f"set gradient_accumulation_steps to {train_rows // documents_at_once} or less"
        else:
            advice = f"set it to {train_rows} or less, and gradient_accumulation_steps to 1"
        found = f"a step takes {documents_per_step} documents, more than the {train_rows} of the train split"
        also = ("training.gradient_accumulation_steps",)
        yield ConfigProblem("training.per_device_train_batch_size", f"{found}; {advice}", also)
        return
    steps_per_epoch = math.ceil(train_rows / documents_per_step)
    if training.max_steps <= 0:
        yield from check_warmup(config, math.ceil(steps_per_epoch * training.num_train_epochs))


def check_machine(config: Config, machine: Machine) -> list[ConfigProblem]:
    """Find what the machine cannot give."""
    return [*_check_precision(config, machine), *_check_kernels(config, machine)]


def check_before_sharding(config: Config, *, has_own_base: bool, is_gpu: bool) -> list[ConfigProblem]:
    """Find what cannot be done where FSDP spreads weights, gradients and optimizer over GPUs.

    Args:
        has_own_base: The user put a model in, which is held as they did it.
        is_gpu: It is GPUs that they are spread over.
    """
    method, optimizer, problems = config.quantization.method, config.training.optim, []
    if method != "none" and not has_own_base:
        message = f"FSDP does not spread {method} weights over GPUs; set it to false (--quantization none)"
        problems.append(ConfigProblem("quantization.enabled", message))
    if optimizer not in SHARDED_OPTIMIZERS:
        message = f"FSDP does not spread the state of {optimizer} over GPUs; take adamw_torch_fused"
        problems.append(ConfigProblem("training.optim", message))
    if config.training.micro_batch_tokens == "auto" and is_gpu:
        message = "no GPU can try sizes alone under FSDP; set a number (`qwenkit plan` helps)"
        problems.append(ConfigProblem("training.micro_batch_tokens", message))
    return problems


def _check_length(config: Config, model_max_length: int | None) -> Iterator[ConfigProblem]:
    longest = config.tokenization.max_length
    if model_max_length is not None and longest > model_max_length:
        message = f"{longest} is more than the {model_max_length} positions of the model; lower it to that"
        yield ConfigProblem("tokenization.max_length", message)


def _check_modules(config: Config, module_names: Collection[str]) -> Iterator[ConfigProblem]:
    """Hold the targets against the model by PEFT's rule: whole parts at the end of a dotted name."""
    if not config.peft.enabled:
        return
    asked = {
        "peft.target_modules": config.peft.target_modules,
        "peft.modules_to_save": config.peft.modules_to_save,
    }
    for setting, targets in asked.items():
        missing = [
            each for each in targets if not any(f".{name}".endswith(f".{each}") for name in module_names)
        ]
        if missing:
            has = list_names(sorted({name.rpartition(".")[2] for name in module_names}))
            yield ConfigProblem(setting, f"the model has no {list_names(missing)}; it has {has}")


def _check_precision(config: Config, machine: Machine) -> Iterator[ConfigProblem]:
    device, quantization = show_name(machine.name), config.quantization
    if config.model.dtype == "bfloat16" and not machine.has_bf16:
        yield ConfigProblem("model.dtype", f"{device} does not compute in bfloat16; take auto or float32")
    if quantization.method != "none" and not machine.has_quantization:
        message = f"bitsandbytes does not work on {device}; set it to false (--quantization none)"
        yield ConfigProblem("quantization.enabled", message)
    is_4bit = quantization.method in ("nf4", "fp4")
    if is_4bit and quantization.bnb_4bit_compute_dtype == "bfloat16" and not machine.has_bf16:
        message = f"{device} does not compute in bfloat16; take float16"
        yield ConfigProblem("quantization.bnb_4bit_compute_dtype", message)


def _check_kernels(config: Config, machine: Machine) -> Iterator[ConfigProblem]:
    """Find switches for speed that this machine cannot turn."""
    device = show_name(machine.name)
    if config.training.compile and not machine.has_compiler:
        on_gpu = "triton, a C compiler or Python's headers (pip install triton; apt install gcc python3-dev)"
        needed = on_gpu if machine.is_gpu else "a C++ compiler (apt install g++)"
        yield ConfigProblem("training.compile", f"{device} lacks {needed}; install it or set this to false")
    if not config.training.liger:
        return
    if not machine.is_gpu:
        yield ConfigProblem("training.liger", f"its kernels need a GPU, {device} is none; set this to false")
    elif not machine.has_liger:
        message = "liger-kernel is not installed: pip install liger-kernel, or set this to false"
        yield ConfigProblem("training.liger", message)
