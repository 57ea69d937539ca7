"""What is trained of a model: LoRA beside frozen weights, or all of it. The score head is trained by each.

Whatever is trained is held in float32, since steps of 1e-4 vanish in bfloat16's eight bits; the forward runs
under autocast where the base is bfloat16.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import (
    LoraConfig,
    PeftConfig,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file, save_file
from torch import nn

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.modeling.classifier import folder_errors
from qwenkit.modeling.quantization import HEAD_NAME, is_quantized

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


class PeftSettings(Protocol):
    """What is read of the config's peft section."""

    enabled: bool
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    bias: Any
    target_modules: Any
    modules_to_save: Any
    use_rslora: bool
    use_dora: bool
    init_lora_weights: Any


class Adapter(Protocol):
    """One way of training a model."""

    kind: str

    def apply(self, model: Any, settings: Any, *, seed: int) -> Any:
        """Return the model with exactly the right weights trainable."""


class Lora:
    """Low-rank updates beside the chosen projections; everything else but the head is frozen."""

    kind = "adapter"

    def apply(self, model: Any, settings: PeftSettings, *, seed: int) -> Any:
        """Wrap the model with PEFT; the new weights are drawn from the seed."""
        _check_lora_settings(model, settings)
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=settings.lora_r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            bias=settings.bias,
            target_modules=list(settings.target_modules),
            modules_to_save=[name for name in settings.modules_to_save if name != HEAD_NAME],
            use_rslora=settings.use_rslora,
            use_dora=settings.use_dora,
            init_lora_weights=settings.init_lora_weights,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return attach_adapter(model, config)


class Full:
    """Every weight is trained; nothing is frozen, so nothing may be quantized."""

    kind = "full"

    def apply(self, model: Any, settings: Any, *, seed: int) -> Any:
        """Unfreeze the whole model; settings and seed decide nothing here."""
        if any(is_quantized(module) for module in model.modules()):
            raise ConfigError(
                "full fine-tuning cannot train quantized weights: set quantization.enabled=false, "
                "or peft.enabled=true for LoRA."
            )
        return model.to(torch.float32).requires_grad_(True)


ADAPTERS: dict[str, Adapter] = {"lora": Lora(), "full": Full()}


def apply_adapter(
    model: Any, settings: PeftSettings, *, gradient_checkpointing: bool = False, seed: int = 42
) -> Any:
    """Make a base model trainable as the peft section says.

    PEFT's own preparation for quantized models is not used: it switches gradient checkpointing on for
    everyone and copies embeddings and norms to float32, for half as much work again in each step.

    Args:
        model: From load_base_model; it is changed.
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
    """
    model.requires_grad_(False)
    if gradient_checkpointing:
        # transformers renames this function; the old name warns, older versions lack the new one.
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    return ADAPTERS["lora" if settings.enabled else "full"].apply(model, settings, seed=seed)


def attach_adapter(model: Any, config: PeftConfig) -> Any:
    """Wrap a model with PEFT and hold all that the adapter trains in float32."""
    with _quiet_peft():
        wrapped = get_peft_model(model, config)
    for parameter in wrapped.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return wrapped


def save_adapter(
    folder: Path,
    model: Any,
    *,
    base_name: str,
    revision: str | None,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write what PEFT reads, without its own model card, its look-ups on the hub and its pickle fallback.

    Args:
        weights: Of a sharded model, from gather_weights; None takes the model's own.
    """
    tensors = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if not any(f".{HEAD_NAME}." in name for name in tensors):
        raise AssertionError("the adapter does not hold the score head; was it made by apply_adapter?")
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = copy.deepcopy(model.peft_config["default"])
    config.base_model_name_or_path, config.revision = base_name, revision
    # PEFT adds every name that a head may have, once more at each load.
    config.modules_to_save = sorted(set(config.modules_to_save) - {"classifier"})
    # A set: in the order of its hashes the file would differ from run to run.
    config.target_modules = sorted(config.target_modules)
    config.inference_mode = True
    config.save_pretrained(folder)


def attach_saved_adapter(base: Any, folder: Path) -> Any:
    """Put a saved adapter and its score head onto a base model.

    Raises:
        ArtifactError: A tensor is missing, foreign, of another shape or not finite; nothing is left as drawn.
    """
    for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        if not (folder / name).is_file():
            raise ArtifactError(f"{folder} is no complete adapter: {name} is missing.")
    with folder_errors(folder):
        config = PeftConfig.from_pretrained(folder)
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        config.inference_mode = False
        # Which base it is was settled by its identity; PEFT would warn of another spelling.
        config.base_model_name_or_path = None
        model = attach_adapter(base, config)
    _check_tensors(folder, tensors, get_peft_model_state_dict(model, save_embedding_layers=False))
    set_peft_model_state_dict(model, tensors)
    return model


def count_trainable(model: nn.Module) -> tuple[int, int]:
    """Count weights as (trainable, total): a 4-bit one as one, a replaced original not at all."""
    trainable = total = 0
    for name, parameter in model.named_parameters():
        # PEFT keeps the original of each module that it trains whole; nothing computes with it any more.
        if ".original_module." in name:
            continue
        count = parameter.numel()
        if type(parameter).__name__ == "Params4bit":
            count *= 2 * parameter.element_size()
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


def _check_tensors(folder: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    for problem, names in (
        ("lacks", sorted(set(expected) - set(found))),
        ("has unknown", sorted(set(found) - set(expected))),
        (
            "has another shape for",
            sorted(name for name in found if name in expected and found[name].shape != expected[name].shape),
        ),
        (
            "has values that are not finite in",
            sorted(name for name, tensor in found.items() if not tensor.isfinite().all()),
        ),
    ):
        if names:
            raise ArtifactError(
                f"{folder / ADAPTER_WEIGHTS} {problem} {len(names)} tensors, e.g. {names[0]}."
            )


def _check_lora_settings(model: Any, settings: PeftSettings) -> None:
    modules = dict(model.named_modules())
    linear_names = {name for name, module in modules.items() if isinstance(module, nn.Linear)} - {HEAD_NAME}
    _check_names("target_modules", settings.target_modules, linear_names)
    trainable_names = {name for name, module in modules.items() if name and _can_be_trained_whole(module)}
    _check_names("modules_to_save", settings.modules_to_save, trainable_names)
    if settings.use_dora and model.device.type == "cpu" and getattr(model, "is_loaded_in_8bit", False):
        # PEFT moves the weights to read them, and bitsandbytes loses their scales over that.
        raise ConfigError("peft.use_dora does not work with int8 on a CPU: use nf4, or no quantization.")
    _check_biases(modules, settings)
    both = set(settings.target_modules) & set(settings.modules_to_save)
    if both:
        raise ConfigError(
            f"{sorted(both)[0]} stands in peft.target_modules and in peft.modules_to_save: "
            "leave it in one of them."
        )


def _check_biases(modules: dict[str, nn.Module], settings: PeftSettings) -> None:
    """Refuse to train biases that bitsandbytes would turn to bfloat16 at the first forward in it."""
    if settings.bias == "none":
        return
    names = {name for name, module in modules.items() if is_quantized(module) and module.bias is not None}
    if settings.bias == "lora_only":
        names = {name for name in names if _has_end(name, settings.target_modules)}
    if names:
        listed = ", ".join(sorted({name.rpartition(".")[2] for name in names}))
        raise ConfigError(
            f"peft.bias {settings.bias} trains the biases of quantized layers ({listed}), which bitsandbytes "
            "rounds to the precision of each forward: set it to none, or quantization.enabled to false."
        )


def _can_be_trained_whole(module: nn.Module) -> bool:
    return bool(list(module.parameters(recurse=False))) and not is_quantized(module)


def _check_names(setting: str, wanted: Sequence[str], available: set[str]) -> None:
    """Find each wanted name among the module names, whole or as their last parts, as PEFT does."""
    missing = [name for name in wanted if not any(_has_end(module, [name]) for module in available)]
    if missing:
        has = ", ".join(sorted({module.rpartition(".")[2] for module in available}))
        raise ConfigError(f"peft.{setting} names {', '.join(missing)}, which the model lacks; it has: {has}.")


def _has_end(module: str, names: Sequence[str]) -> bool:
    return any(f".{module}".endswith(f".{name}") for name in names)


@contextmanager
def _quiet_peft() -> Iterator[None]:
    """Hide that PEFT reads an attribute which transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
        )
        yield
