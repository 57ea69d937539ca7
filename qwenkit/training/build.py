"""Puts a QwenTrainer together from the config: the one place where training's parts meet."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import is_torch_tf32_available

from qwenkit.console import Console
from qwenkit.modeling.compiled import compile_layers
from qwenkit.modeling.device import has_bf16
from qwenkit.tokens.tokenized import read_numbers
from qwenkit.training.arguments import build_training_arguments
from qwenkit.training.launcher import wants_sharding
from qwenkit.training.plan import RunRecord, TrainingPlan
from qwenkit.training.progress import ProgressReporter, StepLogger, TokenMeter, TrackerLogger
from qwenkit.training.schedule import documents_per_step
from qwenkit.training.stopping import EarlyStopping
from qwenkit.training.trainer import QwenTrainer
from qwenkit.training.validation import choose_stratified_rows

if TYPE_CHECKING:
    from qwenkit.config import Config


def build_trainer(
    model: Any,
    *,
    config: "Config",
    train_dataset: Any,
    eval_dataset: Any,
    pad_token_id: int,
    labels: Sequence[str],
    class_weights: Sequence[float] | None,
    positive_label: str | None = None,
    run_folder: Path,
    console: Console,
    tracker: StepLogger,
    record: RunRecord | None = None,
    write_extra: Callable[[Path], None] | None = None,
    callbacks: Sequence[Any] = (),
    trainer_class: type[QwenTrainer] = QwenTrainer,
    **trainer_options: Any,
) -> QwenTrainer:
    """Build the trainer of a run; call its train() next.

    Args:
        model: A sequence classifier with its trainable weights chosen.
        train_dataset: datasets.Dataset with row_id, input_ids, labels.
        eval_dataset: The same for validation; None trains without evaluation.
        class_weights: In id order; None weighs every document the same.
        positive_label: The class that ranking metrics look for; None is the first.
        run_folder: Where checkpoints go.
        record: What a resume must agree with. Rows, weights and the size of a step are added to its identity.
        write_extra: Adds to each checkpoint what makes it a model folder (tokenizer, qwenkit.json).
        callbacks: The user's own TrainerCallbacks.
        trainer_class: The user's own subclass.
        trainer_options: More for it, such as compute_loss_func, compute_metrics, optimizers.

    Raises:
        ConfigError: eval_steps and save_steps cannot go together, or the launcher asks for what is not done.
    """
    weights = [1.0] * len(labels) if class_weights is None else [float(weight) for weight in class_weights]
    has_gpu = torch.cuda.is_available()
    arguments = build_training_arguments(
        config,
        output_dir=run_folder,
        train_rows=len(train_dataset),
        has_validation=eval_dataset is not None,
        has_gpu=has_gpu,
        computes_in_bf16=_computes_in_bf16(model, is_wanted=config.training.bf16, has_gpu=has_gpu),
    )
    if config.training.compile:
        compile_layers(model)
    meter, budget = TokenMeter(), config.training.micro_batch_tokens
    trainer = trainer_class(
        model=model,
        args=arguments,
        plan=TrainingPlan(
            labels=list(labels),
            class_weights=weights,
            positive_label=positive_label,
            label_smoothing=config.training.label_smoothing,
            focal_gamma=config.training.focal_gamma,
            pad_token_id=pad_token_id,
            documents_per_micro_batch=config.training.per_device_train_batch_size,
            micro_batch_tokens=None if budget == "auto" else budget,
            probes_micro_batches=budget == "auto",
            eval_batch_tokens=config.evaluation.batch_tokens
            or config.training.per_device_eval_batch_size * config.tokenization.max_length,
            pad_to_multiple_of=config.tokenization.pad_to_multiple_of or 1,
            save_total_limit=config.training.save_total_limit,
            record=_complete_record(record or RunRecord(), weights, len(train_dataset), config),
            write_extra=write_extra,
            rehearsal=config.training.rehearsal,
            computes_in_tf32=config.training.tf32 and is_torch_tf32_available(),
            console=console,
        ),
        meter=meter,
        train_dataset=train_dataset,
        eval_dataset=_choose_eval_rows(eval_dataset, config),
        callbacks=[
            ProgressReporter(
                console, meter, tokens_per_epoch=int(read_numbers(train_dataset, "length").sum())
            ),
            TrackerLogger(tracker),
            *_early_stopping(config, has_validation=eval_dataset is not None),
            *callbacks,
        ],
        **trainer_options,
    )
    if trainer.is_fsdp_enabled and arguments.world_size > 1:
        console.info(f"weights, gradients and optimizer are spread over {arguments.world_size} ranks (FSDP2)")
    elif wants_sharding():
        console.warn("FSDP needs several processes on GPUs: here each one holds the whole model.")
    return trainer


def _computes_in_bf16(model: Any, *, is_wanted: bool, has_gpu: bool) -> bool:
    """Use autocast where the weights are bfloat16 (the head is not), or where it is wanted and pays."""
    has_bf16_weights = any(parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    return has_bf16_weights or (is_wanted and has_gpu and has_bf16())


def _complete_record(record: RunRecord, weights: list[float], train_rows: int, config: "Config") -> RunRecord:
    facts = {
        "class_weights": weights,
        "train_rows": train_rows,
        "documents_per_step": documents_per_step(config),
    }
    return RunRecord(settings=record.settings, inputs=record.inputs, identity={**record.identity, **facts})


def _choose_eval_rows(eval_dataset: Any, config: "Config") -> Any:
    size = config.training.eval_samples
    if eval_dataset is None or size is None:
        return eval_dataset
    rows = choose_stratified_rows(read_numbers(eval_dataset, "labels"), size=size, seed=config.training.seed)
    return eval_dataset.select(rows)


def _early_stopping(config: "Config", *, has_validation: bool) -> list[EarlyStopping]:
    settings = config.early_stopping
    if not (settings.enabled and has_validation):
        return []
    return [
        EarlyStopping(early_stopping_patience=settings.patience, early_stopping_threshold=settings.threshold)
    ]
