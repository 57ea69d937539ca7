"""What training needs where FSDP2 spreads weights, gradients and optimizer over the ranks.

The Trainer's and accelerate's own ways of saving go by other files, which only as many ranks could read.
"""

from pathlib import Path
from typing import Any

import torch

from qwenkit.errors import ConfigError
from qwenkit.modeling.sharding import gather, spread
from qwenkit.ranks import find_ranks


def prepare_plugin(plugin: Any, model: Any, *, computes_in_bf16: bool) -> None:
    """Settle how accelerate will spread a model, before it does.

    Args:
        plugin: accelerate's, made of what the launcher asked for.

    Raises:
        ConfigError: It names a class of layers that the model does not have.
    """
    found = {type(module).__name__ for module in model.modules()}
    wanted = plugin.transformer_cls_names_to_wrap or []
    if missing := [name for name in wanted if name not in found]:
        raise ConfigError(
            f"the launcher wants to spread layers of the class {missing[0]}; the model has none: leave "
            "fsdp_transformer_layer_cls_to_wrap out of the launcher's file, and the model's own are taken."
        )
    plugin.mixed_precision_policy = choose_precision(model, computes_in_bf16=computes_in_bf16)


def choose_precision(model: Any, *, computes_in_bf16: bool) -> Any:
    """Choose what FSDP2 gathers weights in, and adds gradients up in; accelerate would add up in bfloat16.

    Where all weights are trained, and so held in float32, they are gathered in bfloat16: autocast's copies
    of them would be kept for the backward pass, those of all layers at once. Beside a frozen base they are
    gathered as they are, and autocast computes what it does on one device.

    Returns:
        A MixedPrecisionPolicy, or None to gather and add up as things are.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy

    trains_all = all(parameter.requires_grad for parameter in model.parameters())
    if not (computes_in_bf16 and trains_all):
        return None
    return MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)


def gather_optimizer(optimizer: Any) -> dict[str, Any]:
    """Collect an optimizer's state on the main rank, as its state_dict would be in a lone process."""
    state = optimizer.state_dict()
    is_main = find_ranks().is_main
    states = {}
    for index, values in state["state"].items():
        whole = {key: gather(value) for key, value in values.items()}
        if is_main:
            states[index] = {
                key: value.cpu() if isinstance(value, torch.Tensor) else value for key, value in whole.items()
            }
    return {**state, "state": states}


def load_optimizer(optimizer: Any, path: Path) -> None:
    """Read an optimizer's state, as a lone process writes it, into one whose parameters are sharded."""
    # Mapped, not read: each rank takes its part of one tensor after the other.
    state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state["state"] = {
        index: {
            # Moments have their parameter's shape; the number of steps has none.
            key: spread(value, like=parameters[index])
            if getattr(value, "shape", None) == parameters[index].shape
            else value
            for key, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict(state)
