"""Whole optimizer steps as batches: which documents, in which order, cut and padded how.

One item of the train loader is one rank's share of one optimizer step. Its documents are chosen by the seeded
shuffle alone; sorting by length happens inside the step only, so the optimisation is the same as without it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from qwenkit.modeling.predictor import round_up
from qwenkit.ranks import ALONE, Ranks, deal_evenly
from qwenkit.training.plan import TrainingPlan

STEP_COLUMNS = ["row_id", "input_ids", "labels"]
# What one more micro-batch of a step costs beside its tokens, in tokens. A share of the budget caps it, since
# budgets are small where the device is slow.
MICRO_BATCH_COST = 1024
MICRO_BATCH_COST_SHARE = 1 / 32


class StepSampler(Sampler[list[int]]):
    """Draws each epoch's steps: a seeded permutation, cut into steps, dealt to the ranks evenly by tokens.

    Each document comes exactly once an epoch, over all ranks, and in the same step on any number of them. The
    last step of an epoch holds what is left; there a rank may get none. Nothing is repeated to fill up.
    """

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, *, documents_per_step: int, seed: int, ranks: Ranks = ALONE
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.documents_per_step = documents_per_step
        self.seed = seed
        self.ranks = ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation; the Trainer calls this before each epoch, resumed ones included."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.documents_per_step)

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.lengths))
        for start in range(0, len(order), self.documents_per_step):
            step = order[start : start + self.documents_per_step]
            shares = deal_evenly(self.lengths[step].tolist(), self.ranks.world_size)
            yield step[shares[self.ranks.rank]].tolist()


class StepDocuments:
    """A dataset that hands out all documents of a step at once, as columns.

    Row by row, the loader would turn 256 documents into Python lists of Python integers and back.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset.with_format("numpy", columns=STEP_COLUMNS)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        if not indices:
            return {name: [] for name in STEP_COLUMNS}
        return dict(self._dataset[indices])


class StepLoader(DataLoader):
    """Loads whole steps, and passes the epoch on to its sampler; the Trainer looks for that method.

    accelerate's preparation is left out: it would repeat documents to fill up the last step of an epoch, and
    two ranks would train on other steps than one.
    """

    def __init__(self, dataset: Any, *, sampler: StepSampler, arguments: Any) -> None:
        super().__init__(
            StepDocuments(dataset),  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=collate_step,  # type: ignore[arg-type]
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
            persistent_workers=arguments.dataloader_persistent_workers,
            # The loader draws a seed per epoch, which from the global generator would disturb the dropout.
            generator=torch.Generator().manual_seed(arguments.seed),
        )

    def set_epoch(self, epoch: int) -> None:
        """Choose the permutation of the coming epoch."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]


def collate_step(columns: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Sort a step's documents by length, longest first, and lay their tokens end to end.

    The longest first, because memory that is too small then shows at once and later micro-batches fit into
    the blocks that the first one left.

    Args:
        columns: row_id, input_ids (ragged) and labels of the step's documents.

    Returns:
        input_ids: int64, shape (tokens,); no padding yet.
        lengths, labels, row_ids: int64, shape (documents,), in the same order.
    """
    lengths = np.array([len(ids) for ids in columns["input_ids"]], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    documents = [np.asarray(columns["input_ids"][index], dtype=np.int64) for index in order]
    flat = np.concatenate(documents) if documents else np.zeros(0, dtype=np.int64)
    return {
        "input_ids": torch.from_numpy(flat),
        "lengths": torch.from_numpy(lengths[order]),
        "labels": torch.from_numpy(np.asarray(columns["labels"], dtype=np.int64)[order]),
        "row_ids": torch.from_numpy(np.asarray(columns["row_id"], dtype=np.int64)[order]),
    }


def cut_step(lengths: Sequence[int], plan: TrainingPlan) -> list[slice]:
    """Cut a step's sorted documents into micro-batches: equal parts, or what fits into a token budget.

    Within a budget they are cut where that costs least in padding; a document that is longer goes alone.

    Args:
        lengths: Of the documents, longest first.

    Returns:
        One slice over the documents for each micro-batch.
    """
    if plan.micro_batch_tokens is not None:
        widths = [round_up(length, plan.pad_to_multiple_of) for length in lengths]
        return _cut_by_tokens(np.array(widths, dtype=np.int64), plan.micro_batch_tokens)
    size = plan.documents_per_micro_batch
    return [slice(start, min(start + size, len(lengths))) for start in range(0, len(lengths), size)]


def _cut_by_tokens(widths: np.ndarray, budget: int) -> list[slice]:
    """Find the cuts of least cost: the tokens with padding, and what one more micro-batch costs.

    To fill each up to the budget would lay the shortest documents of a step beside long ones.

    Args:
        widths: What the documents are padded to if they are first, longest first, shape (documents,).
    """
    costs = np.zeros(len(widths) + 1)
    sizes = np.ones(len(widths), dtype=np.int64)
    fixed = min(budget * MICRO_BATCH_COST_SHARE, MICRO_BATCH_COST)
    for start in reversed(range(len(widths))):
        most = min(max(1, budget // widths[start]), len(widths) - start)
        # The largest first: where two cost the same it wins, and memory that is too small shows at once.
        possible = np.arange(most, 0, -1)
        totals = possible * widths[start] + costs[start + possible] + fixed
        least = totals.argmin()
        costs[start], sizes[start] = totals[least], possible[least]
    slices, start = [], 0
    while start < len(widths):
        slices.append(slice(start, start + int(sizes[start])))
        start = slices[-1].stop
    return slices


def build_micro_batch(
    step: dict[str, torch.Tensor], lengths: Sequence[int], cut: slice, plan: TrainingPlan
) -> dict[str, torch.Tensor]:
    """Take some of a step's documents out, as the rows that a model wants.

    Args:
        step: From collate_step, on any device.
        lengths: The same as step["lengths"], known to the host.

    Returns:
        input_ids: int64, shape (documents, width), padded on the right.
        labels: int64, shape (documents,).
    """
    start = sum(lengths[: cut.start])
    stop = start + sum(lengths[cut])
    input_ids = pad_documents(
        step["input_ids"][start:stop],
        step["lengths"][cut],
        width=round_up(lengths[cut.start], plan.pad_to_multiple_of),
        pad_token_id=plan.pad_token_id,
    )
    return {"input_ids": input_ids, "labels": step["labels"][cut]}


def pad_documents(
    flat_ids: torch.Tensor, lengths: torch.Tensor, *, width: int, pad_token_id: int
) -> torch.Tensor:
    """Lay documents out as rows, padded on the right, without the host waiting for the device.

    Args:
        flat_ids: The documents end to end, shape (tokens,).
        lengths: shape (documents,), on the same device.

    Returns:
        Same dtype as flat_ids, shape (documents, width).
    """
    is_token = torch.arange(width, device=lengths.device) < lengths[:, None]
    padded = flat_ids.new_full((len(lengths), width), pad_token_id)
    return padded.masked_scatter_(is_token, flat_ids)
