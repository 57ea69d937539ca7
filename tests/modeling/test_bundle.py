"""Saving and loading: bit for bit what was trained, or a clear refusal."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from qwenkit.artifacts import publish
from qwenkit.config.schema_model import Peft
from qwenkit.errors import ArtifactError
from qwenkit.modeling.adapters import apply_adapter
from qwenkit.modeling.bundle import read_bundle, save_model, write_bundle
from qwenkit.modeling.loading import load_model
from qwenkit.modeling.predictor import predict_logits
from tests.modeling.tiny_models import (
    LABELS,
    MAX_LENGTH,
    load_tiny,
    make_bundle,
    make_documents,
    make_tokenizer,
    save_trained,
)

ADAPTER = "adapter_model.safetensors"
SCORE = "base_model.model.score.weight"


def score(model, **options):
    return predict_logits(
        model,
        make_documents(40, seed=99)[0],
        pad_token_id=make_tokenizer().pad_token_id,
        batch_tokens=256,
        **options,
    )


def edit_json(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(path, change):
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.fixture
def trained(tmp_path):
    """A trained folder of the plainest kind: LoRA over an unquantized tiny base."""
    save_trained(tmp_path / "trained")
    return tmp_path / "trained"


@pytest.fixture
def foreign(tmp_path):
    """A classifier folder as other programs write it: no qwenkit.json."""
    folder = tmp_path / "foreign"
    save_model(folder, model=load_tiny(), tokenizer=make_tokenizer(), bundle=make_bundle(kind="full"))
    (folder / "qwenkit.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("nf4", {}),
        ("int8", {}),
        ("none", {}),
        ("nf4", {"modules_to_save": ["embed_tokens"]}),
        ("nf4", {"use_dora": True}),
        ("none", {"use_rslora": True}),
        ("none", {"enabled": False}),
    ],
)
def test_a_loaded_model_gives_the_logits_of_the_saved_one_bit_for_bit(tmp_path, method, settings):
    model = save_trained(tmp_path, method, **settings)
    loaded = load_model(tmp_path, device="cpu")
    expected = score(model)
    assert expected.std() > 0.1
    assert np.array_equal(score(loaded.model), expected)
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    assert loaded.bundle.labels == LABELS


def test_float32_weights_under_autocast_come_back_as_float32(tmp_path):
    model = save_trained(tmp_path, "none", bundle={"dtype": "bfloat16", "weights_dtype": "float32"})
    loaded = load_model(tmp_path, device="cpu")
    assert loaded.model.get_base_model().model.norm.weight.dtype == torch.float32
    assert np.array_equal(score(loaded.model, dtype="bfloat16"), score(model, dtype="bfloat16"))


def test_a_bfloat16_base_comes_back_as_bfloat16(tmp_path):
    model = apply_adapter(load_tiny(dtype="bfloat16"), Peft(init_lora_weights=False), seed=1)
    save_model(tmp_path, model=model, tokenizer=make_tokenizer(), bundle=make_bundle(dtype="bfloat16"))
    assert np.array_equal(score(load_model(tmp_path, device="cpu").model), score(model))


def test_a_model_saved_again_is_the_same_model(tmp_path, trained):
    loaded = load_model(trained, device="cpu")
    save_model(tmp_path / "copy", model=loaded.model, tokenizer=loaded.tokenizer, bundle=loaded.bundle)
    for name in (ADAPTER, "adapter_config.json", "tokenizer.json", "qwenkit.json"):
        assert (tmp_path / "copy" / name).read_bytes() == (trained / name).read_bytes()


def test_a_trained_folder_holds_no_pickle_and_nothing_needless(trained):
    names = {path.name for path in trained.iterdir()}
    assert names == {
        ADAPTER,
        "adapter_config.json",
        "qwenkit.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_adapter_config_names_the_base_and_its_revision(tmp_path):
    base = make_bundle().base_model.model_copy(update={"name": "Qwen/Qwen3-0.6B", "revision": "a" * 40})
    save_trained(tmp_path, bundle={"base_model": base}, modules_to_save=["embed_tokens"])
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("Qwen/Qwen3-0.6B", "a" * 40)
    assert config["modules_to_save"] == ["embed_tokens", "score"]
    assert config["task_type"] == "SEQ_CLS"
    assert config["target_modules"] == sorted(config["target_modules"])


def test_the_tokenizer_is_saved_with_what_other_programs_need(trained):
    config = json.loads((trained / "tokenizer_config.json").read_text())
    assert config["split_special_tokens"] is True
    assert config["model_max_length"] == MAX_LENGTH
    assert config["padding_side"] == "right"


@pytest.mark.parametrize("name", [SCORE, "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"])
def test_a_missing_tensor_is_refused_and_never_drawn_anew(trained, name):
    edit_tensors(trained / ADAPTER, lambda tensors: tensors.pop(name))
    with pytest.raises(ArtifactError, match=rf"lacks 1 tensors, e\.g\. {name}"):
        load_model(trained, device="cpu")


def test_foreign_misshapen_and_infinite_tensors_are_refused(trained):
    original = (trained / ADAPTER).read_bytes()
    for change, message in (
        ({"stranger": torch.ones(2)}, "has unknown"),
        ({SCORE: torch.ones(3, 32)}, "another shape"),
        ({SCORE: torch.full((2, 32), float("nan"))}, "not finite"),
    ):
        (trained / ADAPTER).write_bytes(original)
        edit_tensors(trained / ADAPTER, lambda tensors, change=change: tensors.update(change))
        with pytest.raises(ArtifactError, match=message):
            load_model(trained, device="cpu")


def test_a_truncated_adapter_is_refused(trained):
    (trained / ADAPTER).write_bytes((trained / ADAPTER).read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="truncated or corrupt"):
        load_model(trained, device="cpu")


@pytest.mark.parametrize("name", [ADAPTER, "adapter_config.json", "tokenizer.json"])
def test_a_missing_file_is_named(trained, name):
    (trained / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        load_model(trained, device="cpu")


def test_full_weights_without_a_head_are_refused(tmp_path):
    save_trained(tmp_path, enabled=False)
    edit_tensors(tmp_path / "model.safetensors", lambda tensors: tensors.pop("score.weight"))
    with pytest.raises(ArtifactError, match=r"lacks 1 weights, e\.g\. score\.weight"):
        load_model(tmp_path, device="cpu")


def test_truncated_full_weights_are_refused(tmp_path):
    save_trained(tmp_path, enabled=False)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match="truncated or corrupt"):
        load_model(tmp_path, device="cpu")


def test_a_published_folder_with_one_flipped_bit_is_refused(tmp_path, trained):
    target = tmp_path / "run" / "trained"
    with publish(target, stage="train", fingerprint="f", settings={}, inputs={}, identity={}) as staging:
        for path in trained.iterdir():
            (staging.folder / path.name).write_bytes(path.read_bytes())
    load_model(target, device="cpu")
    content = bytearray((target / ADAPTER).read_bytes())
    content[-1] ^= 1
    (target / ADAPTER).write_bytes(content)
    with pytest.raises(ArtifactError, match=f"content of {ADAPTER} changed"):
        load_model(target, device="cpu")


def test_a_folder_that_is_none_or_holds_no_model_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="is no folder"):
        load_model(tmp_path / "nowhere")
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match=r"neither qwenkit\.json nor config\.json"):
        load_model(tmp_path)


def test_another_pad_id_in_the_tokenizer_is_refused(trained):
    edit_json(trained / "qwenkit.json", pad_token_id=7)
    with pytest.raises(ArtifactError, match="contradicts itself"):
        load_model(trained)


def test_a_bundle_reads_back_as_it_was_written(tmp_path):
    point = {
        "target_fpr": 0.01,
        "threshold": 1.25,
        "fpr": 0.0099,
        "fpr_interval": (0.005, 0.02),
        "tpr": 0.7,
        "coverage": 0.9,
        "negatives": 900,
    }
    bundle = make_bundle("nf4", temperature=1.5, metrics={"auroc": 0.9}, operating_points={"fpr=0.01": point})
    write_bundle(tmp_path, bundle)
    assert read_bundle(tmp_path) == bundle
    assert bundle.versions["torch"] == torch.__version__.split("+")[0] or "torch" in bundle.versions


def test_a_bundle_that_wants_an_unknown_normalisation_is_refused(trained):
    edit_json(trained / "qwenkit.json", normalisation=["leet"])
    with pytest.raises(ArtifactError, match=r"does not know \(leet\): upgrade"):
        load_model(trained, device="cpu")


def test_more_labels_than_the_saved_head_has_are_refused(tmp_path):
    save_trained(tmp_path, enabled=False)
    edit_json(tmp_path / "qwenkit.json", labels=[*LABELS, "Mixed"])
    with pytest.raises(ArtifactError, match="cannot be loaded as a model"):
        load_model(tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "newer qwenkit"),
        ({"labels": ["a", "a"]}, "labels repeat"),
        ({"positive_label": "C"}, "positive_label C is not among"),
        ({"temperature": 0}, "temperature"),
        ({"padding_side": "left"}, "padding_side"),
        ({"kind": "magic"}, "kind"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_bundle_that_makes_no_sense_is_refused(trained, changes, message):
    edit_json(trained / "qwenkit.json", **changes)
    with pytest.raises(ArtifactError, match=message):
        read_bundle(trained)


def test_a_bundle_that_is_no_json_is_refused(trained):
    (trained / "qwenkit.json").write_text('{"kind": "ada')
    with pytest.raises(ArtifactError, match="cannot be read as JSON"):
        read_bundle(trained)


def test_a_foreign_classifier_tells_enough_by_itself(foreign):
    loaded = load_model(foreign, device="cpu")
    assert loaded.bundle.labels == LABELS
    assert loaded.bundle.positive_label == LABELS[0]
    assert loaded.bundle.max_length == MAX_LENGTH
    assert loaded.bundle.pad_token_id == make_tokenizer().pad_token_id
    assert np.array_equal(score(loaded.model), score(load_tiny()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "does not say what its classes mean"),
        ({"architectures": ["Qwen3ForCausalLM"]}, "no sequence classifier"),
        ({"pad_token_id": 3}, "contradicts itself"),
    ],
)
def test_a_foreign_folder_that_tells_too_little_is_refused(foreign, changes, message):
    edit_json(foreign / "config.json", **changes)
    with pytest.raises(ArtifactError, match=message):
        load_model(foreign, device="cpu")


def test_a_foreign_folder_without_any_limit_of_tokens_is_refused(foreign):
    edit_json(foreign / "config.json", max_position_embeddings=10**9)
    edit_json(foreign / "tokenizer_config.json", model_max_length=10**30)
    with pytest.raises(ArtifactError, match="no limit of tokens"):
        load_model(foreign, device="cpu")


def test_a_foreign_encoder_is_refused(tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForSequenceClassification(BertConfig(vocab_size=320, **sizes)).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match="no sequence classifier over a causal decoder"):
        load_model(tmp_path, device="cpu")


def test_an_adapter_without_a_bundle_is_refused(trained):
    (trained / "qwenkit.json").unlink()
    with pytest.raises(ArtifactError, match=r"adapter without qwenkit\.json"):
        load_model(trained, device="cpu")
