"""From our settings to the Trainer's: every rule that turns a config into TrainingArguments."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainingArguments

from qwenkit.training.schedule import (
    choose_eval_and_save_steps,
    choose_logging_steps,
    count_steps,
    documents_per_step,
)

if TYPE_CHECKING:
    from qwenkit.config import Config


def build_training_arguments(
    config: "Config",
    *,
    output_dir: Path,
    train_rows: int,
    has_validation: bool = True,
    has_gpu: bool = False,
    computes_in_bf16: bool = False,
) -> TrainingArguments:
    """Translate the config for the Trainer.

    One item of our loader is one rank's share of a whole optimizer step, so the Trainer accumulates nothing;
    `QwenTrainer.training_step` cuts it into micro-batches. Its batch size is that of the whole step: a step's
    documents, and with them the run, are the same on any number of ranks.

    Args:
        has_validation: Without validation rows nothing is evaluated and the last weights are kept.
        has_gpu: A CUDA device will train; without one everything stays on the CPU.
        computes_in_bf16: The forward runs under bfloat16 autocast.

    Raises:
        ConfigError: eval_steps and save_steps cannot go together.
    """
    training = config.training
    steps_per_epoch = count_steps(train_rows, documents_per_step(config))
    eval_steps, save_steps = choose_eval_and_save_steps(
        steps_per_epoch, eval_steps=training.eval_steps, save_steps=training.save_steps
    )
    workers = min(training.dataloader_num_workers, count_spare_cores())
    # accelerate's config file asks for a precision too, and it would hold in training alone, not in scoring.
    os.environ.pop("ACCELERATE_MIXED_PRECISION", None)
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        per_device_train_batch_size=documents_per_step(config),
        per_device_eval_batch_size=training.per_device_eval_batch_size,
        gradient_accumulation_steps=1,
        num_train_epochs=training.num_train_epochs,
        max_steps=training.max_steps,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        # A fraction below 1 counts as a share of all steps; warmup_ratio is gone from the library.
        warmup_steps=training.warmup_ratio,
        lr_scheduler_type=training.lr_scheduler_type,
        max_grad_norm=training.max_grad_norm,
        optim=training.optim,
        seed=training.seed,
        bf16=computes_in_bf16,
        use_cpu=not has_gpu,
        use_liger_kernel=training.liger,
        # Its fused losses are for language models: they replace forward with one that wants a lm_head.
        liger_kernel_config={"cross_entropy": False, "fused_linear_cross_entropy": False},
        logging_strategy="steps",
        logging_steps=training.logging_steps or choose_logging_steps(steps_per_epoch),
        # The filter hides a NaN loss from the log while its gradient is applied all the same.
        logging_nan_inf_filter=False,
        eval_strategy="steps" if has_validation else "no",
        eval_steps=eval_steps if has_validation else None,
        save_strategy="steps",
        save_steps=save_steps,
        # Rotation is ours: the library's goes by modification time.
        save_total_limit=None,
        save_only_model=False,
        load_best_model_at_end=training.load_best_model_at_end and has_validation,
        metric_for_best_model=training.metric_for_best_model if has_validation else None,
        greater_is_better=training.greater_is_better if has_validation else None,
        # Otherwise a resumed run starts early stopping with fresh patience.
        restore_callback_states_from_checkpoint=True,
        dataloader_num_workers=workers,
        dataloader_pin_memory=training.dataloader_pin_memory and has_gpu,
        dataloader_persistent_workers=training.dataloader_persistent_workers and workers > 0,
        remove_unused_columns=False,
        label_names=["labels"],
        # training_step scales by the number of ranks itself, whoever computes the loss.
        average_tokens_across_devices=False,
        # Every trainable tensor takes part in every step, so DDP need not search for those that don't.
        ddp_find_unused_parameters=False,
        # The only buffers are constants; sending them would tie each rank's first forward to the others'.
        ddp_broadcast_buffers=False,
        disable_tqdm=True,
        report_to="none",
        **_checkpointing_arguments(is_enabled=training.gradient_checkpointing),
    )
    # accelerate hands this on to torch under a name that torch calls deprecated, on every rank.
    warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
    # A CPU has no other memory to page to; the optimizer works all the same.
    warnings.filterwarnings(
        "ignore", message="Paged optimizers are not supported on CPU", category=UserWarning
    )
    # Several visible GPUs without torchrun would become DataParallel, which splits batches unasked.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def count_spare_cores() -> int:
    """Count the cores that this process may use for loading: one is its own, other ranks have theirs."""
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(len(os.sched_getaffinity(0)) // ranks - 1, 0)


def _checkpointing_arguments(*, is_enabled: bool) -> dict[str, Any]:
    """Switch recomputation of activations on or off under the name that the installed library has for it."""
    fields = TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
    # The re-entrant kind drops all LoRA gradients unless the embeddings' output is made to require one.
    return {name: is_enabled, f"{name}_kwargs": {"use_reentrant": False} if is_enabled else None}
