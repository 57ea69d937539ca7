"""The five stages as data: their order, folders, upstream, and every setting that decides what they make.

The pipeline takes fingerprints from here, `qwenkit status` walks it, and a test holds it against the schema:
each field of the config is read by a stage, resolved into an identity, or marked runtime-only there.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from qwenkit.artifacts import Staging, explain_staleness, fingerprint, publish, read_manifest, verify
from qwenkit.console import safe_text
from qwenkit.errors import ArtifactError, BusyError

SPLITS = ("train", "validation", "test")
"""Of every data set, in this order; prepared data may have further test splits (data/holdout.py)."""


@dataclass(frozen=True)
class Stage:
    """One stage, and what its output depends on.

    Attributes:
        folder: Name of the folder that it publishes (a past participle).
        settings: Dotted names of the settings in its fingerprint; `section.*` is the whole section.
        resolved: Settings that enter as what they led to (a revision, a hash), not as they are written.
        upstream: Stages whose artifacts it reads.
        revision: Counted up when a change of the code changes the output.
    """

    name: str
    folder: str
    settings: tuple[str, ...]
    resolved: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    revision: int = 1

    def reads(self, name: str) -> bool:
        """Tell whether a setting, by dotted name, is in this stage's fingerprint."""
        return any(fnmatchcase(name, pattern) for pattern in self.settings)

    def read_settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Pick this stage's settings out of all of them, given by dotted name."""
        return {name: value for name, value in values.items() if self.reads(name)}


PREPARE = Stage(
    name="prepare",
    folder="prepared",
    settings=(
        "model.labels",
        "model.text_column",
        "model.label_column",
        "model.label_mapping",
        "dataset.train_split",
        "dataset.validation_split",
        "dataset.test_split",
        "dataset.split_ratios",
        "dataset.shuffle_seed",
        "dataset.max_rows",
        "dataset.streaming",
        "dataset.max_train_samples",
        "dataset.max_validation_samples",
        "dataset.max_test_samples",
        "dataset.domain_column",
        "dataset.deduplicate",
        "dataset.near_duplicates.*",
        "dataset.group_columns",
        "dataset.leakage",
        "dataset.holdout",
        "dataset.normalize",
        "dataset.augment.attacks",
        "dataset.augment.share",
        "dataset.augment.paraphrase_prompt",
        "evaluation.positive_label",
        "class_weights.*",
    ),
    resolved=(
        "dataset.name",
        "dataset.path",
        "dataset.revision",
        "dataset.config_name",
        "dataset.augment.paraphraser",
    ),
    revision=2,
)

TOKENIZE = Stage(
    name="tokenize",
    folder="tokenized",
    settings=("tokenization.max_length", "tokenization.truncation", "tokenization.vocab_size"),
    resolved=("tokenization.tokenizer",),
    upstream=("prepare",),
)

TRAIN = Stage(
    name="train",
    folder="trained",
    settings=(
        "model.dtype",
        "model.tiny.*",
        "tokenization.pad_to_multiple_of",
        "quantization.*",
        "peft.*",
        "training.num_train_epochs",
        "training.max_steps",
        "training.per_device_train_batch_size",
        "training.gradient_accumulation_steps",
        "training.micro_batch_tokens",
        "training.gradient_checkpointing",
        "training.learning_rate",
        "training.weight_decay",
        "training.warmup_ratio",
        "training.lr_scheduler_type",
        "training.label_smoothing",
        "training.focal_gamma",
        "training.max_grad_norm",
        "training.optim",
        "training.bf16",
        "training.compile",
        "training.liger",
        "training.tf32",
        "training.eval_steps",
        "training.save_steps",
        "training.load_best_model_at_end",
        "training.metric_for_best_model",
        "training.greater_is_better",
        "training.eval_samples",
        "training.seed",
        "early_stopping.*",
    ),
    resolved=("model.name", "model.revision"),
    upstream=("prepare", "tokenize"),
    revision=2,
)

EVALUATE = Stage(
    name="evaluate",
    folder="evaluated",
    settings=(
        "evaluation.save_predictions",
        "evaluation.extra_target_fprs",
        "evaluation.slice_columns",
        "evaluation.bootstrap_draws",
        "evaluation.robustness",
        "evaluation.robustness_rows",
        "evaluation.seed",
    ),
    # It chooses the rows of the evaluation before training, and only there decides anything.
    resolved=("evaluation.pre_training_eval_samples",),
    upstream=("prepare", "train"),
    revision=2,
)

EXPORT = Stage(
    name="export",
    folder="exported",
    settings=(
        "export.merge_base",
        "export.parity_rows",
        "export.max_logit_difference",
        "export.max_label_flips",
    ),
    # Each decides one format, whose identity holds it: another value leaves the other exports up to date.
    resolved=("export.dtype", "export.gguf_type"),
    upstream=("train",),
)

STAGES = (PREPARE, TOKENIZE, TRAIN, EVALUATE, EXPORT)


@dataclass(frozen=True)
class StagePlan:
    """What a stage would make with everything that is known now, and where it would lie."""

    stage: Stage
    folder: Path
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    identity: Mapping[str, Any]
    seed: int | None = None

    @property
    def fingerprint(self) -> str:
        """Name what this plan makes."""
        return fingerprint(
            stage=self.stage.name,
            revision=self.stage.revision,
            settings=self.settings,
            inputs=self.inputs,
            identity=self.identity,
        )

    def find_reasons_to_redo(self) -> list[str]:
        """Compare with what lies on disk; an empty list means that it is up to date."""
        try:
            manifest = read_manifest(self.folder)
            if manifest is None:
                return ["not made yet"]
            if manifest.fingerprint != self.fingerprint:
                return explain_staleness(
                    manifest, settings=self.settings, inputs=self.inputs, identity=self.identity
                )
            verify(self.folder, deep=False)
        except ArtifactError as error:
            return [str(error)]
        return []

    def refuse_foreign(self) -> None:
        """Refuse a place that holds anything but what this stage made: publishing there replaces all of it.

        Raises:
            BusyError: A user's own files, or what another stage made, would be lost.
        """
        shown = safe_text(str(self.folder))
        if self.folder.is_file():
            raise BusyError(f"{shown} is a file, where a folder is to be written: name another place.")
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        if not names:
            return
        try:
            manifest = read_manifest(self.folder)
        except ArtifactError:
            # An artifact that was damaged, which is made again.
            return
        if manifest is None:
            raise BusyError(
                f"{shown} holds other files, such as {safe_text(names[0])}, which would all be lost: "
                "name a new or an empty folder."
            )
        if manifest.stage != self.stage.name:
            raise BusyError(
                f"{shown} holds what `{manifest.stage}` made, which would be lost: name another folder."
            )

    def publish(self, *, replace: bool) -> AbstractContextManager[Staging]:
        """Open a staging folder for this plan; see artifacts.publish.

        Raises:
            BusyError: Something else lies there.
        """
        self.refuse_foreign()
        return publish(
            self.folder,
            stage=self.stage.name,
            fingerprint=self.fingerprint,
            settings=self.settings,
            inputs=self.inputs,
            identity=self.identity,
            seed=self.seed,
            replace=replace,
        )
