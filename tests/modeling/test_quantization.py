"""What is quantized, what never is, and that training still reaches every adapter."""

import sys

import numpy as np
import pytest
import torch
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from torch import nn

from qwenkit.config.schema_model import Peft, Quantization
from qwenkit.errors import ResourceError
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.predictor import predict_logits
from qwenkit.modeling.quantization import dequantize, record_quantization
from tests.modeling.tiny_models import METHODS, load_tiny, make_documents, make_tokenizer, pad

PROJECTIONS = 2 * 7
QUANTIZED = {
    "nf4": (METHODS["nf4"], Linear4bit),
    "fp4": (Quantization(bnb_4bit_quant_type="fp4"), Linear4bit),
    "int8": (METHODS["int8"], Linear8bitLt),
}


def score(model, documents):
    return predict_logits(model, documents, pad_token_id=make_tokenizer().pad_token_id, batch_tokens=256)


def compute_gradients(model):
    documents, label_ids = make_documents(8)
    model.zero_grad()
    model(input_ids=pad(documents), labels=torch.from_numpy(label_ids), use_cache=False).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("name", QUANTIZED)
def test_the_projections_are_quantized_and_the_head_is_not(name):
    settings, layer_class = QUANTIZED[name]
    model = load_tiny(quantization=settings)
    quantized = [module for module in model.modules() if isinstance(module, layer_class)]
    assert len(quantized) == PROJECTIONS
    assert type(model.score) is nn.Linear


@pytest.mark.parametrize("method", METHODS)
def test_every_adapter_tensor_gets_a_gradient_after_an_eval_pass(method):
    model = apply_adapter(load_tiny(method), Peft(init_lora_weights=False), seed=1).train()
    score(model, make_documents(4)[0])
    gradients = compute_gradients(model)
    assert len(gradients) == 2 * PROJECTIONS + 1
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("method", METHODS)
def test_an_eval_pass_changes_no_gradient(method):
    model = apply_adapter(load_tiny(method), Peft(lora_dropout=0.0, init_lora_weights=False), seed=1).train()
    before = compute_gradients(model)
    score(model, make_documents(4)[0])
    after = compute_gradients(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("method", ["nf4", "int8"])
def test_gradients_under_quantization_point_where_the_exact_ones_do(method):
    settings = Peft(lora_dropout=0.0, init_lora_weights=False)
    quantized = compute_gradients(apply_adapter(load_tiny(method), settings, seed=1))
    exact = compute_gradients(apply_adapter(load_tiny("none"), settings, seed=1))
    flat = [torch.cat([gradients[name].flatten() for name in exact]) for gradients in (quantized, exact)]
    # 4 bits on a random model of width 32 turn the gradient a little; a wrong one would be at a right angle.
    assert nn.functional.cosine_similarity(*flat, dim=0) > 0.9


@pytest.mark.parametrize("name", QUANTIZED)
def test_dequantized_weights_compute_what_the_quantized_ones_do(name):
    settings = QUANTIZED[name][0].model_copy(update={"bnb_4bit_compute_dtype": "float32"})
    model = load_tiny(quantization=settings)
    documents, _ = make_documents(16)
    quantized = score(model, documents)
    plain = dequantize(model)
    assert not any(isinstance(module, Linear4bit | Linear8bitLt) for module in plain.modules())
    # 4-bit layers differ by float32 rounding. int8 ones also round activations to 8 bits, which plain ones
    # do not: 1 % of logits of 0.2.
    np.testing.assert_allclose(score(plain, documents), quantized, atol=2e-3 if name == "int8" else 1e-5)
    assert np.abs(quantized - score(load_tiny("none"), documents)).max() > 1e-4


def test_dequantized_weights_pass_through_the_compute_dtype():
    plain = dequantize(load_tiny("nf4"))
    weight = plain.model.layers[0].mlp.up_proj.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, weight.to(torch.bfloat16).float())


def test_the_record_keeps_what_a_reload_needs():
    record = record_quantization(Quantization(bnb_4bit_quant_type="fp4", bnb_4bit_use_double_quant=False))
    assert record.model_dump() == {
        "method": "fp4",
        "bnb_4bit_use_double_quant": False,
        "bnb_4bit_compute_dtype": "bfloat16",
    }


def test_a_machine_without_bitsandbytes_gets_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ResourceError, match="nf4 weights need the bitsandbytes library"):
        load_tiny("nf4")
