"""What the benchmarks of training train on, and the stock Trainer that they are held against.

Token ids are random, lengths like those of the RAID-derived sets: cut at 384 tokens, 275 on average, so that
micro-batches drawn at random are a quarter padding. Both sides take the same documents in the same steps.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import SequentialSampler
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from qwenkit.config import Config
from qwenkit.console import Console
from qwenkit.tracking import MetricsLog, Tracker
from qwenkit.training.build import build_trainer
from qwenkit.training.schedule import documents_per_step
from qwenkit.training.steps import StepSampler

LONGEST = 384
LABELS = ["AI_Generated", "Human_Written"]
PAD = 0


def draw_documents(count: int, *, vocab_size: int, longest: int = LONGEST, seed: int = 0) -> datasets.Dataset:
    """Draw tokenized documents: row_id, input_ids, length, labels."""
    rng = np.random.default_rng(seed)
    # A third reaches the cut; the mean over all is 275 of 384.
    lengths = np.minimum(rng.lognormal(np.log(0.8 * longest), 0.6, size=count), longest).astype(int)
    label_ids = rng.integers(0, 2, size=count)
    return datasets.Dataset.from_dict(
        {
            "row_id": np.arange(count),
            "input_ids": [rng.integers(1, vocab_size, size=length).tolist() for length in lengths],
            "length": lengths,
            "labels": label_ids,
        }
    )


def order_as_ours(documents: datasets.Dataset, config: Config) -> datasets.Dataset:
    """Lay the documents out in the order of our first epoch, for a loader that takes them as they lie."""
    sampler = StepSampler(
        documents["length"], documents_per_step=documents_per_step(config), seed=config.training.seed
    )
    return documents.select([row for step in sampler for row in step])


class Stopwatch(TrainerCallback):
    """Measures training from step to step, and what the model is really given.

    The first `skip` steps count for nothing but their loss: they allocate memory and may compile.
    """

    def __init__(self, model: Any, *, skip: int) -> None:
        self.losses: list[float] = []
        self._skip = skip
        self._device = next(model.parameters()).device
        self._padded_tokens = 0
        # It stays on the device, so that counting waits for nothing.
        self._real_tokens = torch.zeros((), dtype=torch.int64, device=self._device)
        self._marks: list[_Mark] = []
        self._hook = model.register_forward_pre_hook(self._count, with_kwargs=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget what was run to try how much fits."""
        self._padded_tokens = 0
        self._real_tokens.zero_()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note where a step ends."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        tokens = int(self._real_tokens.item())
        self._marks.append(_Mark(time.perf_counter(), time.process_time(), tokens, self._padded_tokens))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Keep the losses."""
        if logs and "loss" in logs:
            self.losses.append(logs["loss"])

    def finish(self) -> "Speed":
        """Give what was measured."""
        self._hook.remove()
        first, last = self._marks[self._skip - 1], self._marks[-1]
        return Speed(
            wall_seconds=last.wall - first.wall,
            cpu_seconds=last.cpu - first.cpu,
            tokens=last.tokens - first.tokens,
            waste=1 - last.tokens / last.padded_tokens,
            losses=self.losses,
        )

    def _count(self, module: Any, args: Any, kwargs: Any) -> None:
        self._padded_tokens += kwargs["input_ids"].numel()
        self._real_tokens += (kwargs["input_ids"] != PAD).sum()


@dataclass(frozen=True)
class _Mark:
    wall: float
    cpu: float
    tokens: int
    padded_tokens: int


@dataclass(frozen=True)
class Speed:
    """What a training run cost."""

    wall_seconds: float
    cpu_seconds: float
    tokens: int
    waste: float
    losses: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Real tokens a second."""
        return self.tokens / self.wall_seconds


class SequentialTrainer(Trainer):
    """The stock Trainer, but that it takes the documents as they lie."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)


def divide_by_step(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> torch.Tensor:
    """Compute a micro-batch's part of the step's loss; the Trainer's own is off by the accumulation."""
    return cross_entropy(outputs.logits.float(), labels, reduction="sum") / num_items_in_batch


def make_padding_tokenizer(vocab_size: int) -> Any:
    """Make the least tokenizer that DataCollatorWithPadding takes: it only pads."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({f"w{index}": index for index in range(vocab_size)}, unk_token="w1"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token=f"w{PAD}", padding_side="right")


def time_stock(
    model: Any,
    documents: datasets.Dataset,
    config: Config,
    folder: Path,
    *,
    vocab_size: int,
    skip: int = 1,
    bf16: bool = False,
    trainer_class: type[Trainer] = SequentialTrainer,
    **arguments: Any,
) -> Speed:
    """Train an epoch with the stock Trainer and its padding collator.

    Args:
        documents: In the order in which they are to be taken.
    """
    training, watch = config.training, Stopwatch(model, skip=skip)
    settings = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        num_train_epochs=1,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_steps=training.warmup_ratio,
        lr_scheduler_type=training.lr_scheduler_type,
        max_grad_norm=training.max_grad_norm,
        optim=training.optim,
        seed=training.seed,
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        label_names=["labels"],
        **arguments,
    )
    # On a machine with several GPUs it would train on all of them, ours on one.
    settings._n_gpu = min(settings.n_gpu, 1)
    trainer = trainer_class(
        model=model,
        args=settings,
        data_collator=DataCollatorWithPadding(
            make_padding_tokenizer(vocab_size), pad_to_multiple_of=config.tokenization.pad_to_multiple_of
        ),
        train_dataset=documents.remove_columns("row_id"),
        compute_loss_func=divide_by_step,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return watch.finish()


def time_ours(
    model: Any, documents: datasets.Dataset, config: Config, folder: Path, *, skip: int = 1
) -> Speed:
    """Train an epoch with our trainer, as the pipeline builds it, but without evaluation."""
    console = Console(quiet=True)
    watch = Stopwatch(model, skip=skip)
    trainer = build_trainer(
        model,
        config=config,
        train_dataset=documents,
        eval_dataset=None,
        pad_token_id=PAD,
        labels=LABELS,
        class_weights=None,
        run_folder=folder,
        console=console,
        tracker=Tracker(MetricsLog(folder / "metrics.jsonl"), console=console),
        callbacks=[watch],
    )
    trainer.train()
    return watch.finish()
