"""The formulas against the real model: its parameters, and torch's own count of operations."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, LlamaConfig, Qwen2Config, Qwen3Config

from qwenkit.config.schema_model import Peft
from qwenkit.errors import ConfigError
from qwenkit.modeling.adapters import apply_adapter, count_trainable
from qwenkit.modeling.cost import (
    ModelShape,
    Training,
    count_adapter,
    count_flops,
    count_linear,
    count_parameters,
    find_targets,
    read_shape,
)
from qwenkit.modeling.cost import count_trainable as predict_trainable
from tests.qwen3_sizes import REAL_SIZES

TARGETS = Peft().target_modules
LORA = Training(lora_r=16, target_modules=TARGETS)
SMALL = {**REAL_SIZES, "vocab_size": 512, "hidden_size": 48, "intermediate_size": 160, "num_hidden_layers": 3}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
LENGTH, DOCUMENTS = 275, 2


def build_on_meta(sizes: dict[str, Any], config_class: type = Qwen3Config) -> Any:
    """Make the classifier without memory for its weights."""
    config = config_class(**sizes, pad_token_id=0, num_labels=2, use_cache=False)
    config._attn_implementation = "sdpa"
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config)


def shape_of(model: Any) -> ModelShape:
    return read_shape(model.config, num_labels=2)


def count_with_torch(model: Any, *, backward: bool) -> dict[str, float]:
    """Let torch count matrix products for each token; "attention" are the batched ones.

    Up to 5.17 transformers multiplies positions by frequencies as a batched product too, outside attention.
    """
    ids = torch.ones((DOCUMENTS, LENGTH), dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        # The mapping says that no mask is needed; looking for one would read the ids.
        output = model(input_ids=ids, attention_mask={"full_attention": None}, use_cache=False)
        if backward:
            output.logits.sum().backward()
    by_module = counter.get_flop_counts()
    counts = {str(name): count for name, count in by_module["Global"].items()}
    assert set(counts) == {"aten.mm", "aten.bmm"}
    angles = sum(sum(ops.values()) for name, ops in by_module.items() if name.endswith(".rotary_emb"))
    tokens = DOCUMENTS * LENGTH
    return {"linear": counts["aten.mm"] / tokens, "attention": (counts["aten.bmm"] - angles) / tokens}


def test_the_real_model_has_the_parameters_that_are_predicted() -> None:
    model = build_on_meta(REAL_SIZES)
    shape = shape_of(model)
    counts = count_parameters(shape)
    assert sum(counts.values()) == model.num_parameters() == 596_051_968
    assert counts["linear"] == count_linear(shape) == 440_401_920
    assert counts["embedding"] == 155_582_464
    assert count_adapter(shape, LORA) == 10_092_544
    assert count_trainable(apply_adapter(model, Peft()))[0] == predict_trainable(shape, LORA) == 10_094_592


@pytest.mark.parametrize("config_class", [Qwen3Config, Qwen2Config, LlamaConfig])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_of_other_decoders_are_predicted_too(config_class: type, tied: bool) -> None:
    # Heads of 16 make a hidden size of 64, which is what the types without head_dim take.
    model = build_on_meta({**SMALL, "hidden_size": 64, "tie_word_embeddings": tied}, config_class)
    assert sum(count_parameters(shape_of(model)).values()) == model.num_parameters()


@pytest.mark.parametrize(
    "settings",
    [
        {"use_dora": True},
        {"modules_to_save": ["embed_tokens"]},
        {"target_modules": ["q_proj", "self_attn.v_proj"]},
        {"lora_r": 3, "modules_to_save": ["norm"]},
        {"target_modules": ["layers.2.self_attn.q_proj", "layers.2.mlp.up_proj"], "use_dora": True},
        {"target_modules": ["q_proj"], "modules_to_save": ["model.norm", "layers.1.mlp.up_proj"]},
        {"enabled": False},
    ],
)
def test_what_is_trained_is_predicted_for_each_adapter(settings: dict[str, Any]) -> None:
    peft = Peft(**settings)
    predicted = Training(
        lora_r=peft.lora_r if peft.enabled else None,
        target_modules=peft.target_modules,
        modules_to_save=peft.modules_to_save,
        use_dora=peft.use_dora,
    )
    model = build_on_meta(SMALL)
    shape = shape_of(model)
    # DoRA reads the weights to set its magnitudes, so they must exist.
    model = model.to_empty(device="cpu")
    assert count_trainable(apply_adapter(model, peft))[0] == predict_trainable(shape, predicted)


@pytest.mark.parametrize("sizes", [SMALL, REAL_SIZES], ids=["small", "real"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_lora_step_costs_what_torch_counts(sizes: dict[str, Any], checkpointing: bool) -> None:
    training = Training(lora_r=16, target_modules=TARGETS, checkpointing=checkpointing)
    model = apply_adapter(build_on_meta(sizes), Peft(lora_dropout=0), gradient_checkpointing=checkpointing)
    shape = shape_of(model)
    counted = count_with_torch(model.train(), backward=True)
    predicted = count_flops(shape, training, length=LENGTH)
    # torch counts attention to all tokens, of which a causal kernel computes half.
    found = counted["linear"] + counted["attention"] / 2
    # No gradient goes into the first layer's inputs, through the projections and adapters that read them.
    readers = [sizes for name, sizes in find_targets(shape, training).items() if name[0] in "qkv"]
    not_needed = 2 * sum(inputs * outputs + 16 * inputs for inputs, outputs in readers)
    if checkpointing:
        # Those inputs need one then, but computing again stops before the last product of each layer.
        not_needed = 2 * shape.num_hidden_layers * 16 * shape.hidden_size
    assert found + not_needed == pytest.approx(predicted["step"], rel=1e-6)
    if sizes is REAL_SIZES:
        assert not_needed < 0.005 * predicted["step"]
        assert predicted["step"] == pytest.approx(2.849e9 if checkpointing else 1.917e9, abs=1e6)
        assert predicted["forward"] == pytest.approx(0.932e9, abs=1e6)


def test_a_full_step_and_a_forward_cost_what_torch_counts() -> None:
    model = build_on_meta(SMALL)
    predicted = count_flops(shape_of(model), Training(lora_r=None), length=LENGTH)
    forward, step = (count_with_torch(model, backward=backward) for backward in (False, True))
    assert forward["linear"] + forward["attention"] / 2 == pytest.approx(predicted["forward"], rel=1e-6)
    # All weights get a gradient, but the first layer's inputs come from the embedding, which needs theirs.
    assert step["linear"] + step["attention"] / 2 == pytest.approx(predicted["step"], rel=1e-6)


def test_a_model_of_another_build_is_refused_with_what_to_do() -> None:
    from transformers import Qwen3MoeConfig

    with pytest.raises(ConfigError, match=r"no plan for models of type qwen3_moe.+--max-steps 1"):
        read_shape(Qwen3MoeConfig(), num_labels=2)
