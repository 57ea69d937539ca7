"""What a run needs beyond the Trainer's own arguments."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from qwenkit.artifacts import fingerprint
from qwenkit.console import Console

CHECKPOINT_STAGE = "checkpoint"
CHECKPOINT_REVISION = 1


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What decides the course of a run, kept in each checkpoint: a resume must agree with all of it.

    Attributes:
        settings: Settings that training reads, by dotted name.
        inputs: Fingerprints of the artifacts trained on.
        identity: What was really used: base model revision, class weights, rows; not the number of ranks.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Name the run that these facts decide."""
        return fingerprint(
            stage=CHECKPOINT_STAGE,
            revision=CHECKPOINT_REVISION,
            settings=self.settings,
            inputs=self.inputs,
            identity=self.identity,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """How steps are cut, weighed, measured and kept.

    Attributes:
        labels: Class names in id order.
        class_weights: Weights of the loss in id order.
        positive_label: The class that ranking metrics look for; None is the first.
        label_smoothing, focal_gamma: See WeightedLoss.
        pad_token_id: Of the tokenizer and the model's config.
        documents_per_micro_batch: Size of a step's equal parts; counts only without a token budget.
        micro_batch_tokens: Token budget of a micro-batch, padding included.
        probes_micro_batches: That budget is still to be found, by trying before the first step.
        eval_batch_tokens: The same for prediction.
        save_total_limit: Checkpoints that may stay; None keeps all.
        record: What a resume must agree with.
        write_extra: Adds to each checkpoint what makes it a model folder (tokenizer, qwenkit.json).
        rehearsal: Whether to try everything before the first step; auto does so before long runs.
        computes_in_tf32: A step's float32 products are rounded to TF32; a pass over validation's never are.
        console: Told what a person should know while training goes on.
    """

    labels: Sequence[str]
    class_weights: Sequence[float]
    pad_token_id: int
    documents_per_micro_batch: int
    eval_batch_tokens: int
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0
    micro_batch_tokens: int | None = None
    probes_micro_batches: bool = False
    pad_to_multiple_of: int = 8
    positive_label: str | None = None
    save_total_limit: int | None = None
    record: RunRecord = field(default_factory=RunRecord)
    write_extra: Callable[[Path], None] | None = None
    rehearsal: bool | Literal["auto"] = False
    computes_in_tf32: bool = False
    console: Console = field(default_factory=Console)
