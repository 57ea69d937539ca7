"""The Trainer, with what it does wrong for this task overridden in one place each.

What stays the library's: the loop, optimizer and schedule, clipping, resume, callbacks, distribution.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PrinterCallback, Trainer
from transformers.trainer_utils import EvalLoopOutput, TrainOutput

from qwenkit.artifacts import verify
from qwenkit.metrics import flatten_metrics
from qwenkit.training.checkpoints import (
    check_resume,
    export_callback_states,
    rotate_checkpoints,
    save_weights,
    set_aside_later_checkpoints,
    stage_checkpoint,
)
from qwenkit.training.loss import WeightedCrossEntropy
from qwenkit.training.plan import TrainingPlan
from qwenkit.training.progress import LogAtCheckpoints, ProgressReporter, TokenMeter
from qwenkit.training.steps import StepLoader, StepSampler, build_micro_batch, cut_step
from qwenkit.training.stopping import (
    DivergenceGuard,
    EvaluationStopped,
    StopOnRequest,
    StopRequest,
    raise_interrupted,
)
from qwenkit.training.validation import measure, predict_dataset


class QwenTrainer(Trainer):
    """Trains on whole optimizer steps, with one divisor a step and checkpoints that can be trusted.

    To change the loss, pass a `compute_loss_func` or override `compute_loss`, with the library's signatures.
    They see one micro-batch (input_ids, labels) and return its part of the step's loss: a sum divided by
    `num_items_in_batch`, which is the sum of class weights over the whole step and all ranks (the number of
    documents where classes weigh the same). A subclass whose loss is a mean over the micro-batch instead sets
    `loss_is_scaled_for_ga = False`; it is then weighted by the micro-batch's share of the step.
    """

    loss_is_scaled_for_ga: bool | None = None

    def __init__(
        self, *args: Any, plan: TrainingPlan, meter: TokenMeter | None = None, **kwargs: Any
    ) -> None:
        self.plan = plan
        self.meter = meter or TokenMeter()
        self._class_weights = torch.tensor(plan.class_weights, dtype=torch.float32)
        kwargs.setdefault("compute_loss_func", WeightedCrossEntropy(plan.class_weights))
        super().__init__(*args, **kwargs)
        # Its forward swallows num_items_in_batch without using it.
        self.model_accepts_loss_kwargs = False
        self.remove_callback(PrinterCallback)
        self.run_folder = Path(self.args.output_dir)
        self._stop_request = StopRequest()
        self._divergence = DivergenceGuard(run_folder=self.run_folder)
        self._is_evaluation_due = False
        # Last in line, so that they see what the other callbacks ask for.
        self.add_callback(LogAtCheckpoints)
        self.add_callback(self._divergence)
        self.add_callback(StopOnRequest(self._stop_request, run_folder=self.run_folder))

    # ---- Data ----

    def get_train_dataloader(self) -> DataLoader:
        """One item is this rank's share of one optimizer step."""
        sampler = StepSampler(
            len(self.train_dataset),
            documents_per_step=self.args.per_device_train_batch_size * self.args.world_size,
            seed=self.args.seed,
            rank=self.args.process_index,
            world_size=self.args.world_size,
        )
        return StepLoader(self.train_dataset, sampler=sampler, arguments=self.args)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Only carries the rows to evaluation_loop; the library's caches the first dataset it was given."""
        if isinstance(eval_dataset, str):
            eval_dataset = self.eval_dataset[eval_dataset]
        return DataLoader(self.eval_dataset if eval_dataset is None else eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> DataLoader:
        """Like get_eval_dataloader, for predict()."""
        return DataLoader(test_dataset)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | None]:
        """Fetch the next step and the divisor of its loss: the sum of class weights over all ranks."""
        samples = [step for _, step in zip(range(num_batches), epoch_iterator, strict=False)]
        if not samples:
            return samples, None
        divisor = (
            torch.stack([self._class_weights[step["labels"]].sum() for step in samples]).sum().to(device)
        )
        if self.args.world_size > 1:
            divisor = self.accelerator.gather(divisor).sum()
        return samples, divisor

    # ---- One step ----

    def training_step(
        self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Run a whole step: cut it, accumulate gradients over the micro-batches, synchronise ranks once.

        Returns:
            This rank's part of the step's loss, times the number of ranks; its mean over ranks is the loss.
        """
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        lengths = inputs["lengths"].tolist()
        cuts = cut_step(lengths, self.plan)
        losses = torch.stack(self._run_micro_batches(model, inputs, lengths, cuts, num_items_in_batch))
        self.meter.count_step(sum(lengths) * self.args.world_size)
        row_ids = [inputs["row_ids"][cut] for cut in cuts]
        self._divergence.record_losses(self.state.global_step + 1, losses, row_ids)
        return losses.sum()

    def _run_micro_batches(
        self, model: Any, inputs: dict[str, torch.Tensor], lengths: list[int], cuts: list[slice], divisor: Any
    ) -> list[torch.Tensor]:
        """Forward and backward of each; returns their parts of the step's loss, detached."""
        if not cuts:
            return [self._run_empty_share(model)]
        step = {name: tensor.to(self.args.device, non_blocking=True) for name, tensor in inputs.items()}
        losses = []
        for cut in cuts:
            # No mask: attention is causal and padding is on the right, so no token ever sees it.
            micro_batch = build_micro_batch(step, lengths, cut, self.plan)
            with nullcontext() if cut is cuts[-1] else self.accelerator.no_sync(model):
                losses.append(self._run_micro_batch(model, micro_batch, divisor))
        return losses

    def _run_micro_batch(
        self, model: Any, micro_batch: dict[str, torch.Tensor], divisor: Any
    ) -> torch.Tensor:
        labels = micro_batch["labels"]
        with self.compute_loss_context_manager():
            loss = self.compute_loss(model, {**micro_batch, "use_cache": False}, num_items_in_batch=divisor)
        if self.loss_is_scaled_for_ga is False:
            loss = loss * self._class_weights.to(labels.device)[labels].sum() / divisor
        # Ranks average their gradients, while the divisor is already that of all of them.
        loss = loss * self.args.world_size
        self.accelerator.backward(loss)
        return loss.detach()

    def _run_empty_share(self, model: Any) -> torch.Tensor:
        """Take part in the ranks' synchronisation without a document; the gradient is exactly zero."""
        any_token = int(self.plan.pad_token_id == 0)
        input_ids = torch.tensor([[any_token]], device=self.args.device)
        loss = model(input_ids=input_ids, use_cache=False).logits.float().sum() * 0.0
        self.accelerator.backward(loss)
        return loss.detach()

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Let the guard see each gradient norm."""
        grad_norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._divergence.record_grad_norm(grad_norm)
        return grad_norm

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Skip the epoch when a resumed run has nothing left to do; the library would take one more step."""
        if self.control.should_training_stop or self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing: the library's formula is for full training and walks all weights each step."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the speed to each log of a loss."""
        if "loss" in logs:
            logs["tokens_per_second"] = round(self.meter.read(), 1)
        super().log(logs, start_time)

    # ---- Evaluation ----

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
        label_ids = np.asarray(dataset["labels"], dtype=np.int64)
        metrics = measure(logits, label_ids, self.plan)
        if self.compute_metrics is not None:
            metrics |= self.compute_metrics(EvalPrediction(predictions=logits, label_ids=label_ids))
        numbers = flatten_metrics(metrics, prefix=f"{metric_key_prefix}_")
        return EvalLoopOutput(
            predictions=logits, label_ids=label_ids, metrics=numbers, num_samples=len(label_ids)
        )

    def _evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate between two steps; a stop request saves at once and leaves the evaluation to the resumed run."""
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

    # ---- Checkpoints ----

    def train(self, resume_from_checkpoint: str | Path | None = None, **kwargs: Any) -> TrainOutput:
        """Train from the start, or on from a checkpoint of this very run.

        Raises:
            ArtifactError: The checkpoint is broken, or of a run with other data or settings.
            DivergedError: A loss or gradient was not finite.
            Interrupted: Ctrl-C or SIGTERM came; a checkpoint was written.
        """
        resume, counts = None, {"step": 0}
        if resume_from_checkpoint is not None:
            resume = str(resume_from_checkpoint)
            counts = check_resume(Path(resume), self.plan.record).counts
        self._is_evaluation_due = self.args.eval_on_start = counts.get("is_evaluation_due", False)
        if self.args.should_save:
            set_aside_later_checkpoints(self.run_folder, counts["step"])
        try:
            with self._stop_request.listening():
                output = super().train(resume_from_checkpoint=resume, **kwargs)
        finally:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ProgressReporter):
                    callback.close()
        if self._stop_request.signal_number:
            raise_interrupted(self._stop_request, self.run_folder, step=self.state.global_step)
        return output

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
                self.save_model(str(folder), _internal_call=True)
                self._save_optimizer_and_scheduler(str(folder))
                self._save_scaler(str(folder))
                self._save_rng_state(str(folder))
                if self.args.should_save:
                    self._write_state(folder)
            if self.args.should_save:
                best = self.state.best_model_checkpoint
                rotate_checkpoints(self.run_folder, limit=self.plan.save_total_limit, best=best)

    def _count_progress(self) -> dict[str, Any]:
        counts = {"step": self.state.global_step, "epoch": self.state.epoch}
        return counts | ({"is_evaluation_due": True} if self._is_evaluation_due else {})

    def _write_state(self, folder: Path) -> None:
        callbacks = [*self.callback_handler.callbacks, self.control]
        self.state.stateful_callbacks = export_callback_states(callbacks)
        self.state.save_to_json(str(folder / "trainer_state.json"))
        if self.plan.write_extra is not None:
            self.plan.write_extra(folder)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the model alone: no training_args.bin, a pickle that may hold a token."""
        if not self.args.should_save:
            return
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        save_weights(model, Path(output_dir or self.args.output_dir), state_dict=state_dict)

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
        verify(Path(self.state.best_model_checkpoint), deep=True)
        super()._load_best_model()
