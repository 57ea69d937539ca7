"""The loss of a step: class-weighted cross-entropy, divided once for the whole step."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy


class WeightedCrossEntropy:
    """Computes a micro-batch's part of the step's loss, in float32.

    The parts of all micro-batches (and ranks) add up to sum(w * loss) / sum(w) over the step, however it was
    cut. The mean of each micro-batch's mean would not, since their weights differ.
    """

    def __init__(self, class_weights: Sequence[float]) -> None:
        self.class_weights = torch.tensor(class_weights, dtype=torch.float32)

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
        total = cross_entropy(outputs.logits.float(), labels, weight=self.class_weights, reduction="sum")
        return total / num_items_in_batch
