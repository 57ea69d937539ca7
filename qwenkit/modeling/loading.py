"""Loads any classifier folder back, exactly as it was saved."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwenkit.artifacts import MANIFEST_NAME, verify
from qwenkit.console import safe_text
from qwenkit.errors import ArtifactError
from qwenkit.modeling.base import choose_device, load_base_model
from qwenkit.modeling.bundle import BUNDLE_NAME, Bundle, read_bundle
from qwenkit.modeling.classifier import (
    describe_classes,
    folder_errors,
    load_classifier_class,
    quiet_transformers,
)
from qwenkit.modeling.quantization import quiet_bitsandbytes
from qwenkit.text.normalize import RULES


@dataclass
class LoadedClassifier:
    """A model ready to score: eval mode, on its device, nothing trainable."""

    model: Any
    tokenizer: Any
    bundle: Bundle


def load_model(folder: Path, *, device: Any = None) -> LoadedClassifier:
    """Load any classifier folder: trained, checkpoint, export, or a foreign one whose config tells enough.

    Args:
        folder: Holds qwenkit.json, or a sequence classifier of transformers.
        device: None takes the GPU where there is one.

    Raises:
        ArtifactError: Missing, changed since it was published, incomplete, or it doesn't say enough.
    """
    quiet_bitsandbytes()
    from qwenkit.tokens.tokenizer import load_tokenizer

    folder = Path(folder)
    device = choose_device() if device is None else device
    _require_folder(folder)
    if (folder / MANIFEST_NAME).is_file():
        verify(folder, deep=True)
    bundle = inspect_model(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer.pad_token_id != bundle.pad_token_id:
        raise ArtifactError(
            f"{folder} contradicts itself: the tokenizer pads with id {tokenizer.pad_token_id}, "
            f"the model expects {bundle.pad_token_id}."
        )
    if bundle.kind == "adapter":
        from qwenkit.modeling.adapters import attach_saved_adapter

        base = load_adapter_base(bundle, folder, vocab_size=len(tokenizer), device=device)
        model = attach_saved_adapter(base, folder)
    else:
        model = _load_full(folder, bundle, device)
    return LoadedClassifier(model.requires_grad_(False).eval(), tokenizer, bundle)


def inspect_model(folder: Path) -> Bundle:
    """Describe a model folder that can be loaded, without reading its weights or importing torch.

    Raises:
        ArtifactError: There is none, or it doesn't say enough, or it is made for other programs.
    """
    _require_folder(folder)
    if (folder / BUNDLE_NAME).is_file():
        bundle = read_bundle(folder)
    else:
        from qwenkit.modeling.foreign import infer_bundle
        from qwenkit.tokens.tokenizer import load_tokenizer

        bundle = infer_bundle(folder, load_tokenizer(folder))
    if bundle.kind in ("onnx", "gguf"):
        raise ArtifactError(
            f"{folder} holds a model in the {bundle.kind} format, which other programs run (its README.md "
            "shows how): name the run that it was made from, or a merged export."
        )
    unknown = [name for name in bundle.normalisation if name not in RULES]
    if unknown:
        raise ArtifactError(
            f"{folder} wants its texts normalised first by rules that this version of qwenkit does not know "
            f"({', '.join(map(safe_text, unknown))}): upgrade qwenkit."
        )
    return bundle


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder: give a run's trained/, a checkpoint or an export.")


def load_adapter_base(bundle: Bundle, folder: Path, *, vocab_size: int, device: Any) -> Any:
    """Load the base model of the adapter in a folder again, pinned and quantized as it was in training."""
    return load_base_model(
        bundle.base_model,
        quantization=bundle.quantization,
        labels=bundle.labels,
        pad_token_id=bundle.pad_token_id,
        vocab_size=vocab_size,
        device=device,
        dtype=bundle.weights_dtype or bundle.dtype,
        seed=0,
        beside=folder,
    )


def _load_full(folder: Path, bundle: Bundle, device: Any) -> Any:
    from transformers import AutoConfig

    with folder_errors(folder), quiet_transformers():
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        describe_classes(config, bundle.labels, bundle.pad_token_id)
        # A label list of another length than the saved head is a mismatch, which raises.
        model, loading = load_classifier_class(str(folder), config=config, dtype="auto")
    for problem, names in (("lacks", loading["missing_keys"]), ("has unknown", loading["unexpected_keys"])):
        if names:
            raise ArtifactError(f"{folder} {problem} {len(names)} weights, e.g. {sorted(names)[0]}.")
    return model.to(device)
