"""One ordinary Qwen3ForSequenceClassification with the adapter merged in, as any server loads it."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from qwenkit.export.contract import Gives, Written
from qwenkit.export.parity import score_calibrated
from qwenkit.modeling.bundle import Bundle, save_model
from qwenkit.modeling.loading import LoadedClassifier, load_adapter_base, load_model
from qwenkit.modeling.quantization import QuantizationRecord, dequantize

USAGE = """\
    from transformers import pipeline

    classify = pipeline("text-classification", model="path/to/this/folder")
    classify("some text", truncation=True, top_k=None)

or

    qwenkit predict path/to/this/folder "some text"
"""


class MergedFormat:
    """Plain safetensors, no quantization, no PEFT, no remote code."""

    name = "merged"
    hub_library = "transformers"
    packages: tuple[str, ...] = ()
    own_settings: tuple[str, ...] = ("dtype",)
    gives: Gives = "logits"
    usage = USAGE

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Written:
        """Merge in float32, then store in the export's dtype.

        Args:
            settings: Reads merge_base ("dequantized" keeps what the adapter was trained on, "original" takes
                the base before its quantization) and dtype ("auto" is what the model was trained in).
        """
        import torch

        dtype = trained.bundle.dtype if settings.dtype == "auto" else settings.dtype
        model = merge_calibrated(trained, trained_folder, base=settings.merge_base)
        model.to(getattr(torch, dtype))
        bundle = describe_merged(trained.bundle, kind="full", dtype=dtype)
        save_model(folder, model=model, tokenizer=trained.tokenizer, bundle=bundle)
        advice = "" if dtype == "float32" else "set export.dtype=float32 for a closer copy"
        return Written(bundle, form="merged into plain weights", advice=advice)

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Score with the folder read back from disk."""
        return score_calibrated(load_model(folder, device=device), input_ids)


FORMAT = MergedFormat()


def merge_calibrated(trained: LoadedClassifier, trained_folder: Path, *, base: str) -> Any:
    """Merge, and put the temperature into the head: then any softmax gives calibrated probabilities."""
    model = merge(trained, trained_folder, base=base)
    model.score.weight.data /= trained.bundle.temperature
    return model


def describe_merged(
    bundle: Bundle, *, kind: Literal["full", "onnx", "gguf"], dtype: Literal["bfloat16", "float16", "float32"]
) -> Bundle:
    """Say in a bundle that the weights are whole, plain and calibrated."""
    plain = {"quantization": QuantizationRecord(), "weights_dtype": None, "temperature": 1.0}
    return bundle.model_copy(update={**plain, "kind": kind, "dtype": dtype})


def merge(trained: LoadedClassifier, trained_folder: Path, *, base: str) -> Any:
    """Give the trained classifier as one plain float32 model.

    Args:
        trained: Says which base and how it was quantized; its own weights are left alone.
        base: "dequantized" or "original".
    """
    import copy

    import torch

    from qwenkit.modeling.adapters import attach_saved_adapter

    if trained.bundle.kind == "full":
        return copy.deepcopy(trained.model).to(torch.float32)
    device = next(trained.model.parameters()).device
    original = trained.bundle.model_copy(update={"quantization": QuantizationRecord()})
    source = trained.bundle if base == "dequantized" else original
    vocab_size = len(trained.tokenizer)
    plain = dequantize(load_adapter_base(source, trained_folder, vocab_size=vocab_size, device=device))
    # Merging into the quantized layers would round the sum to 4 bits again, and lose most of the adapter.
    return attach_saved_adapter(plain, trained_folder).merge_and_unload(safe_merge=True)
