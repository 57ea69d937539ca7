"""Every export says what the trained model says, proves it, and is complete by itself."""

import json
import re
import sys
import textwrap
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import pipeline

from qwenkit.config.schema import Export
from qwenkit.console import Console
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.export.conduct import export_model
from qwenkit.export.formats import FORMATS, describe_missing, find_format, identify_export
from qwenkit.export.parity import center_logits, score_calibrated
from qwenkit.files import read_json
from qwenkit.modeling.loading import load_model
from qwenkit.modeling.predictor import Predictor
from tests.modeling.tiny_models import LABELS, MAX_LENGTH, make_documents, save_trained

DOCUMENTS = make_documents(60, seed=7)[0]
TEXTS = [
    "the quick brown fox",
    "It is raining again; the river has risen.",
    "a<|endoftext|>b<|im_end|>",
    "one would think, or perhaps not at all. " * 20,
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained nf4 LoRA classifier that also trained its embeddings, with a temperature."""
    folder = tmp_path_factory.mktemp("run") / "trained"
    save_trained(folder, "nf4", bundle={"temperature": 1.7}, modules_to_save=["embed_tokens"])
    return folder


@pytest.fixture(scope="module")
def exports(trained, tmp_path_factory):
    """Its export in every format: folder and summary."""
    root = tmp_path_factory.mktemp("export")
    return {name: (root / name, run_export(name, trained, root / name)) for name in FORMATS}


@pytest.fixture
def merged(exports):
    """Its merged export."""
    return exports["merged"][0]


def run_export(name, trained, folder, *, training=None, **settings):
    return export_model(
        name,
        folder=folder,
        trained_folder=trained,
        input_ids=DOCUMENTS,
        settings=Export(**{"max_label_flips": 0.01, "max_logit_difference": 0.1, **settings}),
        console=Console(quiet=True),
        training=training,
        device="cpu",
    )


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_loads_from_disk_and_agrees_with_the_trained_model(name, trained, exports):
    folder, summary = exports[name]
    reference = score_calibrated(load_model(trained, device="cpu"), DOCUMENTS)
    if find_format(name).gives == "log-probabilities":
        reference = center_logits(reference)
    exported = find_format(name).score(folder, DOCUMENTS, device="cpu")
    assert exported.shape == (len(DOCUMENTS), len(LABELS))
    assert reference.std() > 0.5
    # The trained model multiplies its 4-bit weights in bfloat16, which keeps 8 bits.
    np.testing.assert_allclose(exported, reference, atol=0.02 * np.abs(reference).max())
    assert summary["max_abs"] == pytest.approx(np.abs(reference - exported).max(), abs=1e-6)
    assert (summary["format"], summary["rows"]) == (name, len(DOCUMENTS))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_its_card_its_proof_and_no_pickle(name, exports):
    folder, _ = exports[name]
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "parity.json", "qwenkit.json", "tokenizer.json"} <= names
    assert not any(path.suffix in (".bin", ".pt", ".pkl") for path in folder.rglob("*"))
    parity = read_json(folder / "parity.json")
    assert parity["rows"] == len(DOCUMENTS)
    assert parity["difference_allowed"] >= 0.1 and parity["rows_over"] == 0
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.to_dict()["library_name"] == find_format(name).hub_library


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_of_an_export_tells_a_path_of_this_machine(name, exports):
    folder, _ = exports[name]
    places = [str(folder.parent), str(Path(__file__).parents[2]), str(Path(torch.__file__).parent)]
    for path in folder.rglob("*"):
        content = path.read_bytes()
        assert not any(place.encode() in content for place in places), path.name


def run_usage(folder):
    """Run the first Python block of a card as it stands there, and give what it leaves behind."""
    block = re.search(r"\n\n((?:    .*\n|\n(?=    ))+)", (folder / "README.md").read_text())
    code = textwrap.dedent(block[1]).replace("path/to/this/folder", str(folder))
    names = {}
    exec(code, names)
    return names


@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_the_usage_on_the_card_gives_the_probabilities_of_the_trained_model(name, trained, exports):
    texts = ["some text", "another, longer text"]
    expected = Predictor.from_folder(trained, device="cpu").predict(texts).probabilities
    found = np.array(run_usage(exports[name][0])["probabilities"])
    # bfloat16 products in the trained model, see above.
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_the_usage_on_the_merged_card_runs(exports):
    names = run_usage(exports["merged"][0])
    scores = names["classify"]("some text", truncation=True, top_k=None)
    assert {entry["label"] for entry in scores} == set(LABELS)


@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_qwenkit_says_which_exports_other_programs_run(name, exports):
    with pytest.raises(ArtifactError, match=f"in the {name} format, which other programs run"):
        load_model(exports[name][0], device="cpu")


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime"), ("gguf", "xllamacpp")])
def test_a_format_without_its_packages_says_how_to_get_them(name, package, monkeypatch):
    assert describe_missing(name) == ""
    # So Python itself marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"needs {package}: `pip install 'qwenkit\[{name}\]'`"):
        find_format(name)


def test_a_setting_of_one_format_is_part_of_that_one_alone():
    small, large = Export(gguf_type="q8_0"), Export(gguf_type="f32")
    assert identify_export("gguf", small) != identify_export("gguf", large)
    assert identify_export("merged", small) == identify_export("merged", large)


def test_the_adapter_export_is_exact(trained, tmp_path):
    summary = run_export("adapter", trained, tmp_path)
    assert (summary["max_abs"], summary["label_flips"]) == (0.0, 0)
    assert (
        load_file(tmp_path / "adapter_model.safetensors").keys()
        == load_file(trained / "adapter_model.safetensors").keys()
    )


def test_merging_where_the_base_was_not_compressed_is_exact(tmp_path):
    save_trained(tmp_path / "trained", "none")
    summary = run_export("merged", tmp_path / "trained", tmp_path / "out")
    # Adding the product to the weight first sums in another order: float32 rounding.
    assert summary["max_abs"] < 2e-5


def test_whole_models_are_merged_bit_for_bit(tmp_path):
    save_trained(tmp_path / "trained", enabled=False)
    assert run_export("merged", tmp_path / "trained", tmp_path / "out")["max_abs"] == 0.0


def test_dora_adapters_merge_too(tmp_path):
    save_trained(tmp_path / "trained", "none", use_dora=True)
    assert run_export("merged", tmp_path / "trained", tmp_path / "out")["max_abs"] < 2e-5


def test_the_merged_config_is_an_ordinary_one(merged):
    text = (merged / "config.json").read_text()
    config = json.loads(text)
    assert config["architectures"] == ["Qwen3ForSequenceClassification"]
    assert config["id2label"] == {"0": "AI_Generated", "1": "Human_Written"}
    assert config["label2id"] == {"AI_Generated": 0, "Human_Written": 1}
    assert config["problem_type"] == "single_label_classification"
    assert isinstance(config["pad_token_id"], int)
    assert config["dtype"] == "float32"
    assert "quantization_config" not in config
    assert "/tmp" not in text and "auto_map" not in text


def test_the_merged_weights_are_plain_and_whole(merged):
    tensors = load_file(merged / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert "score.weight" in tensors and "model.embed_tokens.weight" in tensors
    assert not any("lora" in name or "absmax" in name or "base_layer" in name for name in tensors)


def test_the_pipeline_of_transformers_gives_the_same_probabilities_and_label_names(trained, merged):
    classify = pipeline("text-classification", model=str(merged), device="cpu")
    expected = Predictor.from_folder(trained, device="cpu").predict(TEXTS).probabilities
    ours = Predictor.from_folder(merged, device="cpu").predict(TEXTS).probabilities
    for text, ours_row, trained_row in zip(TEXTS, ours, expected, strict=True):
        scores = {entry["label"]: entry["score"] for entry in classify(text, truncation=True, top_k=None)}
        assert set(scores) == set(LABELS)
        found = [scores[label] for label in LABELS]
        # The pipeline's softmax is float32 and its batch another one.
        np.testing.assert_allclose(found, ours_row, atol=1e-5)
        # bfloat16 products in the trained model, see above.
        np.testing.assert_allclose(found, trained_row, atol=0.01)


def test_the_pipeline_reads_special_tokens_as_text_and_cuts_where_we_do(merged):
    classify = pipeline("text-classification", model=str(merged), device="cpu")
    tokenizer = load_model(merged, device="cpu").tokenizer
    assert len(classify.tokenizer(TEXTS[3], truncation=True)["input_ids"]) == MAX_LENGTH
    assert tokenizer.pad_token_id not in classify.tokenizer(TEXTS[2])["input_ids"]


def test_the_temperature_goes_into_the_head(trained, merged):
    bundle = load_model(merged, device="cpu").bundle
    assert (bundle.temperature, bundle.kind, bundle.quantization.method) == (1.0, "full", "none")
    head = load_file(merged / "model.safetensors")["score.weight"]
    before = load_file(trained / "adapter_model.safetensors")["base_model.model.score.weight"]
    torch.testing.assert_close(head, before / 1.7)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_smaller_and_close(dtype, trained, merged, tmp_path):
    summary = run_export("merged", trained, tmp_path, dtype=dtype)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * (
        merged / "model.safetensors"
    ).stat().st_size
    assert load_model(tmp_path, device="cpu").bundle.dtype == dtype
    assert 0 < summary["max_abs"] < 0.1


@pytest.mark.parametrize("name", ["merged", "gguf"])
def test_the_original_base_is_another_model_and_says_so(name, trained, tmp_path):
    relaxed = {"max_logit_difference": 100, "max_label_flips": 1.0}
    original = run_export(name, trained, tmp_path / "original", merge_base="original", **relaxed)
    dequantized = run_export(name, trained, tmp_path / "dequantized", **relaxed)
    assert original["max_abs"] > 5 * dequantized["max_abs"]
    with pytest.raises(ArtifactError, match="never trained on the original base"):
        run_export(name, trained, tmp_path / "again", merge_base="original", max_logit_difference=1e-3)


def test_an_export_over_the_tolerance_is_an_error_with_the_numbers(trained, tmp_path):
    with pytest.raises(
        ArtifactError, match=r"of 60 validation rows \d+ differ by more than 1\.\d+e-09 in a logit"
    ):
        run_export("merged", trained, tmp_path, max_logit_difference=1e-9)
    assert not (tmp_path / "parity.json").exists()


def test_without_validation_rows_nothing_is_exported(trained, tmp_path):
    with pytest.raises(ArtifactError, match="no validation rows"):
        export_model(
            "adapter",
            folder=tmp_path,
            trained_folder=trained,
            input_ids=[],
            settings=Export(),
            console=Console(quiet=True),
        )


def test_parity_reads_as_many_rows_as_asked(trained, tmp_path):
    assert run_export("adapter", trained, tmp_path, parity_rows=5)["rows"] == 5


def test_a_model_trained_whole_has_no_adapter_to_export(tmp_path):
    save_trained(tmp_path / "trained", enabled=False)
    with pytest.raises(ConfigError, match="has no adapter"):
        run_export("adapter", tmp_path / "trained", tmp_path / "out")


def test_an_unknown_format_is_refused_with_the_list(trained, tmp_path):
    with pytest.raises(
        ConfigError, match='no export format "tflite"; there are: adapter, merged, onnx, gguf'
    ):
        run_export("tflite", trained, tmp_path)
