"""Settings of the training run itself: the optimisation, when to stop, what each class weighs."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from qwenkit.config.section import RUNTIME_ONLY, Flag, Name, Section, Seed


def _require_folder_name(value: str) -> str:
    # The name becomes a folder below paths.root, beside these two.
    if value in ("datasets", "evaluations"):
        raise ValueError(f"{value} is a folder of the root that holds something else; choose another name")
    if value.startswith(".") or any(char in '/\\:*?"<>|' or not char.isprintable() for char in value):
        raise ValueError('expected the name of a folder: no leading dot and none of / \\ : * ? " < > |')
    return value


class Training(Section):
    """The optimisation. One step sees 32 x 8 = 256 documents, whatever the micro-batches."""

    section_name: ClassVar[str] = "training"

    num_train_epochs: float = Field(3.0, gt=0)
    """Passes over the train split."""
    max_steps: int = Field(-1, ge=-1)
    """Optimizer steps to take whatever the epochs; -1 goes by num_train_epochs."""
    per_device_train_batch_size: int = Field(32, ge=1)
    """Documents of a micro-batch, of which a step has gradient_accumulation_steps; --batch-size sets
    evaluation's too."""
    per_device_eval_batch_size: int = Field(32, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Documents a device in one forward pass of an evaluation, at full length: of short ones more fit."""
    gradient_accumulation_steps: int = Field(8, ge=1)
    """Micro-batches summed before one optimizer step: 32 x 8 = 256 documents, shared by all devices."""
    micro_batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Cut each step into micro-batches of at most this many tokens, padding included; auto tries before the
    first step how many the GPU's memory holds (4,096 on a CPU), and a resumed run keeps what was found; null
    cuts the step into gradient_accumulation_steps equal parts. Where it does not fit, it is halved."""
    gradient_checkpointing: Flag = False
    """Compute activations again in the backward pass: less memory for about half as much time more."""
    learning_rate: float = Field(1e-4, gt=0)
    """Highest learning rate, reached after the warm-up."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of AdamW."""
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    """Share of all steps in which the learning rate rises from 0."""
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"] = (
        "cosine"
    )
    """How the learning rate goes on after the warm-up."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target that is spread evenly over the classes, so that the model is less sure of itself.
    The evaluation's loss stays plain cross-entropy."""
    focal_gamma: float = Field(0.0, ge=0)
    """Focal loss: documents count less the surer they are told right; 0 is cross-entropy, 2 is usual."""
    max_grad_norm: float = Field(1.0, ge=0)
    """Longer gradients are cut to this norm; 0 never cuts."""
    optim: Literal[
        "adamw_torch_fused",
        "adamw_torch",
        "adamw_8bit",
        "paged_adamw_8bit",
        "paged_adamw_32bit",
        "adafactor",
        "sgd",
    ] = "adamw_torch_fused"
    """Optimizer. The 8-bit and paged ones (bitsandbytes) save memory in full fine-tuning, little in LoRA."""
    bf16: Flag = True
    """Compute in bfloat16 where the hardware can; elsewhere in float32."""
    compile: Flag = False
    """Compile the decoder layers with torch.compile: a minute before the first step, then faster ones at
    equal losses (a quarter faster on a CPU; on a GPU not measured yet)."""
    liger: Flag = False
    """Use Liger's fused kernels (pip install liger-kernel) for norms, rotary positions and the feed-forward
    part. Needs a GPU; what it gains there is not measured yet."""
    tf32: Flag = False
    """Round the factors of float32 products to 10 bits of mantissa where a GPU multiplies faster then; it
    matters with float32 weights, not in bfloat16. Steps only: documents are scored without it. What it gains
    is not measured yet."""
    eval_steps: int | None = Field(None, ge=1)
    """Steps between two evaluations; null is about a tenth of an epoch, a divisor of save_steps."""
    save_steps: int | None = Field(None, ge=1)
    """Steps between two checkpoints, a multiple of eval_steps; null is eval_steps."""
    save_total_limit: int | None = Field(3, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Checkpoints kept, the best one among them; null keeps all."""
    load_best_model_at_end: Flag = True
    """Go back to the best checkpoint when training ends; false keeps the last weights."""
    metric_for_best_model: Name = "eval_balanced_accuracy"
    """Validation metric that picks the best checkpoint and feeds early stopping."""
    greater_is_better: Flag = True
    """Whether a higher value of that metric is better; false for loss, log_loss, brier and ece."""
    logging_steps: int | None = Field(None, ge=1, json_schema_extra=RUNTIME_ONLY)
    """Steps between two logged losses; null is 1 below 10 steps an epoch, else about 20 times an epoch."""
    eval_samples: int | None = Field(None, ge=1)
    """Evaluate on a fixed, stratified subset of this many validation rows while training; null takes all."""
    dataloader_num_workers: int = Field(6, ge=0, json_schema_extra=RUNTIME_ONLY)
    """Processes that load batches; at most one less than there are CPU cores for each device."""
    dataloader_pin_memory: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Load into page-locked memory, from which a GPU copies faster."""
    dataloader_persistent_workers: Flag = Field(True, json_schema_extra=RUNTIME_ONLY)
    """Keep the loading processes from one epoch to the next."""
    seed: Seed = 42
    """Decides the order of the documents, the adapter's first weights and the dropout."""
    run_name: Annotated[Name, AfterValidator(_require_folder_name)] | None = Field(
        None, json_schema_extra=RUNTIME_ONLY
    )
    """Folder of the run below paths.root; null is <model>-<dataset>, with a number where that is taken."""
    rehearsal: Flag | Literal["auto"] = Field("auto", json_schema_extra=RUNTIME_ONLY)
    """Try a step on the longest documents, an evaluation batch and a checkpoint first, and hold the disk
    against those to come; auto does so where 50 steps or more are ahead."""
    resume_from_checkpoint: Name | None = Field(None, json_schema_extra=RUNTIME_ONLY)
    """Checkpoint folder to go on from, or auto for the newest valid one of this run."""


class EarlyStopping(Section):
    """Stop when the metric no longer gets better."""

    section_name: ClassVar[str] = "early_stopping"

    enabled: Flag = True
    """Stop early at all; wants load_best_model_at_end."""
    patience: int = Field(4, ge=1)
    """Evaluations without improvement before training stops."""
    threshold: float = Field(0.001, ge=0)
    """Least change of the metric that counts as improvement."""


class ClassWeights(Section):
    """What an error in each class weighs in the loss."""

    section_name: ClassVar[str] = "class_weights"

    enabled: Flag = True
    """Weight the loss by class; false weighs every document the same."""
    method: Literal["inverse_frequency", "manual"] = "inverse_frequency"
    """inverse_frequency computes them from the train split really used; manual takes manual_weights."""
    manual_weights: list[Annotated[float, Field(gt=0)]] | None = None
    """One weight a class, in the order of model.labels, for method: manual."""
