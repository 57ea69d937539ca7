"""An ONNX graph of the merged classifier, for onnxruntime, text-embeddings-inference or a browser.

The graph takes what tokenizers give and servers pass: input_ids and attention_mask, int64, shape (documents,
tokens). The mask is used in attention and in pooling, so padding on either side, and with any id, is exact.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.export.contract import Gives, Written
from qwenkit.export.merged import describe_merged, merge_calibrated
from qwenkit.modeling.bundle import save_tokenizer, write_bundle
from qwenkit.modeling.loading import LoadedClassifier

GRAPH_NAME = "model.onnx"
# The name that the hub and transformers.js know.
WEIGHTS_NAME = "model.onnx_data"
OPSET = 20
# A protobuf, which an .onnx file is, ends at 2 GiB; the graph itself takes a few MB of that.
INLINE_LIMIT_BYTES = 1_900_000_000
# Few, and in the order given, so that documents of very different lengths share a batch.
DOCUMENTS_PER_BATCH = 8
INPUT_NAMES = ("input_ids", "attention_mask")

USAGE = """\
    import numpy as np
    import onnxruntime
    from transformers import AutoTokenizer

    folder = "path/to/this/folder"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
    texts = ["some text", "another, longer text"]
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
    inputs = {name: batch[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
    logits = session.run(["logits"], inputs)[0]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
"""


class OnnxFormat:
    """model.onnx in float32 (with model.onnx_data beside it where it is large), config.json, tokenizer."""

    name = "onnx"
    hub_library = "onnx"
    packages: tuple[str, ...] = ("onnx", "onnxscript", "onnxruntime")
    own_settings: tuple[str, ...] = ()
    gives: Gives = "logits"
    usage = USAGE

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Written:
        """Merge, bring the graph to paper and save it.

        Args:
            settings: Reads merge_base.
        """
        folder.mkdir(parents=True, exist_ok=True)
        model = merge_calibrated(trained, trained_folder, base=settings.merge_base).cpu()
        save_graph(build_graph(model), folder)
        _save_config(model, folder)
        bundle = describe_merged(trained.bundle, kind="onnx", dtype="float32")
        save_tokenizer(folder, trained.tokenizer, bundle)
        write_bundle(folder, bundle)
        return Written(bundle, form=f"merged into an ONNX graph of opset {OPSET} with float32 weights")

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Score with onnxruntime, on the CPU, in batches whose documents differ in length."""
        import onnxruntime

        from qwenkit.modeling.bundle import read_bundle

        session = onnxruntime.InferenceSession(folder / GRAPH_NAME, providers=["CPUExecutionProvider"])
        pad_token_id = read_bundle(folder).pad_token_id
        parts = []
        for start in range(0, len(input_ids), DOCUMENTS_PER_BATCH):
            documents = input_ids[start : start + DOCUMENTS_PER_BATCH]
            inputs = _pad_on_the_right(documents, pad_token_id)
            parts.append(session.run(["logits"], dict(zip(INPUT_NAMES, inputs, strict=True)))[0])
        return np.concatenate(parts)


FORMAT = OnnxFormat()


def build_graph(model: Any) -> Any:
    """Trace a float32 classifier into an ONNX model with free numbers of documents and tokens.

    Returns:
        An onnx_ir model without marks of the machine it was made on.
    """
    import torch

    example = torch.zeros((2, 3), dtype=torch.int64)
    sizes = {0: torch.export.Dim("documents"), 1: torch.export.Dim("tokens")}
    with _quiet_exporter():
        program = torch.onnx.export(
            _wrap(model),
            (example, torch.ones_like(example)),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(INPUT_NAMES),
            output_names=["logits"],
            dynamic_shapes=(sizes, sizes),
            verbose=False,
        )
    assert program is not None  # only without dynamo
    graph = program.model
    _check_sizes_are_free(graph)
    for node in graph.graph.all_nodes():
        # Each node tells the lines of source that it comes from, with the folders of this machine.
        node.metadata_props.clear()
    return graph


def save_graph(graph: Any, folder: Path, *, inline_limit_bytes: int = INLINE_LIMIT_BYTES) -> None:
    """Write model.onnx, its weights inside where they fit."""
    import onnx_ir

    size = sum(value.const_value.nbytes for value in graph.graph.initializers.values())
    external = WEIGHTS_NAME if size > inline_limit_bytes else None
    onnx_ir.save(graph, folder / GRAPH_NAME, external_data=external)


def _wrap(model: Any) -> Any:
    """Give the classifier as a module of input_ids and attention_mask."""
    import torch

    class Graph(torch.nn.Module):
        """The stock decoder and head, with attention and pooling told by the mask."""

        def __init__(self) -> None:
            super().__init__()
            self.classifier = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            """Score documents; int64, shape (documents, tokens) to float32, (documents, classes)."""
            places = torch.arange(input_ids.shape[1])
            is_real = attention_mask.bool()
            is_earlier = places[None, :] < places[:, None]
            # Each token sees itself, padding too: the softmax of a row without any entry would be 0/0.
            is_self = places[None, :] == places[:, None]
            is_seen = (is_earlier & is_real[:, None, :]) | is_self
            decoder = self.classifier.model
            hidden = decoder(input_ids=input_ids, attention_mask=is_seen[:, None], use_cache=False)[0]
            # A client that pads but masks nothing is right too, as it is with the stock class.
            is_text = is_real & (input_ids != self.classifier.config.pad_token_id)
            last = (places * is_text).argmax(dim=1)
            pooled = hidden.gather(1, last[:, None, None].expand(-1, -1, hidden.shape[-1]))
            return self.classifier.score(pooled[:, 0])

    return Graph().eval()


def _check_sizes_are_free(graph: Any) -> None:
    """Make sure that tracing did not fix a size; the exporter only warns of it."""
    fixed = [value.name for value in graph.graph.inputs if any(isinstance(size, int) for size in value.shape)]
    if fixed:
        raise AssertionError(f"the ONNX graph has a fixed number of documents or tokens in {fixed}")


def _save_config(model: Any, folder: Path) -> None:
    """Write config.json, from which servers read label names, pad id and kind of model."""
    import copy

    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    config.dtype = "float32"
    config.save_pretrained(folder)


def _pad_on_the_right(documents: Any, pad_token_id: int) -> tuple[np.ndarray, np.ndarray]:
    """Lay documents into input_ids and attention_mask, int64, shape (documents, longest)."""
    ids = np.full((len(documents), max(map(len, documents))), pad_token_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, document in enumerate(documents):
        ids[row, : len(document)] = document
        mask[row, : len(document)] = 1
    return ids, mask


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Hide the exporter's advice on operators that this model does not have, and on torch's own code."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
