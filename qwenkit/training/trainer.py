"""The trainer of a run: steps, evaluations, checkpoints, and a way to stop between any two of them.

What the library does wrong for this task is overridden in one place each; its loop, optimizer and schedule,
clipping, resume, callbacks and distribution stay as they are.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, set_seed
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from qwenkit.artifacts import verify
from qwenkit.metrics import flatten_metrics
from qwenkit.modeling.kernels import fused_attention, library_module_kept
from qwenkit.modeling.precision import adapter_inputs_kept
from qwenkit.modeling.sharding import gather_weights, load_weights
from qwenkit.ranks import find_ranks
from qwenkit.tokens.tokenized import read_numbers
from qwenkit.training.checkpoints import (
    check_resume,
    rotate_checkpoints,
    save_weights,
    set_aside_later_checkpoints,
    stage_checkpoint,
    write_checkpoint,
)
from qwenkit.training.micro_batches import recall_micro_batches, record_micro_batches
from qwenkit.training.probe import settle_micro_batches
from qwenkit.training.progress import LogAtCheckpoints, ProgressReporter
from qwenkit.training.rehearsal import is_rehearsal_due, rehearse, remove_rehearsal
from qwenkit.training.sharding import gather_optimizer, load_optimizer
from qwenkit.training.step_trainer import StepTrainer
from qwenkit.training.stopping import EvaluationStopped, StopOnRequest, StopRequest, raise_interrupted
from qwenkit.training.validation import measure, predict_dataset


class QwenTrainer(StepTrainer):
    """A StepTrainer that measures all rows as a whole and whose checkpoints can be trusted."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.run_folder = Path(self.args.output_dir)
        self._stop_request = StopRequest()
        self._is_evaluation_due = False
        # Last in line, so that they see what the other callbacks ask for.
        self.add_callback(LogAtCheckpoints)
        self.add_callback(self._divergence)
        self.add_callback(StopOnRequest(self._stop_request, run_folder=self.run_folder))

    # ---- Evaluation ----

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Only carries the rows to evaluation_loop; the library's caches the first dataset it was given."""
        if isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        return DataLoader(self.eval_dataset if eval_dataset is None else eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """Like get_eval_dataloader, for predict()."""
        return DataLoader(test_dataset)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate as the library does, outside the measured training time."""
        with self.meter.paused():
            return dict(super().evaluate(*args, **kwargs))

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Predict all rows and measure them as a whole; the library averages the losses of unequal batches.

        Returns:
            Logits float32 (rows, classes) and label ids (rows,) in row order, and every single number of
            qwenkit.metrics under the prefix; the loss is the weighted cross-entropy over all rows.
        """
        self._divergence.check()
        dataset: Any = dataloader.dataset
        # Several ranks have to stop together, so they wait for the end of an evaluation.
        may_stop = self.is_in_train and self.args.world_size == 1
        on_batch = self._stop_request.check_between_batches if may_stop else None
        logits = predict_dataset(self.model, dataset, self.plan, self.args, on_batch=on_batch)
        label_ids = read_numbers(dataset, "labels").astype(np.int64)
        metrics = measure(logits, label_ids, self.plan)
        if self.compute_metrics is not None:
            metrics |= self.compute_metrics(EvalPrediction(predictions=logits, label_ids=label_ids))
        numbers = flatten_metrics(metrics, prefix=f"{metric_key_prefix}_")
        return EvalLoopOutput(
            predictions=logits, label_ids=label_ids, metrics=numbers, num_samples=len(label_ids)
        )

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate between two steps; a stop request saves at once and leaves this to the resumed run."""
        try:
            metrics = super()._evaluate(*args, **kwargs)
        except EvaluationStopped:
            self._is_evaluation_due = True
            self._save_checkpoint(self.model, None)
            raise_interrupted(self._stop_request, self.run_folder, step=self.state.global_step)
        if self._is_evaluation_due:
            self._is_evaluation_due = False
            self._determine_best_metric(metrics, None)
        return metrics

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Save whenever there is a new best, so that it can be loaded at the end whatever save_steps is."""
        is_new_best = bool(super()._determine_best_metric(metrics, trial))
        if is_new_best and self.args.load_best_model_at_end:
            self.control.should_save = True
        return is_new_best

    # ---- The run ----

    def train(self, resume_from_checkpoint: str | Path | None = None, **kwargs: Any) -> TrainOutput:
        """Train from the start, or on from a checkpoint of this very run.

        Raises:
            ArtifactError: The checkpoint is broken, or of a run with other data or settings.
            DivergedError: A loss or gradient was not finite.
            Interrupted: Ctrl-C or SIGTERM came; a checkpoint was written.
        """
        resume: str | None = None
        counts: dict[str, Any] = {"step": 0}
        if resume_from_checkpoint is not None:
            resume = str(resume_from_checkpoint)
            counts = check_resume(Path(resume), self.plan.record).counts
            self.plan = recall_micro_batches(self.plan, counts)
        if self.args.should_save:
            set_aside_later_checkpoints(self.run_folder, counts["step"])
            remove_rehearsal(self.run_folder)
        # What else ran in this process since the trainer was made must not change the dropout.
        set_seed(self.args.seed)
        self._is_evaluation_due = counts.get("is_evaluation_due", False)
        wants_eval_on_start = self.args.eval_on_start
        self.args.eval_on_start = wants_eval_on_start or self._is_evaluation_due
        try:
            with (
                self._stop_request.listening(),
                fused_attention(),
                library_module_kept(self.model),
                adapter_inputs_kept(self.model, is_wanted=self.args.bf16),
            ):
                output = super().train(resume_from_checkpoint=resume, **kwargs)
        finally:
            self.args.eval_on_start, self.is_in_train = wants_eval_on_start, False
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ProgressReporter):
                    callback.close()
        if self._stop_request.is_heard_by_any():
            raise_interrupted(self._stop_request, self.run_folder, step=self.state.global_step)
        return output

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        """Settle the size of the micro-batches and rehearse, now that model and optimizer are in place."""
        model, loader = super()._prepare_for_training(*args, **kwargs)
        steps_left = self.state.max_steps - self.state.global_step
        if steps_left > 0:
            settle_micro_batches(self, model)
        if is_rehearsal_due(self.plan.rehearsal, steps_left=steps_left):
            rehearse(self, model)
        return model, loader

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Skip the epoch when a resumed run has nothing left to do; the library would take one more step."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    # ---- Checkpoints ----

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint that is whole or not there, then delete what is over the limit."""
        self._divergence.check()
        with self.meter.paused():
            target = self.run_folder / f"checkpoint-{self.state.global_step}"
            self._point_at_best(target)
            with stage_checkpoint(
                target,
                record=self.plan.record,
                seed=self.args.seed,
                counts=self._count_progress(),
                is_main=self.args.should_save,
                world_size=self.args.world_size,
            ) as folder:
                write_checkpoint(self, folder, write_extra=self.plan.write_extra)
            if self.args.should_save:
                best = self.state.best_model_checkpoint
                rotate_checkpoints(self.run_folder, limit=self.plan.save_total_limit, best=best)

    def _count_progress(self) -> dict[str, Any]:
        counts = {"step": self.state.global_step, "epoch": self.state.epoch}
        counts |= {"micro_batches": record_micro_batches(self.plan)}
        return counts | ({"is_evaluation_due": True} if self._is_evaluation_due else {})

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the model alone: no training_args.bin, a pickle that may hold a token."""
        if not self.args.should_save:
            return
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(model, folder, weights=state_dict)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model as one process would; the library's files of a sharded one need all its ranks."""
        if not self.is_fsdp_enabled:
            super().save_model(output_dir, _internal_call)
            return
        self._save(output_dir, state_dict=gather_weights(self.model))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save them under the same names, and in the same form, from however many ranks."""
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        # The main rank may still write the weights; see stage_checkpoint.
        find_ranks().gather(None)
        state = gather_optimizer(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir, OPTIMIZER_NAME))
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, SCHEDULER_NAME))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load a checkpoint's weights; each rank takes its part of sharded ones."""
        if not self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_weights(self.model, Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load them; each rank takes its part of a sharded optimizer's state.

        The library's own, up to transformers 5.17, cannot do it on ranks without a GPU.
        """
        if checkpoint is None:
            return
        path = Path(checkpoint, OPTIMIZER_NAME)
        if self.is_fsdp_enabled:
            load_optimizer(self.optimizer, path)
        else:
            self.optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint, SCHEDULER_NAME), weights_only=True))

    def _point_at_best(self, target: Path | None = None) -> None:
        """Name the best checkpoint by where it lies in this run, not in staging or where the run once lay."""
        if not self.state.best_global_step:
            return
        best = self.run_folder / f"checkpoint-{self.state.best_global_step}"
        if best == target or best.is_dir():
            self.state.best_model_checkpoint = str(best)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """Find the best checkpoint even where nothing was saved since a resume, or the run was moved."""
        self._point_at_best()
        return super()._finalize_training(*args, **kwargs)

    def _load_best_model(self) -> None:
        """Load the best weights, but only if every byte is as it was written."""
        best = self.state.best_model_checkpoint
        verify(Path(best), deep=True)
        if self.is_fsdp_enabled:
            self._load_from_checkpoint(best)
        else:
            super()._load_best_model()
