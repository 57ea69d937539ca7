"""The GGUF file, read by llama.cpp: its weights, its vocabulary, and what cannot be one."""

import copy
import unicodedata

import gguf
import numpy as np
import pytest
import xllamacpp
from tokenizers import Tokenizer, normalizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from qwenkit.config.schema import Export
from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.export.gguf_file import FORMAT
from qwenkit.modeling.loading import LoadedClassifier
from qwenkit.modeling.predictor import predict_logits
from qwenkit.probabilities import softmax
from qwenkit.tokens.encoding import encode_texts
from tests.modeling.tiny_models import load_tiny, make_bundle, make_documents, make_tokenizer, train_briefly
from tests.tokens.conftest import AWKWARD_TEXTS

PAD = make_tokenizer().pad_token_id
LABELS = ["essay", "news, short", "поэзия"]
DOCUMENTS = [document.tolist() for document in make_documents(40, seed=5)[0]]
TEXTS = [unicodedata.normalize("NFC", text) for text in AWKWARD_TEXTS.values()]
WRITTEN_TAG = "<think>"
TEMPERATURE = 0.8
# Of two layers: four norms each, the last norm, and the head.
EXACT = ("norm.weight", "cls.output.weight")


@pytest.fixture(scope="module")
def trained():
    """A classifier of three classes whose tokenizer has a token that text may hold."""
    tokenizer = copy.deepcopy(make_tokenizer())
    tokenizer.add_tokens([WRITTEN_TAG])
    model = train_briefly(load_tiny(labels=LABELS))
    fields = {"labels": LABELS, "positive_label": LABELS[0], "max_length": 300, "temperature": TEMPERATURE}
    return LoadedClassifier(model, tokenizer, make_bundle(kind="full", **fields))


@pytest.fixture(scope="module")
def expected(trained):
    return score_trained(trained, DOCUMENTS)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    return write(trained, tmp_path_factory.mktemp("gguf"), "f32")


@pytest.fixture(scope="module")
def server(folder):
    """llama.cpp over the file, for /rerank and /embeddings, without the float16 of its default attention."""
    params = xllamacpp.CommonParams()
    params.model.path = str(folder / "model.gguf")
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    params.n_ctx = params.n_batch = params.n_ubatch = 1024
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity = -1
    return xllamacpp.Server(params)


def write(trained, folder, gguf_type):
    settings = Export(gguf_type=gguf_type)
    FORMAT.write(folder, trained=trained, trained_folder=folder, settings=settings)
    return folder


def score_trained(trained, input_ids):
    """Give probabilities with the temperature applied."""
    logits = predict_logits(trained.model, input_ids, pad_token_id=PAD, batch_tokens=1000)
    assert logits.std() > 0.5
    return softmax(logits / trained.bundle.temperature)


def score_trained_one(trained, ids):
    logits = predict_logits(trained.model, [ids], pad_token_id=PAD, batch_tokens=1000)
    return softmax(logits / trained.bundle.temperature)[0]


def score_file(folder):
    return softmax(FORMAT.score(folder, DOCUMENTS, device="cpu"))


def test_llama_cpp_gives_the_probabilities_of_all_three_classes(folder, expected):
    # llama.cpp keeps keys and values in float16, which has 11 bits.
    np.testing.assert_allclose(score_file(folder), expected, atol=1e-3)


@pytest.mark.parametrize(("smaller", "larger"), [("q8_0", "f16"), ("f16", "f32")])
def test_each_type_is_smaller_than_the_next_and_close(smaller, larger, trained, tmp_path, expected):
    sizes = []
    for gguf_type in (smaller, larger):
        file = write(trained, tmp_path / gguf_type, gguf_type) / "model.gguf"
        tensors = gguf.GGUFReader(file).tensors
        sizes.append(sum(tensor.n_bytes for tensor in tensors))
        exact = [tensor.tensor_type.name for tensor in tensors if tensor.name.endswith(EXACT)]
        assert exact == ["F32"] * 10
    assert sizes[0] < 0.6 * sizes[1]
    # 8 bits a weight.
    np.testing.assert_allclose(score_file(tmp_path / smaller), expected, atol=0.02)


def test_the_file_says_what_llama_cpp_needs_to_know(folder, trained):
    reader = gguf.GGUFReader(folder / "model.gguf")
    fields = {name: field.contents() for name, field in reader.fields.items()}
    assert fields["general.architecture"] == "qwen3"
    assert fields["qwen3.classifier.output_labels"] == LABELS
    assert fields["qwen3.pooling_type"] == gguf.PoolingType.RANK
    assert fields["qwen3.context_length"] == trained.model.config.max_position_embeddings
    assert (fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert len(fields["tokenizer.ggml.tokens"]) == len(set(fields["tokenizer.ggml.tokens"])) == 320
    head = next(tensor for tensor in reader.tensors if tensor.name == "cls.output.weight")
    np.testing.assert_allclose(
        head.data, trained.model.score.weight.detach().numpy() / TEMPERATURE, rtol=1e-6
    )


@pytest.mark.parametrize("text", [*TEXTS, f"a {WRITTEN_TAG}b{WRITTEN_TAG}", "x" * 290], ids=repr)
def test_llama_cpp_reads_texts_as_training_did(text, server, trained):
    (ids,) = encode_texts([text], tokenizer=trained.tokenizer, max_length=300)
    answer = server.handle_embeddings({"input": text, "embd_normalize": -1})
    assert answer["usage"]["prompt_tokens"] == len(ids)
    np.testing.assert_allclose(answer["data"][0]["embedding"], score_trained_one(trained, ids), atol=1e-5)


def test_reranking_scores_documents_by_the_first_class_alone(server, trained):
    answer = server.handle_rerank({"query": "no matter what", "documents": TEXTS})
    ids = encode_texts(TEXTS, tokenizer=trained.tokenizer, max_length=300)
    for result in answer["results"]:
        expected = score_trained_one(trained, ids[result["index"]])[0]
        assert result["relevance_score"] == pytest.approx(expected, abs=1e-5)
    assert len(answer["results"]) == len(TEXTS)


def test_a_file_that_was_cut_short_is_one_clear_error(folder, tmp_path):
    content = (folder / "model.gguf").read_bytes()
    (tmp_path / "model.gguf").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError, match="cannot load"):
        FORMAT.score(tmp_path, DOCUMENTS, device="cpu")


def test_a_model_that_is_no_qwen3_is_refused(trained, tmp_path):
    config = LlamaConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, vocab_size=9
    )
    other = LoadedClassifier(LlamaForSequenceClassification(config), trained.tokenizer, trained.bundle)
    with pytest.raises(ConfigError, match="for Qwen3 models, this one is llama: export merged or onnx"):
        write(other, tmp_path, "f16")


def test_stretched_positions_are_refused(trained, tmp_path):
    parameters = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 2.0}
    model = copy.deepcopy(trained.model)
    model.config.rope_parameters = parameters
    with pytest.raises(ConfigError, match="this one has rope_type linear"):
        write(LoadedClassifier(model, trained.tokenizer, trained.bundle), tmp_path, "f16")


def test_a_tokenizer_that_cuts_words_otherwise_is_refused(trained, tmp_path):
    backend = Tokenizer.from_str(trained.tokenizer.backend_tokenizer.to_str())
    backend.normalizer = normalizers.Lowercase()
    other = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|endoftext|>")
    with pytest.raises(ConfigError, match="another normalizer, which llama"):
        write(LoadedClassifier(trained.model, other, trained.bundle), tmp_path, "f16")
