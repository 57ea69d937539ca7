"""The loss of a step: class-weighted cross-entropy, divided once for the whole step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

LEAST_DOUBT = 1e-12


class WeightedLoss:
    """Computes a micro-batch's part of the step's loss, in float32.

    A document's loss is -w (1 - p)^gamma log p, where p is the probability of its class and w that class's
    weight; with gamma 0 that is cross-entropy, which label smoothing may soften as torch's does. The parts of
    all micro-batches (and ranks) add up to the sum of losses / the sum of w over the step, however it was
    cut. The mean of each micro-batch's mean would not, since their weights differ.

    Args:
        class_weights: w, in id order.
        label_smoothing: Share of the target that is spread evenly over all classes.
        focal_gamma: How much less a document counts the surer it is classified right.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017).
    """

    def __init__(
        self, class_weights: Sequence[float], *, label_smoothing: float = 0.0, focal_gamma: float = 0.0
    ) -> None:
        self.class_weights = torch.tensor(class_weights, dtype=torch.float32)
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma

    def __call__(
        self, outputs: Any, labels: torch.Tensor, num_items_in_batch: torch.Tensor | float | None = None
    ) -> torch.Tensor:
        """Compute the loss; this is the signature that the Trainer wants of a `compute_loss_func`.

        Args:
            outputs: The model's, with logits of shape (documents, classes).
            labels: Class ids, shape (documents,).
            num_items_in_batch: Sum of the class weights over the whole step; None means over these documents.
        """
        if self.class_weights.device != labels.device:
            self.class_weights = self.class_weights.to(labels.device)
        if num_items_in_batch is None:
            num_items_in_batch = self.class_weights[labels].sum()
        return self._sum_losses(outputs.logits.float(), labels) / num_items_in_batch

    def _sum_losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        options: dict[str, Any] = {"weight": self.class_weights, "label_smoothing": self.label_smoothing}
        if not self.focal_gamma:
            return cross_entropy(logits, labels, reduction="sum", **options)
        log_probabilities = logits.log_softmax(-1).gather(-1, labels[:, None])[:, 0]
        # 1 - p without cancellation near p = 1; at 0 a power below 1 would have an infinite slope.
        doubt = (-torch.expm1(log_probabilities)).clamp_min(LEAST_DOUBT)
        return (doubt**self.focal_gamma * cross_entropy(logits, labels, reduction="none", **options)).sum()
