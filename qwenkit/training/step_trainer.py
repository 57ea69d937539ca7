"""The Trainer's loop over whole optimizer steps: loading them, cutting them, dividing their loss once."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer

from qwenkit.errors import ResourceError
from qwenkit.exhaustion import is_out_of_memory
from qwenkit.modeling.classifier import no_mask_arguments
from qwenkit.modeling.kernels import tf32_products
from qwenkit.modeling.sharding import gather
from qwenkit.ranks import Ranks, find_ranks
from qwenkit.tokens.tokenized import read_numbers
from qwenkit.training.loss import WeightedLoss
from qwenkit.training.micro_batches import (
    RandomState,
    describe_micro_batches,
    free_cached_memory,
    halve_micro_batches,
)
from qwenkit.training.plan import TrainingPlan
from qwenkit.training.progress import TokenMeter, read_peak_memory_gib
from qwenkit.training.sharding import prepare_plugin
from qwenkit.training.steps import StepLoader, StepSampler, build_micro_batch, cut_step
from qwenkit.training.stopping import DivergenceGuard


class StepTrainer(Trainer):
    """Trains on whole optimizer steps; one item of its loader is one rank's share of one step.

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
        loss = WeightedLoss(
            plan.class_weights, label_smoothing=plan.label_smoothing, focal_gamma=plan.focal_gamma
        )
        kwargs.setdefault("compute_loss_func", loss)
        super().__init__(*args, **kwargs)
        # Its forward swallows num_items_in_batch without using it.
        self.model_accepts_loss_kwargs = False
        if self.is_fsdp_enabled:
            plugin = self.accelerator.state.fsdp_plugin
            prepare_plugin(plugin, self.model, computes_in_bf16=self.args.bf16)
        self.remove_callback(PrinterCallback)
        self._divergence = DivergenceGuard(run_folder=Path(self.args.output_dir))

    def get_train_dataloader(self) -> DataLoader:
        """One item is this rank's share of one optimizer step."""
        sampler = StepSampler(
            read_numbers(self.train_dataset, "length"),
            documents_per_step=self.args.per_device_train_batch_size,
            seed=self.args.seed,
            ranks=Ranks(self.args.process_index, self.args.world_size),
        )
        return StepLoader(self.train_dataset, sampler=sampler, arguments=self.args)

    def get_total_train_batch_size(self, args: Any) -> int:
        """Count a step's documents; the library takes them for those of one rank, and its speeds with it."""
        return int(args.per_device_train_batch_size)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], torch.Tensor | None]:
        """Fetch the next step and the divisor of its loss: the sum of class weights over all ranks."""
        samples = [step for _, step in zip(range(num_batches), epoch_iterator, strict=False)]
        if not samples:
            return samples, None
        divisor = torch.stack([self._class_weights[step["labels"]].sum() for step in samples]).sum()
        # Without waiting: the step before may still be running.
        divisor = divisor.to(device, non_blocking=True)
        if self.args.world_size > 1:
            divisor = self.accelerator.gather(divisor).sum()
        return samples, divisor

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
        cuts, losses = self._run_step(model, inputs, lengths, num_items_in_batch)
        self.meter.count_step(sum(lengths) * self.args.world_size)
        row_ids = [inputs["row_ids"][cut] for cut in cuts]
        self._divergence.record_losses(self.state.global_step + 1, losses, row_ids)
        return losses.sum()

    def _run_step(
        self, model: Any, inputs: dict[str, torch.Tensor], lengths: list[int], divisor: Any
    ) -> tuple[list[slice], torch.Tensor]:
        """Run a step's micro-batches, and all of them again, cut finer, where the memory is too small.

        Returns:
            How it was cut in the end, and each micro-batch's part of the loss, shape (micro-batches,).

        Raises:
            ResourceError: Not even single documents fit, or other ranks have their part of the gradient.
        """
        wanted, random_state = self.plan, RandomState.capture(self.args.device)
        while True:
            cuts, losses = self._cut_share(lengths), list[torch.Tensor]()
            try:
                self._run_micro_batches(model, inputs, lengths, cuts, divisor, losses)
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._check_repeatable(is_last=len(losses) + 1 >= len(cuts), cause=error)
                self.plan = halve_micro_batches(self.plan, lengths)
            # Only now is the error gone, and with it the frames that hold the failed activations.
            model.zero_grad()
            random_state.restore(self.args.device)
            free_cached_memory(self.args.device)
        if self.plan is not wanted:
            self.plan.console.warn(
                f"out of memory at step {self.state.global_step + 1}: micro-batches have at most "
                f"{describe_micro_batches(self.plan)} from here on, instead of "
                f"{describe_micro_batches(wanted)}; the step was repeated with the same documents.",
                is_of_rank=True,
            )
        return cuts, torch.stack(losses)

    def _cut_share(self, lengths: list[int]) -> list[slice]:
        """Cut this rank's share into micro-batches; what it lacks of what others must wait for is empty.

        The ranks meet once in a step. Where their weights are sharded they meet in each layer of each forward
        and backward pass, so all run as many as the one with the most.
        """
        cuts = cut_step(lengths, self.plan)
        count = find_ranks().find_highest(len(cuts)) if self.is_fsdp_enabled else 1
        return [*cuts, *(slice(len(lengths), len(lengths)) for _ in range(count - len(cuts)))]

    def _check_repeatable(self, *, is_last: bool, cause: BaseException) -> None:
        """Refuse to repeat a step of which other ranks may have got a part, or wait for this one's."""
        if self.args.world_size == 1 or not (is_last or self.is_fsdp_enabled):
            return
        raise ResourceError(
            "out of memory while the ranks work together, so the step cannot be repeated by one of them: set "
            "training.micro_batch_tokens so that micro-batches are smaller than now "
            f"({describe_micro_batches(self.plan)}) and train again."
        ) from cause

    def _run_micro_batches(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        lengths: list[int],
        cuts: list[slice],
        divisor: Any,
        losses: list[torch.Tensor],
    ) -> None:
        """Forward and backward of each; their parts of the step's loss, detached, go to `losses`.

        Gradients wait for the last one before the ranks add them up; but not where weights are sharded, since
        unsharded gradients of all layers would take the memory that sharding is to save.
        """
        step = {name: tensor.to(self.args.device, non_blocking=True) for name, tensor in inputs.items()}
        with tf32_products(is_wanted=self.plan.computes_in_tf32):
            for cut in cuts:
                adds_up = self.is_fsdp_enabled or cut is cuts[-1]
                with nullcontext() if adds_up else self.accelerator.no_sync(model):
                    if cut.start == cut.stop:
                        losses.append(self._run_empty(model))
                        continue
                    # No mask: attention is causal and padding is on the right, so no token ever sees it.
                    micro_batch = build_micro_batch(step, lengths, cut, self.plan)
                    losses.append(self._run_micro_batch(model, micro_batch, divisor))

    def _run_micro_batch(
        self, model: Any, micro_batch: dict[str, torch.Tensor], divisor: Any
    ) -> torch.Tensor:
        labels = micro_batch["labels"]
        with self.compute_loss_context_manager():
            inputs = {**micro_batch, "use_cache": False, **no_mask_arguments(self.model)}
            loss = self.compute_loss(model, inputs, num_items_in_batch=divisor)
        if self.loss_is_scaled_for_ga is False:
            weights = self._class_weights.to(labels.device, non_blocking=True)
            loss = loss * weights[labels].sum() / divisor
        # Ranks average their gradients, while the divisor is already that of all of them.
        loss = loss * self.args.world_size
        self.accelerator.backward(loss)
        return loss.detach()

    def _run_empty(self, model: Any) -> torch.Tensor:
        """Take part in the ranks' synchronisation without a document; the gradient is exactly zero."""
        any_token = int(self.plan.pad_token_id == 0)
        input_ids = torch.tensor([[any_token]], device=self.args.device)
        with self.compute_loss_context_manager():
            loss = model(input_ids=input_ids, use_cache=False).logits.float().sum() * 0.0
        self.accelerator.backward(loss)
        return loss.detach()

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        """Autocast a sharded model's forward; accelerate wraps that of every other one itself."""
        if not self.is_fsdp_enabled:
            return super().autocast_smart_context_manager(cache_enabled)
        return self.accelerator.autocast()

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """Let the guard see each gradient norm, that of all ranks together."""
        grad_norm = gather(super()._get_grad_norm(model, grad_norm=grad_norm))
        self._divergence.record_grad_norm(grad_norm)
        return grad_norm

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Count nothing: the library's formula is for full training and walks all weights each step."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the speed, and the most memory taken so far, to each log of a loss."""
        if "loss" in logs:
            logs["tokens_per_second"] = round(self.meter.read(), 1)
            logs["peak_memory_gib"] = round(read_peak_memory_gib(self.args.device), 3)
        super().log(logs, start_time)
