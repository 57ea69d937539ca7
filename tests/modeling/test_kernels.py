"""What a GPU computes with: chosen by what it can, and the libraries left as they were."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import Qwen3Config, Qwen3ForSequenceClassification
from transformers.integrations import sdpa_attention
from transformers.models.qwen3 import modeling_qwen3

from qwenkit.modeling import device
from qwenkit.modeling.base import resolve_dtype
from qwenkit.modeling.classifier import no_mask_arguments
from qwenkit.modeling.compiled import compile_layers
from qwenkit.modeling.kernels import fused_attention, library_module_kept, shares_keys, tf32_products


def make_model() -> Any:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 100}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    return Qwen3ForSequenceClassification(Qwen3Config(**sizes, **heads, pad_token_id=0))


def score(model: Any, documents: int, length: int) -> torch.Tensor:
    ids = torch.randint(1, 100, (documents, length), generator=torch.Generator().manual_seed(3))
    return model(input_ids=ids, use_cache=False, **no_mask_arguments(model)).logits


@pytest.mark.parametrize("error", [None, ValueError])
def test_the_choice_of_kernels_ends_with_what_it_is_made_for(error: type[Exception] | None) -> None:
    before = (torch.backends.cuda.cudnn_sdp_enabled(), sdpa_attention.use_gqa_in_sdpa)
    try:
        with fused_attention(), fused_attention():
            assert not torch.backends.cuda.cudnn_sdp_enabled()
            assert sdpa_attention.use_gqa_in_sdpa is shares_keys
            if error:
                raise error
    except ValueError:
        pass
    assert (torch.backends.cuda.cudnn_sdp_enabled(), sdpa_attention.use_gqa_in_sdpa) == before


def read_precisions() -> dict[str, str]:
    """What torch computes float32 products in, by all that tells it; the older one may refuse."""
    newer = {"all": torch.backends, "cuda": torch.backends.cuda.matmul, "cpu": torch.backends.mkldnn.matmul}
    found = {name: products.fp32_precision for name, products in newer.items()}
    try:
        found["older"] = torch.get_float32_matmul_precision()
    except RuntimeError:
        found["older"] = "contradicted"
    return found


def choose_by_older(precision: str) -> Callable[[], None]:
    return lambda: torch.set_float32_matmul_precision(precision)


def choose_by_newer(backend: Any, precision: str) -> Callable[[], None]:
    return lambda: setattr(backend, "fp32_precision", precision)


@pytest.fixture
def products_kept() -> Iterator[None]:
    yield
    torch.set_float32_matmul_precision("highest")
    for backend in (torch.backends, torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
        backend.fp32_precision = "none"


@pytest.mark.usefixtures("products_kept")
@pytest.mark.parametrize("error", [None, ValueError])
@pytest.mark.parametrize(
    "choose",
    [
        lambda: None,
        choose_by_older("high"),
        choose_by_older("medium"),
        choose_by_newer(torch.backends, "tf32"),
        choose_by_newer(torch.backends.cuda.matmul, "tf32"),
        choose_by_newer(torch.backends.cuda.matmul, "ieee"),
    ],
    ids=["none", "older high", "older medium", "all", "cuda tf32", "cuda ieee"],
)
def test_rounded_products_end_with_what_they_are_made_for(
    choose: Callable[[], None], error: type[Exception] | None
) -> None:
    choose()
    before = read_precisions()
    for _ in range(2):
        with suppress(ValueError), tf32_products(is_wanted=True), tf32_products(is_wanted=True):
            inside = read_precisions()
            if error:
                raise error
        assert (inside["cuda"], inside["older"]) == ("tf32", "high")
        assert read_precisions() == before
    with tf32_products(is_wanted=False):
        assert read_precisions() == before


def test_keys_are_repeated_in_float32_on_a_gpu_alone() -> None:
    with FakeTensorMode():
        on_gpu, on_cpu = (torch.empty(2, 4, 8, 16, device=where) for where in ("cuda", "cpu"))
        assert not shares_keys(None, on_gpu, on_gpu)
        assert shares_keys(None, on_gpu.bfloat16(), on_gpu.bfloat16())
        assert shares_keys(None, on_cpu, on_cpu)
        # A mask rules it out, as ever.
        assert not shares_keys(on_cpu, on_cpu, on_cpu)


def test_repeated_keys_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model().eval()
    shared = score(model, 3, 24)
    monkeypatch.setattr(sdpa_attention, "use_gqa_in_sdpa", lambda *tensors: False)
    torch.testing.assert_close(score(model, 3, 24), shared, rtol=1e-5, atol=1e-6)


def test_compiled_layers_are_not_compiled_anew_each_time_kernels_are_chosen() -> None:
    graphs = []
    model = make_model()
    compile_layers(model, backend=lambda graph, example: graphs.append(1) or graph.forward)
    counts = []
    for _ in range(3):
        with fused_attention():
            for documents, length in ((2, 16), (3, 24), (5, 8)):
                score(model, documents, length).sum().backward()
        counts.append(len(graphs))
    assert 0 < counts[0] == counts[-1]


def test_what_a_kernel_library_puts_into_transformers_is_taken_out_again() -> None:
    norm = modeling_qwen3.Qwen3RMSNorm
    with pytest.raises(ValueError, match="stop"), library_module_kept(make_model()):
        modeling_qwen3.Qwen3RMSNorm = object
        raise ValueError("stop")
    assert modeling_qwen3.Qwen3RMSNorm is norm


class OwnModel(Qwen3ForSequenceClassification):
    """Of a user, in their script."""


STEPS_SEEN = 0


def test_a_users_own_names_are_left_alone() -> None:
    global STEPS_SEEN
    with library_module_kept(OwnModel(make_model().config)):
        STEPS_SEEN = 7
    assert STEPS_SEEN == 7


@pytest.fixture
def emulating_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that computes in bfloat16 by emulation only, such as a T4."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: including_emulation)


@pytest.mark.usefixtures("emulating_gpu")
def test_emulated_bfloat16_is_not_taken() -> None:
    from qwenkit.training.build import _computes_in_bf16

    assert not device.describe_machine().has_bf16
    assert resolve_dtype("auto", "cuda") == "float32"
    assert not _computes_in_bf16(torch.nn.Linear(2, 2), is_wanted=True, has_gpu=True)


@pytest.mark.usefixtures("emulating_gpu")
@pytest.mark.parametrize(("programs", "has_compiler"), [(("clang",), True), (("gcc",), True), ((), False)])
def test_the_compiler_of_a_gpu_needs_one_for_c(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, programs: tuple[str, ...], has_compiler: bool
) -> None:
    monkeypatch.setattr(device, "which", lambda name: name if name in programs else None)
    monkeypatch.setattr(device, "find_spec", lambda name: name)
    monkeypatch.setattr(device.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert not device.describe_machine().has_compiler
    (tmp_path / "Python.h").touch()
    assert device.describe_machine().has_compiler == has_compiler
