"""Which base is loaded, and how."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3ForSequenceClassification,
)

from qwenkit.config.schema_model import Model
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.modeling.base import choose_device, resolve_dtype
from qwenkit.modeling.identity import identify_base
from tests.modeling.tiny_models import LABELS, METHODS, describe_tiny, load_tiny, make_tokenizer
from tests.qwen3_sizes import TINY_SIZES

CONFIG = {"vocab_size": 320, **TINY_SIZES}


@pytest.fixture
def base_folder(tmp_path):
    """A causal language model with tied embeddings, as Qwen3-0.6B is published."""
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(**CONFIG, tie_word_embeddings=True)).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def identify_folder(folder):
    return identify_base(Model(name=str(folder)))


@pytest.mark.parametrize("method", METHODS)
def test_the_head_is_linear_float32_finite_and_the_same_for_every_quantization(method):
    head = load_tiny(method).score
    assert type(head) is nn.Linear
    assert head.weight.dtype == torch.float32
    assert torch.equal(head.weight, load_tiny("none").score.weight)
    assert not torch.equal(head.weight, load_tiny("none", seed=4).score.weight)


def test_the_head_over_a_bfloat16_base_is_finite_and_not_rounded(base_folder):
    model = load_tiny("none", identity=identify_folder(base_folder), dtype="bfloat16")
    assert model.model.embed_tokens.weight.dtype == torch.bfloat16
    assert model.score.weight.dtype == torch.float32
    assert model.score.weight.isfinite().all()
    # 64 draws of a normal distribution with deviation 0.02: the sample's lies within 4 standard errors.
    assert model.score.weight.std().item() == pytest.approx(0.02, abs=4 * 0.02 / math.sqrt(2 * 64))


def test_the_config_says_what_servers_read():
    config = load_tiny().config
    assert config.id2label == {0: "AI_Generated", 1: "Human_Written"}
    assert config.label2id == {"AI_Generated": 0, "Human_Written": 1}
    assert config.problem_type == "single_label_classification"
    assert config.pad_token_id == make_tokenizer().pad_token_id
    assert config.use_cache is False
    assert config._attn_implementation == "sdpa"


def test_labels_keep_the_order_given_and_not_the_alphabet():
    assert load_tiny(labels=["zebra", "ant"]).config.id2label == {0: "zebra", 1: "ant"}


def test_a_tiny_base_is_the_same_each_time_and_another_for_another_seed():
    first, again, other = describe_tiny(), describe_tiny(), describe_tiny(seed=1)
    assert first == again
    assert first.sha256 != other.sha256
    assert first.tiny["vocab_size"] % 64 == 0
    state, same = load_tiny().state_dict(), load_tiny().state_dict()
    assert all(torch.equal(state[name], same[name]) for name in state)


def test_a_tiny_base_that_comes_out_otherwise_is_refused():
    identity = describe_tiny().model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ArtifactError, match="comes out otherwise"):
        load_tiny(identity=identity)


def test_loading_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_tiny()
    assert torch.equal(torch.rand(3), expected)


def test_loading_prints_nothing(base_folder, capfd):
    load_tiny("nf4", identity=identify_folder(base_folder))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_a_folder_is_identified_by_its_content(base_folder):
    identity = identify_folder(base_folder)
    assert identity.kind == "folder" and identity.revision is None
    load_tiny(identity=identity)
    weights = load_file(base_folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1
    save_file(weights, base_folder / "model.safetensors", metadata={"format": "pt"})
    assert identify_folder(base_folder).sha256 != identity.sha256
    with pytest.raises(ArtifactError, match="is not the one this was trained on"):
        load_tiny(identity=identity)


def test_an_untied_language_model_head_is_left_behind(tmp_path):
    Qwen3ForCausalLM(Qwen3Config(**CONFIG, tie_word_embeddings=False)).save_pretrained(tmp_path)
    assert "lm_head.weight" in load_file(tmp_path / "model.safetensors")
    assert not hasattr(load_tiny(identity=identify_folder(tmp_path)), "lm_head")


def test_a_classifier_as_base_gets_a_new_head_of_the_right_size(tmp_path):
    Qwen3ForSequenceClassification(Qwen3Config(**CONFIG, num_labels=5)).save_pretrained(tmp_path)
    model = load_tiny(identity=identify_folder(tmp_path))
    assert model.score.weight.shape == (len(LABELS), 32)
    assert torch.equal(model.score.weight, load_tiny().score.weight)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("no such/folder/here", ConfigError, "neither a folder that exists, nor a hub id"),
        ("./nowhere", ConfigError, "neither a folder that exists, nor a hub id"),
    ],
)
def test_a_name_that_is_nothing_is_refused(name, error, message):
    with pytest.raises(error, match=message):
        identify_base(Model(name=name))


def test_folders_that_hold_no_base_model_are_refused(tmp_path, base_folder):
    with pytest.raises(ArtifactError, match="no model folder"):
        identify_folder(tmp_path)
    (base_folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="holds an adapter"):
        identify_folder(base_folder)


def test_a_folder_that_vanished_is_named(tmp_path, base_folder):
    identity = identify_folder(base_folder)
    base_folder.rename(tmp_path / "moved")
    with pytest.raises(ArtifactError, match="does not exist here"):
        load_tiny(identity=identity)


def test_truncated_weights_are_refused(base_folder):
    path = base_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ArtifactError, match="truncated or corrupt"):
        load_tiny(identity=identify_folder(base_folder))


def test_missing_weights_are_refused_by_name(base_folder):
    weights = load_file(base_folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, base_folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ArtifactError, match=r"lacks 1 weights, e\.g\. model\.layers\.1\.mlp\.up_proj\.weight"
    ):
        load_tiny(identity=identify_folder(base_folder))


def test_weights_of_another_shape_are_refused(base_folder):
    config = json.loads((base_folder / "config.json").read_text())
    (base_folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))
    with pytest.raises(ArtifactError, match="another shape"):
        load_tiny(identity=identify_folder(base_folder))


def test_an_encoder_is_refused(tmp_path):
    BertModel(
        BertConfig(
            vocab_size=320, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
    ).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="of type bert"):
        load_tiny(identity=identify_folder(tmp_path))


@pytest.mark.parametrize(
    ("config_class", "mark"),
    [(Gemma3TextConfig, {"use_bidirectional_attention": True}), (Qwen3Config, {"is_causal": False})],
)
def test_a_decoder_whose_attention_is_open_to_both_sides_is_refused(tmp_path, config_class, mark):
    """As of EmbeddingGemma: without a mask its tokens would see the padding, and no word said."""
    config_class(**CONFIG, **mark).save_pretrained(tmp_path)
    save_file({"norm.weight": torch.ones(32)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match="looks at later tokens as well"):
        load_tiny(identity=identify_folder(tmp_path))


def test_a_base_that_is_already_quantized_is_refused(tmp_path):
    load_tiny("nf4").model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="already quantized"):
        load_tiny("nf4", identity=identify_folder(tmp_path))


def test_a_tokenizer_larger_than_the_embeddings_is_refused(base_folder):
    with pytest.raises(ConfigError, match="makes 321 ids"):
        load_tiny(identity=identify_folder(base_folder), vocab_size=321)


def test_documents_longer_than_the_model_was_made_for_are_refused(base_folder):
    with pytest.raises(ConfigError, match="made for 32768 tokens"):
        load_tiny(identity=identify_folder(base_folder), max_length=32769)


def test_auto_is_float32_on_a_cpu():
    assert resolve_dtype("auto", torch.device("cpu")) == "float32"
    assert resolve_dtype("bfloat16", "cpu") == "bfloat16"
    assert choose_device().type in ("cpu", "cuda")
