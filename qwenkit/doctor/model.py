"""Facts about a classifier, from its folder on disk or as training would start it, and the checks of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwenkit.config import Config
from qwenkit.doctor.finding import Finding, fail, ok
from qwenkit.errors import ArtifactError
from qwenkit.modeling.quantization import HEAD_NAME
from qwenkit.saved import SavedModel

MODEL_CONFIG = "config.json"


@dataclass(frozen=True)
class Model:
    """Plain facts about a classifier.

    Attributes:
        pad_ids: Pad id by where it is written; None where it is not set.
        labels: Class names in id order, by where they are written.
        head_shape: Of the score head; None where there is no head.
        head_is_trained: It is trained, or for a saved model: saved.
        head_is_quantized: Its weights are stored in a few bits.
        not_finite: Names of weights that hold NaN or infinity.
    """

    pad_ids: Mapping[str, int | None]
    labels: Mapping[str, list[str]]
    head_shape: tuple[int, ...] | None
    head_is_trained: bool
    head_is_quantized: bool
    not_finite: list[str]


def read_saved(saved: SavedModel) -> Model:
    """Read a model folder; its base is not loaded.

    Raises:
        ArtifactError: The folder is changed, incomplete or contradicts itself in a way that no check names.
    """
    from qwenkit.artifacts import MANIFEST_NAME, verify
    from qwenkit.files import read_json
    from qwenkit.modeling.bundle import BUNDLE_NAME, read_bundle
    from qwenkit.modeling.foreign import infer_bundle
    from qwenkit.tokens.tokenizer import load_tokenizer

    folder, labels = saved.folder, {}
    if (folder / MANIFEST_NAME).is_file():
        verify(folder, deep=True)
    tokenizer = load_tokenizer(folder)
    pad_ids = {"tokenizer": tokenizer.pad_token_id}
    if (folder / BUNDLE_NAME).is_file():
        bundle = read_bundle(folder)
        pad_ids[BUNDLE_NAME], labels[BUNDLE_NAME] = bundle.pad_token_id, list(bundle.labels)
    else:
        # Refuses a folder that does not tell enough to be used.
        infer_bundle(folder, tokenizer)
    if (folder / MODEL_CONFIG).is_file():
        written = read_json(folder / MODEL_CONFIG)
        pad_ids[MODEL_CONFIG] = written.get("pad_token_id")
        names = {int(index): name for index, name in written.get("id2label", {}).items()}
        labels[MODEL_CONFIG] = [names[index] for index in sorted(names)]
    head, not_finite = _read_weights(folder)
    return Model(
        pad_ids=pad_ids,
        labels=labels,
        head_shape=None if head is None else tuple(head.shape),
        head_is_trained=head is not None,
        head_is_quantized=head is not None and not head.is_floating_point(),
        not_finite=not_finite,
    )


def _read_weights(folder: Path) -> tuple[Any, list[str]]:
    """Read all tensors of a folder, one at a time: the head, or None, and the names of those not finite."""
    from safetensors import safe_open

    from qwenkit.modeling.classifier import folder_errors

    head, not_finite = None, []
    with folder_errors(folder):
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118  # it is no mapping
                    tensor = file.get_tensor(name)
                    head = tensor if _is_head(name) else head
                    if tensor.is_floating_point() and not tensor.isfinite().all():
                        not_finite.append(name)
    return head, not_finite


def start_model(config: Config, *, tokenizer: Any) -> Model:
    """Load the base and put the adapter on, as training would, and look at the result.

    Raises:
        QwenkitError: It cannot be loaded; the message says why.
    """
    from qwenkit.modeling.adapters import apply_adapter
    from qwenkit.modeling.base import choose_device, load_base_model, resolve_dtype
    from qwenkit.modeling.identity import complete_identity, identify_base

    device, labels = choose_device(), config.model.labels
    tokens = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    model = load_base_model(
        complete_identity(identify_base(config.model), **tokens),
        quantization=config.quantization,
        labels=labels,
        device=device,
        dtype=resolve_dtype(config.model.dtype, device),
        seed=config.training.seed,
        max_length=config.tokenization.max_length,
        **tokens,
    )
    return look_at_model(apply_adapter(model, config.peft), tokenizer=tokenizer, labels=labels)


def look_at_model(model: Any, *, tokenizer: Any, labels: list[str]) -> Model:
    """Look at a classifier in memory.

    Args:
        labels: The classes of the config, in id order.
    """
    heads = [(name, weight) for name, weight in model.named_parameters() if _is_head(name)]
    # PEFT keeps the untrained original beside the copy that is trained.
    head = next((weight for name, weight in heads if ".original_module." not in name), None)
    names = model.config.id2label
    return Model(
        pad_ids={"tokenizer": tokenizer.pad_token_id, "model": model.config.pad_token_id},
        labels={"config": list(labels), "model": [names[index] for index in sorted(names)]},
        head_shape=None if head is None else tuple(head.shape),
        head_is_trained=head is not None and head.requires_grad,
        head_is_quantized=head is not None and not head.is_floating_point(),
        not_finite=[
            name
            for name, weight in model.named_parameters()
            if weight.is_floating_point() and not weight.isfinite().all()
        ],
    )


def check_pad_id(model: Model) -> Finding:
    """See that the pad id is set, and the same wherever it is written: pooling finds the last token by it."""
    told = ", ".join(f"{place} {pad_id}" for place, pad_id in model.pad_ids.items())
    if None in model.pad_ids.values():
        return fail(f"the pad id is not set everywhere: {told}", "set pad_token_id where it says None")
    if len(set(model.pad_ids.values())) > 1:
        return fail(
            f"the pad ids differ: {told}", "make them the tokenizer's, or take the model as it was published"
        )
    return ok(f"pad id {next(iter(model.pad_ids.values()))} everywhere")


def check_weights(model: Model) -> Finding:
    """See that no weight is NaN or infinite."""
    if model.not_finite:
        first = model.not_finite[0]
        return fail(
            f"{len(model.not_finite)} weights are not finite, e.g. {first}",
            "take an earlier checkpoint, or train again with a lower learning rate",
        )
    return ok("all weights are finite")


def check_head(model: Model) -> Finding:
    """See that the score head is there and is trained, or was saved."""
    if model.head_shape is None:
        return fail(
            "the score head is missing: scores would come from random weights",
            "train again with qwenkit, which always saves it",
        )
    if not model.head_is_trained:
        return fail("the score head is frozen", "leave it out of what is frozen; qwenkit train does")
    return ok(f"the score head is there, {model.head_shape[0]} x {model.head_shape[-1]}")


def check_head_storage(model: Model) -> Finding:
    """See that the score head was spared by quantization."""
    if model.head_is_quantized:
        return fail("the score head is quantized", "quantize again and skip `score`; qwenkit train does")
    return ok("the score head is not quantized")


def check_labels(model: Model, prepared: list[str] | None) -> Finding:
    """See that class names and their order agree: the order decides the sign of every score.

    Args:
        prepared: Those of the prepared data; None where there is none.
    """
    places = {**model.labels, **({"prepared data": prepared} if prepared else {})}
    told = "; ".join(f"{place}: {', '.join(names)}" for place, names in places.items())
    if len({tuple(names) for names in places.values()}) > 1:
        return fail(f"the label maps differ ({told})", "set model.labels in the order of the data's ids")
    first = next(iter(places.values()))
    if model.head_shape is not None and model.head_shape[0] != len(first):
        return fail(
            f"the head scores {model.head_shape[0]} classes, the labels are {', '.join(first)}",
            "set model.labels to the classes that it was trained on",
        )
    return ok(f"{', '.join(first)} everywhere")


def _is_head(name: str) -> bool:
    parts = name.split(".")
    return HEAD_NAME in parts and parts[-1] == "weight"


def require_tokenizer(config: Config, tokenized: Path | None) -> Any:
    """Load the tokenizer that training would use.

    Raises:
        ArtifactError: It is one that the data trains, and none is tokenized.
    """
    from qwenkit.tokens.tokenized import read_tokenizer
    from qwenkit.tokens.tokenizer import load_tokenizer

    if tokenized is not None:
        return read_tokenizer(tokenized)
    wanted, name = config.tokenization.tokenizer, config.model.name
    if wanted == "train" or (wanted == "auto" and name == "tiny"):
        raise ArtifactError("the tokenizer is made from the data, which is not tokenized: qwenkit tokenize")
    is_models = wanted in ("auto", name)
    return load_tokenizer(
        name if is_models else wanted, revision=config.model.revision if is_models else None
    )
