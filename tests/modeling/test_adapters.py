"""What each adapter trains, counts and refuses."""

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from qwenkit.config.schema_model import Model, Peft
from qwenkit.errors import ConfigError
from qwenkit.modeling.adapters import ADAPTERS, apply_adapter, count_trainable
from qwenkit.modeling.identity import identify_base
from tests.modeling.tiny_models import METHODS, load_tiny, make_documents, pad
from tests.qwen3_sizes import TINY_SIZES

# Of the tiny model: embeddings 320 x 32, head 2 x 32, LoRA of rank 4 on seven projections of two layers.
EMBEDDING, HEAD, LORA = 320 * 32, 2 * 32, 2 * 4 * (64 + 48 + 48 + 64 + 96 + 96 + 96)
PROJECTIONS = 2 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64)
NORMS = 2 * (2 * 32 + 2 * 16) + 32
BASE = EMBEDDING + PROJECTIONS + NORMS


def apply(method="none", **settings):
    return apply_adapter(load_tiny(method), Peft(lora_r=4, **settings), seed=1)


def list_trainable(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_trains_the_head_in_float32(name):
    model = apply_adapter(load_tiny(), Peft(enabled=name == "lora"), seed=1)
    trainable = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("score" in name for name in trainable)
    assert {weight.dtype for weight in trainable.values()} == {torch.float32}


@pytest.mark.parametrize("method", METHODS)
def test_counts_are_those_of_the_model_however_it_is_stored(method):
    assert count_trainable(apply(method)) == (LORA + HEAD, BASE + LORA + HEAD)


def test_modules_trained_whole_count_once():
    assert count_trainable(apply("nf4", modules_to_save=["embed_tokens"])) == (
        LORA + HEAD + EMBEDDING,
        BASE + LORA + HEAD,
    )


def test_full_fine_tuning_trains_everything():
    assert count_trainable(apply(enabled=False)) == (BASE + HEAD, BASE + HEAD)


def test_lora_trains_its_matrices_and_the_head_and_nothing_else():
    trainable = list_trainable(apply("nf4"))
    assert len(trainable) == 2 * 2 * 7 + 1
    assert all("lora_" in name or name.endswith("score.modules_to_save.default.weight") for name in trainable)


def test_the_head_may_be_named_among_the_modules_to_save():
    assert list_trainable(apply(modules_to_save=["score"])) == list_trainable(apply())


def test_the_frozen_rest_keeps_its_precision():
    model = apply_adapter(load_tiny(dtype="bfloat16"), Peft(modules_to_save=["embed_tokens"]), seed=1)
    frozen = {
        weight.dtype
        for name, weight in model.named_parameters()
        if not weight.requires_grad and "score" not in name
    }
    assert frozen == {torch.bfloat16}
    trained = {weight.dtype for weight in model.parameters() if weight.requires_grad}
    assert trained == {torch.float32}


def test_checkpointing_is_off_unless_asked_for():
    assert not any(getattr(module, "gradient_checkpointing", False) for module in apply("nf4").modules())


def test_checkpointing_gives_the_same_gradients():
    documents, label_ids = make_documents(4)
    gradients = []
    for checkpointing in (False, True):
        settings = Peft(lora_dropout=0.0, init_lora_weights=False)
        model = apply_adapter(
            load_tiny("nf4"), settings, gradient_checkpointing=checkpointing, seed=1
        ).train()
        model(input_ids=pad(documents), labels=torch.from_numpy(label_ids), use_cache=False).loss.backward()
        gradients.append(
            {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
        )
    plain, recomputed = gradients
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)


def test_the_seed_decides_the_matrices_and_nothing_global():
    torch.manual_seed(9)
    expected = torch.rand(2)
    torch.manual_seed(9)
    first, again = apply().state_dict(), apply().state_dict()
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize(
    "settings", [{"use_rslora": True}, {"use_dora": True}, {"init_lora_weights": "gaussian"}]
)
def test_variants_train(settings):
    model = apply("nf4", **settings).train()
    documents, label_ids = make_documents(4)
    model(input_ids=pad(documents), labels=torch.from_numpy(label_ids), use_cache=False).loss.backward()
    assert all(weight.grad is not None for weight in model.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (
            "nf4",
            {"target_modules": ["q_proj", "query"]},
            "names query, which the model lacks; it has: down_proj",
        ),
        ("nf4", {"target_modules": ["score"]}, "names score"),
        ("nf4", {"modules_to_save": ["lm_head"]}, "names lm_head"),
        ("nf4", {"modules_to_save": ["q_proj"], "target_modules": ["v_proj"]}, "names q_proj"),
        ("none", {"modules_to_save": ["q_proj"]}, "q_proj stands in peft.target_modules and"),
        ("nf4", {"enabled": False}, "cannot train quantized weights"),
        ("int8", {"use_dora": True}, "does not work with int8"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(method, settings, message):
    with pytest.raises(ConfigError, match=message):
        apply(method, **settings)


@pytest.mark.parametrize("method", ["nf4", "int8"])
@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_of_quantized_layers_are_not_trained(tmp_path, method, bias):
    """bitsandbytes casts them to its input's precision, for good: in bfloat16 a step of 1e-4 vanishes."""
    config = Qwen2Config(vocab_size=320, **TINY_SIZES)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    base = load_tiny(method, identity=identify_base(Model(name=str(tmp_path))))
    with pytest.raises(ConfigError, match=r"quantized layers \(k_proj, q_proj, v_proj\)"):
        apply_adapter(base, Peft(bias=bias))
    # Qwen2 has biases in these three alone.
    apply_adapter(base, Peft(bias="lora_only", target_modules=["up_proj"]))
