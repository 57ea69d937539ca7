"""qwenkit.json, which makes a model folder enough on its own, and saving of such folders."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qwenkit.errors import ArtifactError
from qwenkit.files import read_json, write_json
from qwenkit.modeling.classifier import (
    quiet_transformers,
)
from qwenkit.modeling.identity import BaseIdentity
from qwenkit.modeling.operating_point import OperatingPoint
from qwenkit.modeling.quantization import QuantizationRecord
from qwenkit.versions import package_versions

BUNDLE_NAME = "qwenkit.json"
SCHEMA_VERSION = 1


class TokenizerFlags(BaseModel):
    """How a text becomes ids, beside what the tokenizer's own files say."""

    model_config = ConfigDict(extra="forbid")

    split_special_tokens: bool = True
    """A text that holds <|endoftext|> must not be able to write the pad id."""

    truncation: bool = True


class Bundle(BaseModel):
    """Everything that evaluate, predict and export need to know about a model beside its weights."""

    model_config = ConfigDict(extra="forbid")

    schema_version: int = SCHEMA_VERSION
    kind: Literal["adapter", "full", "onnx", "gguf"]
    """An adapter beside a base that is loaded from elsewhere, or all the weights; onnx and gguf are for other
    programs."""

    base_model: BaseIdentity
    labels: list[str] = Field(min_length=2)
    """Class names in id order: column i of the logits is labels[i]."""

    label_mapping: dict[str, str | None] = Field(default_factory=dict)
    """Class name for each value that the label column held where it did not hold names; null: dropped."""

    positive_label: str
    pad_token_id: int = Field(ge=0)
    max_length: int = Field(ge=1)
    padding_side: Literal["right"] = "right"
    quantization: QuantizationRecord = QuantizationRecord()
    dtype: Literal["bfloat16", "float16", "float32"] = "float32"
    """What the forward computes in; bfloat16 weights, or float32 ones under autocast."""

    weights_dtype: Literal["bfloat16", "float32"] | None = None
    """What an adapter's base is loaded in where that is not dtype: float32, computed under autocast."""

    tokenizer: TokenizerFlags = TokenizerFlags()
    normalisation: list[str] = Field(default_factory=list)
    """Rules of text/normalize.py, in this order, that every text goes through before the tokenizer."""

    temperature: float = Field(1.0, gt=0)
    """Logits are divided by it before the softmax; operating points hold for what comes out."""

    operating_points: dict[str, OperatingPoint] = Field(default_factory=dict)
    """Thresholds chosen on validation when training ended, by name: fpr=0.01. Two classes only."""

    metrics: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=package_versions)

    @model_validator(mode="after")
    def _check_labels(self) -> "Bundle":
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels repeat a name: {self.labels}")
        if self.positive_label not in self.labels:
            raise ValueError(f"positive_label {self.positive_label} is not among the labels {self.labels}")
        return self


def write_bundle(folder: Path, bundle: Bundle) -> None:
    """Write qwenkit.json into a model folder."""
    write_json(folder / BUNDLE_NAME, bundle.model_dump())


def read_bundle(folder: Path) -> Bundle:
    """Read qwenkit.json of a model folder.

    Raises:
        ArtifactError: Missing, from a newer version, or not what it should be.
    """
    path = folder / BUNDLE_NAME
    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ArtifactError(
            f"{path} was written by a newer qwenkit (schema {version}, this one reads {SCHEMA_VERSION}): "
            "upgrade qwenkit."
        )
    try:
        return Bundle.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ArtifactError(f"{path} is not valid: {where}: {first['msg']}.") from error


def save_model(
    folder: Path, *, model: Any, tokenizer: Any, bundle: Bundle, weights: dict[str, Any] | None = None
) -> None:
    """Write a model folder that is enough on its own: weights as safetensors, tokenizer, qwenkit.json.

    An adapter's weights are the LoRA tensors, the score head and every other module that was trained whole.

    Args:
        weights: Of a sharded model, from gather_weights; None takes the model's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if bundle.kind == "adapter":
        from qwenkit.modeling.adapters import save_adapter

        base = bundle.base_model
        save_adapter(folder, model, base_name=base.name, revision=base.revision, weights=weights)
    else:
        with quiet_transformers():
            model.save_pretrained(folder, state_dict=weights)
    save_tokenizer(folder, tokenizer, bundle)
    write_bundle(folder, bundle)


def save_tokenizer(folder: Path, tokenizer: Any, bundle: Bundle) -> None:
    """Save the tokenizer so that other programs cut and split texts as they were in training."""
    import copy

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = bundle.max_length
    tokenizer.padding_side = bundle.padding_side
    # It is written to tokenizer_config.json only where the tokenizer was made with it.
    tokenizer.split_special_tokens = bundle.tokenizer.split_special_tokens
    tokenizer.init_kwargs["split_special_tokens"] = bundle.tokenizer.split_special_tokens
    tokenizer.save_pretrained(folder)
