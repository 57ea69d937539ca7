"""One GGUF file of the merged classifier, for llama.cpp.

llama.cpp calls a classifier a reranker: it pools the last token, multiplies with the head (cls.output) and
gives the softmax. The export is proven by llama.cpp itself, run on the file through the xllamacpp package.
"""

import secrets
from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.errors import ArtifactError, ConfigError
from qwenkit.export.contract import Gives, Written
from qwenkit.export.gguf_vocabulary import add_vocabulary
from qwenkit.export.merged import describe_merged, merge_calibrated
from qwenkit.modeling.bundle import save_tokenizer, write_bundle
from qwenkit.modeling.loading import LoadedClassifier

FILE_NAME = "model.gguf"
ARCHITECTURE = "qwen3"
HEAD_WEIGHT = "score.weight"
# What llama-server puts each text into at its /rerank endpoint: nothing but the text itself.
RERANK_TEMPLATE = "{document}"
DOCUMENTS_PER_REQUEST = 32
# llama.cpp rounds contexts up to this many tokens.
CONTEXT_MULTIPLE = 256
SILENT = -1

USAGE = """\
    import xllamacpp
    from transformers import AutoTokenizer

    folder = "path/to/this/folder"
    params = xllamacpp.CommonParams()
    params.model.path = f"{folder}/model.gguf"
    params.embedding = True
    params.n_ctx = params.n_batch = params.n_ubatch = 4096
    server = xllamacpp.Server(params)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(["some text", "another, longer text"], truncation=True)["input_ids"]
    answer = server.handle_embeddings({"input": ids, "embd_normalize": -1})
    probabilities = [row["embedding"] for row in answer["data"]]

`llama-server --embeddings` answers the same at `/embeddings`; with `--rerank` instead, `/rerank` scores
`documents` by the probability of the first class. Both also take plain texts. llama.cpp then tokenizes them
itself, with two differences from training: it does not cut long texts, and it does not normalize to NFC.
"""


class GgufFormat:
    """model.gguf (weights, vocabulary and class names) and the tokenizer as it was trained with."""

    name = "gguf"
    hub_library = "gguf"
    packages: tuple[str, ...] = ("gguf", "xllamacpp")
    own_settings: tuple[str, ...] = ("gguf_type",)
    gives: Gives = "log-probabilities"
    usage = USAGE

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Written:
        """Merge in float32, then store the matrices as gguf_type; head and norms stay float32.

        Args:
            settings: Reads merge_base and gguf_type.

        Raises:
            ConfigError: llama.cpp has no such model, or would tokenize otherwise.
        """
        _check_config(trained.model.config)
        folder.mkdir(parents=True, exist_ok=True)
        model = merge_calibrated(trained, trained_folder, base=settings.merge_base).cpu()
        _write_file(folder / FILE_NAME, model, trained, gguf_type=settings.gguf_type)
        bundle = describe_merged(trained.bundle, kind="gguf", dtype="float32")
        save_tokenizer(folder, trained.tokenizer, bundle)
        write_bundle(folder, bundle)
        advice = "" if settings.gguf_type == "f32" else "set export.gguf_type=f32 for a closer copy"
        return Written(
            bundle, form=f"merged into a GGUF file, matrices as {settings.gguf_type}", advice=advice
        )

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Score with llama.cpp, in one batch after the other.

        Returns:
            Logarithms of the probabilities, less their mean in the row.
        """
        from qwenkit.export.parity import center_logits

        server = _start_llama(folder / FILE_NAME, longest=max(map(len, input_ids)))
        rows: list[list[float]] = []
        for start in range(0, len(input_ids), DOCUMENTS_PER_REQUEST):
            documents = [list(map(int, row)) for row in input_ids[start : start + DOCUMENTS_PER_REQUEST]]
            answer = server.handle_embeddings({"input": documents, "embd_normalize": -1})
            if "error" in answer:
                raise ArtifactError(
                    f"llama.cpp cannot read {folder / FILE_NAME}: {answer['error']['message']}"
                )
            rows += [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]
        # A probability that float32 rounds to 0 has no logarithm.
        probabilities = np.maximum(np.array(rows, dtype=np.float32), np.finfo(np.float32).tiny)
        return center_logits(np.log(probabilities))


FORMAT = GgufFormat()


def _check_config(config: Any) -> None:
    """Refuse what llama.cpp's qwen3 computes otherwise than transformers."""
    if config.model_type != ARCHITECTURE:
        raise ConfigError(
            f"the gguf export is for Qwen3 models, this one is {config.model_type}: export merged or onnx."
        )
    rope_type = config.rope_parameters.get("rope_type", "default")
    if rope_type != "default" or config.use_sliding_window or config.attention_bias:
        raise ConfigError(
            f"the gguf export holds a plain Qwen3; this one has rope_type {rope_type}, use_sliding_window "
            f"{config.use_sliding_window}, attention_bias {config.attention_bias}: export merged or onnx."
        )


def _write_file(path: Path, model: Any, trained: LoadedClassifier, *, gguf_type: str) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    file_type = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}[gguf_type]
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_sizes(writer, model.config)
    writer.add_pooling_type(gguf.PoolingType.RANK)
    writer.add_array(f"{ARCHITECTURE}.classifier.output_labels", trained.bundle.labels)
    # As many numbers as there are classes: llama-server reads so many of each answer.
    writer.add_embedding_length_out(len(trained.bundle.labels))
    add_vocabulary(writer, trained.tokenizer, rows=model.config.vocab_size)
    writer.add_string("tokenizer.chat_template.rerank", RERANK_TEMPLATE)
    _add_tensors(writer, model, wanted=gguf.GGMLQuantizationType[gguf_type.upper()])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_sizes(writer: Any, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _add_tensors(writer: Any, model: Any, *, wanted: Any) -> None:
    """Add each tensor under llama.cpp's name."""
    import gguf

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN3, model.config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        found = names.get_name(name, try_suffixes=(".weight",))
        if name == HEAD_WEIGHT:
            found = f"{gguf.TENSOR_NAMES[gguf.MODEL_TENSOR.CLS_OUT]}.weight"
        kind = _choose_type(name, values, wanted)
        writer.add_tensor(found, gguf.quantize(values, kind), raw_dtype=kind)


def _choose_type(name: str, values: np.ndarray, wanted: Any) -> Any:
    """Keep the head and the norms exact: they are small, and every logit passes through them."""
    import gguf

    types = gguf.GGMLQuantizationType
    if values.ndim == 1 or name == HEAD_WEIGHT:
        return types.F32
    block_length, _ = gguf.GGML_QUANT_SIZES[wanted]
    return wanted if values.shape[-1] % block_length == 0 else types.F16


def _start_llama(path: Path, *, longest: int) -> Any:
    """Load a file with llama.cpp; documents of up to `longest` tokens fit into one pass.

    Raises:
        ArtifactError: llama.cpp does not take the file.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.embedding = True
    # The context must be longer than the text.
    tokens = (longest // CONTEXT_MULTIPLE + 1) * CONTEXT_MULTIPLE
    params.n_ctx = params.n_batch = params.n_ubatch = tokens
    params.n_parallel = 1
    params.warmup = False
    params.verbosity = SILENT
    # It also listens on a port of this machine, where nobody else shall ask.
    params.api_keys = [secrets.token_hex()]
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ArtifactError(f"llama.cpp cannot load {path}: {error}") from error
