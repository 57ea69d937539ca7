"""The only forward for scoring: the same padding, order and arithmetic in training, evaluation and export."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from qwenkit.errors import DataError, ResourceError
from qwenkit.exhaustion import is_out_of_memory
from qwenkit.modeling.classifier import no_mask_arguments
from qwenkit.modeling.kernels import fused_attention
from qwenkit.modeling.loading import LoadedClassifier, load_model
from qwenkit.modeling.merging import merged_where_exact
from qwenkit.modeling.operating_point import OperatingPoint, decide
from qwenkit.modeling.precision import adapter_inputs_kept, arithmetic, find_dtype
from qwenkit.modeling.sharding import is_sharded
from qwenkit.probabilities import softmax
from qwenkit.ranks import ALONE, Ranks, deal_evenly

DOCUMENTS_PER_BATCH = 32
ARROW_ROWS = 10_000
# Larger batches leave a CPU's caches: 2 to 4 documents of 384 tokens are scored a fifth faster each than 8.
CPU_BATCH_TOKENS = 2_048
# Merging an adapter gains about a tenth of a forward pass (a small model on a CPU), and is tried on a batch.
MERGE_FROM_BATCHES = 32
# In bfloat16 a logit depends by as much on what else is in its batch.
MERGE_TOLERANCE = {"float32": 1e-4, "bfloat16": 0.03}


@dataclass(frozen=True)
class Predictions:
    """Scores of some texts, in their order.

    Attributes:
        logits: float32, shape (rows, classes), as the model gives them.
        probabilities: float64, shape (rows, classes), the temperature applied.
        label_ids: int64, shape (rows,).
        labels: Class names in id order, so the likeliest class of a row is labels[label_ids[row]].
        decisions: A label a row at the operating point asked for, or "uncertain"; None without one.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    label_ids: np.ndarray
    labels: list[str]
    decisions: list[str] | None = None


class Predictor:
    """A trained classifier that takes texts."""

    def __init__(self, loaded: LoadedClassifier, *, batch_tokens: int | None = None) -> None:
        self.loaded = loaded
        self.bundle = loaded.bundle
        self.batch_tokens = batch_tokens or DOCUMENTS_PER_BATCH * loaded.bundle.max_length

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, device: Any = None, batch_tokens: int | None = None
    ) -> "Predictor":
        """Load a trained folder, a checkpoint, an export or another classifier folder."""
        return cls(load_model(Path(folder), device=device), batch_tokens=batch_tokens)

    def predict(
        self,
        texts: Sequence[str] | str,
        *,
        point: OperatingPoint | None = None,
        may_abstain: bool = False,
        on_batch: Callable[[int, int], None] | None = None,
        ranks: Ranks = ALONE,
    ) -> Predictions:
        """Score texts.

        Args:
            texts: A lone string counts as one text.
            point: Decide at this operating point too, e.g. `predictor.bundle.operating_points["fpr=0.01"]`.
            may_abstain: Call what lies in the point's band of abstention "uncertain".
            on_batch: Called with the rows and tokens of each batch that is done.
            ranks: Share the work among these, which all have the same texts.

        Raises:
            DataError: A text is empty or white space only.
        """
        from qwenkit.tokens.encoding import encode_texts

        bundle = self.bundle
        input_ids = encode_texts(
            [texts] if isinstance(texts, str) else texts,
            tokenizer=self.loaded.tokenizer,
            max_length=bundle.max_length,
            truncation=bundle.tokenizer.truncation,
            normalisation=bundle.normalisation,
        )
        logits = predict_logits(
            self.loaded.model,
            input_ids,
            pad_token_id=bundle.pad_token_id,
            batch_tokens=self.batch_tokens,
            dtype=bundle.dtype,
            on_batch=on_batch,
            ranks=ranks,
        )
        label_ids = logits.argmax(axis=1).astype(np.int64)
        decided = None
        if point is not None:
            decided = decide(
                logits,
                point,
                labels=bundle.labels,
                positive_label=bundle.positive_label,
                temperature=bundle.temperature,
                may_abstain=may_abstain,
            )
        return Predictions(
            logits=logits,
            probabilities=softmax(logits / np.float64(bundle.temperature)),
            label_ids=label_ids,
            labels=list(bundle.labels),
            decisions=decided,
        )


def predict_logits(
    model: nn.Module,
    input_ids: Any,
    *,
    pad_token_id: int,
    batch_tokens: int,
    pad_to_multiple_of: int | None = 8,
    dtype: str | None = None,
    on_batch: Callable[[int, int], None] | None = None,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Score tokenized documents; documents of like length share a batch, the result keeps the order given.

    Documents are padded on the right and no mask is passed: in a causal decoder nothing real looks at what
    stands to its right, so this is exact, and attention stays on its fastest kernel. For a long pass a LoRA
    adapter is merged into its base, where that keeps the logits, and taken out again to the last bit.

    Args:
        model: A sequence classifier; its training mode is as before afterwards.
        input_ids: One sequence of ids a row: lists, arrays, or a column of a tokenized dataset.
        batch_tokens: At most so many tokens in a batch, padding included (but always one document); on a CPU
            2,048, where more is slower.
        dtype: "bfloat16" computes under autocast; None does so where some weights are bfloat16.
        on_batch: Called with the rows and tokens of each batch that is done here.
        ranks: Share the batches among these. They are those of a lone process, so the logits are the same.

    Returns:
        float32, shape (rows, classes), the last layer computed in float32 too; all of them on every rank.

    Raises:
        DataError: A row is empty, or ends with the pad id, so that its last token could not be found.
        ResourceError: Not even one document fits into the GPU's memory.
    """
    multiple = pad_to_multiple_of or 1
    ids, offsets = flatten_ids(input_ids)
    lengths = np.diff(offsets)
    _check_rows(ids, offsets, pad_token_id)
    if next(model.parameters()).device.type == "cpu":
        batch_tokens = min(batch_tokens, CPU_BATCH_TOKENS)
    batches = list(plan_batches(lengths, batch_tokens=batch_tokens, multiple=multiple))
    dtype = dtype or find_dtype(model)

    def score(rows: np.ndarray) -> np.ndarray:
        batch = pad_rows(ids, offsets, rows, pad_token_id=pad_token_id, multiple=multiple)
        # What is gathered of a sharded model in inference mode could not be trained on any more.
        with torch.no_grad() if is_sharded(model) else torch.inference_mode(), arithmetic(model, dtype):
            return _forward(model, batch)

    was_training = model.training
    model.eval()
    results: list[tuple[np.ndarray, np.ndarray]] = []
    try:
        keeps_inputs = adapter_inputs_kept(model, is_wanted=dtype == "bfloat16")
        with fused_attention(), keeps_inputs, ExitStack() as stack:
            if len(batches) >= MERGE_FROM_BATCHES:
                # Short documents make a cheap trial; the very last batch may hold one only.
                trial, tolerance = partial(score, batches[-2]), MERGE_TOLERANCE[dtype]
                stack.enter_context(merged_where_exact(model, trial, tolerance=tolerance))
            tokens = [int(lengths[rows].sum()) for rows in batches]
            hands = deal_evenly(tokens, ranks.world_size)
            for index in hands[ranks.rank]:
                rows = batches[index]
                results.append((rows, score(rows)))
                if on_batch is not None:
                    on_batch(len(rows), tokens[index])
            if is_sharded(model):
                # The others meet this rank in each of their forwards; what it scores here is thrown away.
                for _ in range(max(map(len, hands)) - len(hands[ranks.rank])):
                    score(batches[-1])
    finally:
        model.train(was_training)
    gathered = [batch for part in ranks.gather(results) for batch in part]
    return _restore_order(gathered, classes=_count_classes(model))


def plan_batches(lengths: np.ndarray, *, batch_tokens: int, multiple: int) -> Iterator[np.ndarray]:
    """Cut rows into batches of like length under a budget of padded tokens, the longest first.

    The longest go first so that a batch too large for the memory shows at once and not after an hour.

    Yields:
        Row numbers, int64.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = round_up(int(lengths[order[start]]), multiple)
        stop = start + max(1, batch_tokens // width)
        yield order[start:stop]
        start = stop


def pad_rows(
    ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray, *, pad_token_id: int, multiple: int
) -> torch.Tensor:
    """Copy rows of flat ids into one int64 tensor, shape (rows, longest rounded up), padded on the right."""
    width = round_up(int((offsets[rows + 1] - offsets[rows]).max()), multiple)
    batch = np.full((len(rows), width), pad_token_id, dtype=np.int64)
    for line, row in zip(batch, rows, strict=True):
        line[: offsets[row + 1] - offsets[row]] = ids[offsets[row] : offsets[row + 1]]
    return torch.from_numpy(batch)


def flatten_ids(input_ids: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lay all rows end to end, as ids (tokens,) and offsets (rows + 1,); a dataset is read in blocks."""
    chunks: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    source, name = getattr(input_ids, "source", None), getattr(input_ids, "column_name", None)
    if source is not None and hasattr(source, "with_format"):
        for table in source.select_columns([name]).with_format("arrow").iter(batch_size=ARROW_ROWS):
            column = table.column(name).combine_chunks()
            chunks.append(column.flatten().to_numpy(zero_copy_only=False))
            lengths.append(column.value_lengths().to_numpy(zero_copy_only=False))
    else:
        chunks = [np.asarray(row, dtype=np.int64) for row in input_ids]
        lengths = [np.array([len(row) for row in chunks], dtype=np.int64)]
    ids = np.concatenate(chunks) if chunks else np.zeros(0, dtype=np.int64)
    return ids, np.concatenate([np.zeros(1, dtype=np.int64), *lengths]).cumsum()


def round_up(number: int, multiple: int) -> int:
    """Round up to a multiple."""
    return -(-number // multiple) * multiple


def _forward(model: nn.Module, batch: torch.Tensor) -> np.ndarray:
    """Score one padded batch, in halves where the GPU's memory is too small for it."""
    try:
        input_ids = batch.to(next(model.parameters()).device)
        logits = model(input_ids=input_ids, use_cache=False, **no_mask_arguments(model)).logits
        return logits.float().cpu().numpy()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if is_sharded(model):
            raise ResourceError(
                f"{len(batch)} documents of {batch.shape[1]} tokens do not fit into the device's memory, and "
                "other ranks wait for this one's part of the model: lower evaluation.batch_tokens."
            ) from error
        if len(batch) == 1:
            raise ResourceError(
                f"one document of {batch.shape[1]} tokens does not fit into the device's memory: free some."
            ) from error
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return np.concatenate([_forward(model, batch[:half]), _forward(model, batch[half:])])


def _check_rows(ids: np.ndarray, offsets: np.ndarray, pad_token_id: int) -> None:
    empty = np.flatnonzero(np.diff(offsets) == 0)
    if len(empty):
        raise DataError(
            f"{len(empty)} documents have no token, the first is row {empty[0]}: drop empty texts."
        )
    unfindable = np.flatnonzero(ids[offsets[1:] - 1] == pad_token_id)
    if len(unfindable):
        raise DataError(
            f"row {unfindable[0]} ends with the pad token {pad_token_id}: tokenize with split_special_tokens."
        )


def _restore_order(results: list[tuple[np.ndarray, np.ndarray]], *, classes: int) -> np.ndarray:
    logits = np.zeros((sum(len(rows) for rows, _ in results), classes), dtype=np.float32)
    for rows, batch_logits in results:
        logits[rows] = batch_logits
    return logits


def _count_classes(model: nn.Module) -> int:
    config: Any = model.config
    return int(config.num_labels)
