"""One ordinary Qwen3ForSequenceClassification with the adapter merged in, as any server loads it."""

from pathlib import Path
from typing import Any

import numpy as np

from qwenkit.export.parity import score_calibrated
from qwenkit.modeling.bundle import (
    Bundle,
    LoadedClassifier,
    load_adapter_base,
    load_model,
    save_model,
)
from qwenkit.modeling.quantization import QuantizationRecord, dequantize


class MergedFormat:
    """Plain safetensors, no quantization, no PEFT, no remote code."""

    name = "merged"
    library = "transformers"

    def write(
        self, folder: Path, *, trained: LoadedClassifier, trained_folder: Path, settings: Any
    ) -> Bundle:
        """Merge in float32, then store in the export's dtype.

        The temperature goes into the head, so that any program's softmax gives the calibrated probabilities.

        Args:
            settings: Reads merge_base ("dequantized" keeps what the adapter was trained on, "original" takes
                the base before its quantization) and dtype ("auto" is what the model was trained in).
        """
        import torch

        bundle = trained.bundle
        dtype = bundle.dtype if settings.dtype == "auto" else settings.dtype
        model = merge(trained, trained_folder, base=settings.merge_base)
        model.score.weight.data /= bundle.temperature
        model.to(getattr(torch, dtype))
        plain = {"kind": "full", "quantization": QuantizationRecord(), "dtype": dtype, "weights_dtype": None}
        merged = bundle.model_copy(update={**plain, "temperature": 1.0})
        save_model(folder, model=model, tokenizer=trained.tokenizer, bundle=merged)
        return merged

    def score(self, folder: Path, input_ids: Any, *, device: Any) -> np.ndarray:
        """Score with the folder read back from disk."""
        return score_calibrated(load_model(folder, device=device), input_ids)


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
