"""Models whose weights FSDP2 has spread over the ranks: put together for a file, and taken apart again.

Every rank calls these functions, since each holds a part. Files look as a lone process would have written
them, so any number of ranks, one included, can read them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from qwenkit.ranks import find_ranks


def is_sharded(model: Any) -> bool:
    """Tell whether a model's weights are spread over ranks, so that all must run each forward together."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def gather(value: Any) -> Any:
    """Put the parts of a tensor together, on every rank; what is not spread is returned as it is."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def spread(whole: torch.Tensor, *, like: torch.Tensor) -> torch.Tensor:
    """Take this rank's part of a tensor, laid out as another one is; the ranks exchange nothing."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor):
        return whole
    whole = whole.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def list_trained(model: Any) -> list[tuple[str, torch.Tensor]]:
    """List what this rank holds of the trained weights, by name; writing to it writes to them."""
    from torch.distributed.tensor import DTensor

    _let_go_of_gathered(model)
    trained = [(name, p.detach()) for name, p in model.named_parameters() if p.requires_grad]
    return [(name, each.to_local() if isinstance(each, DTensor) else each) for name, each in trained]


def gather_weights(model: Any) -> dict[str, torch.Tensor] | None:
    """Collect a sharded model's weights in the main rank's memory, for it to save.

    Of a model with an adapter only what is trained is collected: the base is not saved.

    Returns:
        Whole tensors on the CPU by name on the main rank, nothing on the others; None where the model is not
        sharded and can be saved as it is.
    """
    if not is_sharded(model):
        return None
    is_trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    has_adapter, is_main = hasattr(model, "peft_config"), find_ranks().is_main
    weights = {}
    for name, tensor in model.state_dict().items():
        if has_adapter and not is_trained.get(name, False):
            continue
        # One after the other: no device ever holds more than one tensor whole.
        whole = gather(tensor)
        if is_main:
            weights[name] = whole.detach().cpu()
    return weights


@torch.no_grad()
def load_weights(model: Any, folder: Path) -> None:
    """Read saved weights, an adapter's or all of them, into a sharded model in place."""
    _let_go_of_gathered(model)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    names = _name_saved(model)
    for name, whole in _read_tensors(folder):
        part = tensors[names.get(name, name)]
        part.copy_(spread(whole, like=part))


def _let_go_of_gathered(model: Any) -> None:
    """Make the parameters of a sharded model its ranks' parts again.

    After a forward pass without a backward one, some are still the whole tensors that were gathered for it:
    what is written to those is lost.
    """
    if not is_sharded(model):
        return
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _name_saved(model: Any) -> dict[str, str]:
    """Find the parameter behind each name in an adapter's file, by the function that names them there."""
    if not hasattr(model, "peft_config"):
        return {}
    from peft import get_peft_model_state_dict

    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    numbers = {name: torch.tensor(index) for index, name in enumerate(names)}
    found = get_peft_model_state_dict(model, state_dict=numbers, save_embedding_layers=False)
    return {saved: names[int(number)] for saved, number in found.items()}


def _read_tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a dict
                yield name, file.get_tensor(name)
