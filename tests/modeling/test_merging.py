"""An adapter merged for a long pass: the same logits, and afterwards the same model to the last bit."""

from typing import Any

import numpy as np
import pytest
import torch

from qwenkit.config.schema_model import Peft
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.merging import merged_where_exact
from qwenkit.modeling.predictor import predict_logits
from tests.modeling.tiny_models import load_tiny, make_tokenizer

ROWS = [[*range(5, 6 + length % 23)] for length in range(120)]
PAD = make_tokenizer().pad_token_id


def adapt(method: str = "none", *, scale: float = 0.05, **options: Any) -> Any:
    """A LoRA model whose adapter does something."""
    peft = Peft(lora_r=4, lora_dropout=0.0, **options.pop("peft", {}))
    model = apply_adapter(load_tiny(method, **options), peft, seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=scale)
    return model


def state_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def score(model: Any, *, batch_tokens: int = 24) -> np.ndarray:
    return predict_logits(model, ROWS, pad_token_id=PAD, batch_tokens=batch_tokens)


def count_adapter_calls(model: Any) -> list[str]:
    calls: list[str] = []
    for name, module in model.named_modules():
        if name.endswith("lora_A.default"):
            module.register_forward_hook(lambda *args, name=name: calls.append(name))
    return calls


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_long_pass_is_scored_merged_and_leaves_every_bit(dtype: str) -> None:
    # In bfloat16 the adapter must be small for the sum to keep it; the trial decides.
    model = adapt(dtype=dtype, scale=0.05 if dtype == "float32" else 0.002)
    before, expected = state_of(model), score(model, batch_tokens=2400)
    calls = count_adapter_calls(model)
    found = score(model)
    # 14 adapters ran for the trial and for no batch of the pass.
    assert len(calls) == 14
    # In bfloat16: what the trial lets pass, and as much for batches of another size.
    np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 0.06)
    after = model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert score(model, batch_tokens=2400).tolist() == expected.tolist()
    assert len(calls) > 14


@pytest.mark.parametrize(
    ("method", "peft"), [("nf4", {}), ("int8", {}), ("none", {"use_dora": True})], ids=["nf4", "int8", "dora"]
)
def test_what_would_be_rounded_anew_is_not_merged(method: str, peft: dict[str, Any]) -> None:
    with merged_where_exact(adapt(method, peft=peft), lambda: np.zeros(1), tolerance=1.0) as is_merged:
        assert not is_merged


def test_a_merge_that_changes_the_scores_is_taken_back() -> None:
    model, answers = adapt(), iter([np.zeros(3), np.full(3, 0.2)])
    before = state_of(model)
    with merged_where_exact(model, lambda: next(answers), tolerance=0.1) as is_merged:
        assert not is_merged
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_an_error_in_the_pass_leaves_the_model_as_it_was() -> None:
    model = adapt()
    before = state_of(model)
    with (
        pytest.raises(KeyboardInterrupt),
        merged_where_exact(model, lambda: np.zeros(1), tolerance=1.0) as is_merged,
    ):
        assert is_merged
        raise KeyboardInterrupt
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    assert not any(getattr(module, "merged", False) for module in model.modules())
