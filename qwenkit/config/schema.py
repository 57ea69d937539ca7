"""The whole config: every setting with its type, bounds, default and, below it, its help text.

The names are those of the scripts that this project grew out of, so that their files load.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from qwenkit.config.schema_model import Dataset, Model, Peft, Quantization, Tokenization
from qwenkit.config.schema_training import ClassWeights, EarlyStopping, Training
from qwenkit.config.section import (
    RUNTIME_ONLY,
    Flag,
    Name,
    Names,
    Section,
    Seed,
    Text,
    iterate_fields,
    iterate_settings,
)


def _require_project_name(value: str) -> str:
    # W&B's own rule, which otherwise shows when training is about to begin.
    if len(value) > 128 or set(value) & set("/\\#?%:"):
        raise ValueError("expected a W&B project: at most 128 characters and none of / \\ # ? % :")
    return value


class Evaluation(Section):
    """What is scored before and after training, and how results are kept."""

    section_name: ClassVar[str] = "evaluation"

    run_pre_training_eval: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Score the untrained model first, to have something to compare with."""
    run_post_training_eval: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Score the trained model on the whole test split, and again on the rows of the first evaluation."""
    pre_training_eval_samples: int = Field(1000, ge=1)
    """Test rows of the evaluation before training."""
    seed: Seed = 42
    """Decides which rows those are, and which ones robustness takes."""
    positive_label: Name | None = None
    """Class that scores speak for: a false positive is a text wrongly given it. Null is the first label."""
    batch_tokens: int | None = Field(None, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Tokens of one forward pass, padding included; null is per_device_eval_batch_size x max_length."""
    extra_target_fprs: list[Annotated[float, Field(gt=0, lt=1)]] = Field([])
    """Further false-positive rates to report beside 5 %, 1 % and 0.1 %; their thresholds are chosen on the
    stored validation predictions. --operating-point fpr=0.02 adds one."""
    slice_columns: Names = Field([])
    """Columns to slice the results by, beside domain, generator, attack, decoding, length and source."""
    bootstrap_draws: int = Field(1000, ge=200)
    """Draws behind each 95 % interval."""
    robustness: Flag = False
    """Score test rows again under the attacks of RAID and cut short, and what dataset.holdout kept out; about
    16 further passes over robustness_rows. --robustness turns it on."""
    robustness_rows: int = Field(1000, ge=2)
    """Rows of each of those passes, drawn with evaluation.seed, evenly by label and domain."""
    save_predictions: Flag = True
    """Write predictions.parquet and .csv: row id, label, logits and probability of every scored document."""


class Wandb(Section):
    """Weights & Biases. The key comes from WANDB_API_KEY or `wandb login`, never from here."""

    section_name: ClassVar[str] = "wandb"

    enabled: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Track the run there; metrics.jsonl is written in any case. --no-wandb turns it off."""
    project: Annotated[Name, AfterValidator(_require_project_name)] = Field(
        "qwenkit", json_schema_extra=RUNTIME_ONLY
    )
    """Project that the run belongs to."""
    entity: Name | None = Field(None, json_schema_extra=RUNTIME_ONLY)
    """User or team; null is the login's default."""
    name: Name | None = Field(None, json_schema_extra=RUNTIME_ONLY)
    """Name of the run there; null is the name of the run's folder."""
    tags: Names = Field([], json_schema_extra=RUNTIME_ONLY)
    """Tags beside dataset-<name>, which is always there."""
    notes: Text | None = Field(None, json_schema_extra=RUNTIME_ONLY)
    """Free text about the run."""
    log_model: Literal[False, "end"] = Field(False, json_schema_extra=RUNTIME_ONLY)
    """end uploads the trained folder when training is done; false uploads no weights."""
    upload_timeout: int = Field(60, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Seconds that this upload may take; then it is given up, and the command that does it is shown."""
    mode: Literal["online", "offline"] | None = Field(None, json_schema_extra=RUNTIME_ONLY)
    """online or offline; null is online where a key is found, else offline."""


class Export(Section):
    """What is made of the trained model for use elsewhere."""

    section_name: ClassVar[str] = "export"

    formats: list[Name] = Field(["merged"], json_schema_extra=RUNTIME_ONLY)
    """What `qwenkit run` exports: adapter, merged, onnx, gguf."""
    merge_base: Literal["dequantized", "original"] = "dequantized"
    """Base that the adapter is merged into: dequantized is the one it was trained on, decompressed; original
    is the published one, with which it never trained."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of a merged export's weights; auto keeps that of the trained model. (onnx is float32.)"""
    gguf_type: Literal["f32", "f16", "q8_0"] = "f16"
    """How a gguf export stores its matrices: q8_0 takes 8.5 bits a weight, f16 16, f32 32."""
    parity_rows: int = Field(256, ge=1)
    """Validation rows on which an export is compared with the trained model."""
    max_logit_difference: float = Field(0.1, ge=0)
    """Largest difference of a row's logits, in units of their spread over all rows where that is above 1."""
    max_label_flips: float = Field(0.01, ge=0, le=1)
    """Largest share of those rows that may differ by more than that, or change their predicted class."""


class Paths(Section):
    """Where things are written."""

    section_name: ClassVar[str] = "paths"

    root: Name = Field("output", json_schema_extra=RUNTIME_ONLY)
    """Folder that holds all data sets and runs; --root."""


class Config(Section):
    """All settings of qwenkit; what a file leaves out keeps its default."""

    model: Model = Field(default_factory=Model)
    dataset: Dataset = Field(default_factory=Dataset)
    tokenization: Tokenization = Field(default_factory=Tokenization)
    quantization: Quantization = Field(default_factory=Quantization)
    peft: Peft = Field(default_factory=Peft)
    training: Training = Field(default_factory=Training)
    early_stopping: EarlyStopping = Field(default_factory=EarlyStopping)
    class_weights: ClassWeights = Field(default_factory=ClassWeights)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    wandb: Wandb = Field(default_factory=Wandb)
    export: Export = Field(default_factory=Export)
    paths: Paths = Field(default_factory=Paths)


def setting_names() -> list[str]:
    """List the dotted names of all settings, in the order of the schema."""
    return [name for name, _ in iterate_fields(Config)]


def runtime_only_settings() -> frozenset[str]:
    """Name the settings that change where or how fast something is made, but not what."""
    return frozenset(
        name for name, field in iterate_fields(Config) if field.json_schema_extra == RUNTIME_ONLY
    )


def flatten_config(config: Config) -> dict[str, object]:
    """Give all settings by their dotted names, as plain values."""
    return dict(iterate_settings(config))
