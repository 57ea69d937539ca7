"""Sharded models on one rank, where a rank's part is the whole: what is gathered, read back, written to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin
from torch import distributed
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from qwenkit.errors import ConfigError, ResourceError
from qwenkit.modeling.predictor import predict_logits
from qwenkit.modeling.sharding import gather_weights, is_sharded, list_trained, load_weights
from qwenkit.training.checkpoints import save_weights
from qwenkit.training.sharding import choose_precision, prepare_plugin
from tests.training.tiny_training import PAD, load_base, load_lora, save_base

IDS = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_base(folder)
    return folder


@pytest.fixture
def _group() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def load(folder: Path, kind: str) -> torch.nn.Module:
    return load_lora(folder) if kind == "adapter" else load_base(folder).requires_grad_(True)


def shard(model: torch.nn.Module, **options: Any) -> torch.nn.Module:
    for module in model.modules():
        if type(module).__name__ == "Qwen3DecoderLayer":
            fully_shard(module, **options)
    return fully_shard(model, **options)


def score(model: torch.nn.Module) -> torch.Tensor:
    return torch.from_numpy(predict_logits(model, IDS, pad_token_id=PAD, batch_tokens=64))


def test_a_model_is_sharded_only_where_fsdp_has_spread_it(base_folder: Path) -> None:
    assert not is_sharded(load_lora(base_folder))
    assert gather_weights(load_lora(base_folder)) is None


@pytest.mark.usefixtures("_group")
@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_gathered_weights_are_saved_as_those_of_a_whole_model(
    base_folder: Path, tmp_path: Path, kind: str
) -> None:
    whole, sharded = load(base_folder, kind), shard(load(base_folder, kind))
    assert is_sharded(sharded) and not is_sharded(whole)
    for name, model in (("whole", whole), ("sharded", sharded)):
        (tmp_path / name).mkdir()
        save_weights(model, tmp_path / name, weights=gather_weights(model))
    saved = [
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("whole", "sharded")
    ]
    assert saved[0] == saved[1]


@pytest.mark.usefixtures("_group")
@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_saved_weights_are_read_back_even_right_after_a_forward(
    base_folder: Path, tmp_path: Path, kind: str
) -> None:
    """Then some parameters still are the gathered tensors, and what is written to those is lost."""
    model = shard(load(base_folder, kind))
    before = score(model)
    save_weights(model, tmp_path, weights=gather_weights(model))
    for _, part in list_trained(model):
        part.add_(0.5)
    assert not torch.allclose(score(model), before, atol=1e-2)
    assert any(not isinstance(parameter, DTensor) for parameter in model.parameters())
    load_weights(model, tmp_path)
    torch.testing.assert_close(score(model), before, rtol=0, atol=0)


@pytest.mark.usefixtures("_group")
def test_a_model_is_trained_on_after_its_first_forward_was_a_prediction(base_folder: Path) -> None:
    model = shard(load(base_folder, "full"))
    score(model)
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients and all(bool(gradient.full_tensor().isfinite().all()) for gradient in gradients)


def list_kept_weights(model: torch.nn.Module, **options: Any) -> list[torch.Tensor]:
    """List what a sharded forward keeps for the backward pass and is a matrix of a layer, or its copy."""
    sizes = {p.numel() for name, p in model.named_parameters() if "layers." in name and p.dim() == 2}
    model, kept = shard(model, **options), list[torch.Tensor]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    # Twelve by seven tokens: no activation has as many numbers as a matrix.
    input_ids = torch.ones((12, 7), dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu"):
        model(input_ids=input_ids, use_cache=False)
    assert kept
    # The storage of a gathered weight is empty again.
    return [each for each in kept if each.numel() in sizes and each.untyped_storage().nbytes()]


@pytest.mark.usefixtures("_group")
def test_no_layer_keeps_a_copy_of_its_weights_for_the_backward_pass(base_folder: Path) -> None:
    """As autocast does it: every device would then hold the whole model in bfloat16 at once."""
    assert len(list_kept_weights(load(base_folder, "full"))) == 14
    model = load(base_folder, "full")
    policy = choose_precision(model, computes_in_bf16=True)
    assert list_kept_weights(model, mp_policy=policy) == []


def test_weights_beside_a_frozen_base_are_gathered_as_they_are(base_folder: Path) -> None:
    assert choose_precision(load_lora(base_folder), computes_in_bf16=True) is None
    assert choose_precision(load(base_folder, "full"), computes_in_bf16=False) is None


def test_a_launcher_that_names_layers_of_another_model_is_told_how_to_mend_it(base_folder: Path) -> None:
    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="TRANSFORMER_BASED_WRAP",
        transformer_cls_names_to_wrap=["LlamaDecoderLayer"],
    )
    with pytest.raises(ConfigError, match="leave fsdp_transformer_layer_cls_to_wrap out of the launcher"):
        prepare_plugin(plugin, load_lora(base_folder), computes_in_bf16=False)


@pytest.mark.usefixtures("_group")
def test_a_batch_that_does_not_fit_is_not_halved_where_other_ranks_wait(base_folder: Path) -> None:
    model, batches = shard(load_lora(base_folder)), list[tuple[int, ...]]()

    def run_out(module: Any, args: Any, kwargs: dict[str, torch.Tensor]) -> None:
        batches.append(tuple(kwargs["input_ids"].shape))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_pre_hook(run_out, with_kwargs=True)
    with pytest.raises(ResourceError, match=r"3 documents of 8 tokens .*lower evaluation\.batch_tokens"):
        score(model)
    assert batches == [(3, 8)]
