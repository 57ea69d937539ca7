"""Text to token ids: the one function that training, evaluation and prediction share.

A second way to tokenize would be a second model in effect, so everything that turns text into ids is here.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import polars as pl
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console
from qwenkit.tokens.backend import encode_with_backend, normalize_texts, prepare_backend
from qwenkit.tokens.batches import (
    ENCODED_SCHEMA,
    BatchEncoder,
    count_rows,
    iterate_batches,
    sample_texts,
)
from qwenkit.tokens.gate import LIBRARY, EncoderChoice, choose_encoder
from qwenkit.tokens.processes import TokenizingProcesses

BATCHES_IN_FLIGHT = 3
SAMPLED_ROWS = 1_000
# The library does less than this in the time that it takes to compare ids and to start processes.
LEAST_FAST_BYTES = 20_000_000

# A path is that of a Parquet file.
Rows: TypeAlias = "pl.DataFrame | datasets.Dataset | Path"


def encode_texts(
    texts: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    truncation: bool = True,
    normalisation: Sequence[str] = (),
) -> list[list[int]]:
    """Turn texts into token ids, without padding; a text has the same ids alone and among others.

    The text of a special token (`<|endoftext|>`) is text like any other. Tokens that the tokenizer itself
    puts around a text are kept (Qwen's has none).

    Args:
        max_length: Longer rows lose their end.
        truncation: False keeps them whole.
        normalisation: Rules that the model wants applied first; prepared text does not change by them.

    Raises:
        DataError: A text is not text, or has nothing but white space, or has no tokens. The message tells its
            place in `texts`.
    """
    limit = max_length if truncation else None
    normalized = normalize_texts(texts, normalisation)
    return encode_with_backend(normalized, tokenizer.backend_tokenizer, limit, range(len(texts)))[0]


def encode_dataset(
    rows: Rows,
    *,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    truncation: bool = True,
    normalisation: Sequence[str] = (),
    num_workers: int | None = None,
    console: Console,
    description: str = "tokenizing",
) -> datasets.Dataset:
    """Encode the rows of one split, with all cores, in the order given; the ids are kept in memory.

    Args:
        rows: Columns row_id, text, label_id, and any others.
        normalisation: Rules that the model wants applied first; prepared text does not change by them.
        num_workers: Processes or threads; None is one a core.

    Returns:
        Columns row_id, input_ids, length (tokens kept), full_length (tokens before the cut), labels. Equal
        rows give an equal fingerprint.

    Raises:
        DataError: A column is missing, or a text is empty; the message names the row.
    """
    with open_encoder(
        [rows],
        tokenizer=tokenizer,
        limit=max_length if truncation else None,
        normalisation=normalisation,
        num_workers=num_workers,
    ) as encoder:
        encoded = list(encoder.encode(rows, console=console, description=description))
    fingerprint = RowsFingerprint()
    for batch in encoded:
        fingerprint.add(batch)
    return datasets.Dataset(pa.Table.from_batches(encoded, ENCODED_SCHEMA), fingerprint=fingerprint.finish())


class SplitEncoder:
    """Encodes splits with all cores, by what was chosen for them."""

    def __init__(
        self, choice: EncoderChoice, encode: Callable[[pa.RecordBatch], pa.RecordBatch], workers: int
    ) -> None:
        self.choice = choice
        self._encode = encode
        self._workers = workers

    def encode(self, rows: Rows, *, console: Console, description: str) -> Iterator[pa.RecordBatch]:
        """Give the rows' ids batch by batch, in their order: a large split is never in memory as a whole.

        Raises:
            DataError: A column is missing, or a text is empty; the message names the row.
            ResourceError: A process was killed.
        """
        with console.progress(description, count_rows(rows), "rows") as bar:
            for batch in _map_in_order(self._encode, iterate_batches(rows), workers=self._workers):
                bar.advance(batch.num_rows)
                yield batch


@contextmanager
def open_encoder(
    splits: Sequence[Rows],
    *,
    tokenizer: PreTrainedTokenizerFast,
    limit: int | None,
    normalisation: Sequence[str] = (),
    num_workers: int | None = None,
) -> Iterator[SplitEncoder]:
    """Settle what encodes some splits, and start the processes for it where they are worth it.

    tiktoken in processes where there is much text and it gives the same ids (tokens/gate.py), else the
    tokenizer's own library in threads. Neither that nor the number of workers changes any id.

    Args:
        limit: Most tokens of a text; None cuts nothing.
        num_workers: Processes or threads; None is one a core.
    """
    workers = num_workers or len(os.sched_getaffinity(0))
    backend = tokenizer.backend_tokenizer
    settings: dict[str, Any] = {"limit": limit, "normalisation": list(normalisation)}
    choice = _choose(splits, backend, normalisation)
    if not choice.is_fast:
        encoder = BatchEncoder(backend, is_fast=False, **settings)
        with _one_thread_a_call():
            yield SplitEncoder(choice, encoder.encode, workers)
        return
    processes = TokenizingProcesses(workers, {**settings, "is_fast": True, "tokenizer": backend.to_str()})
    try:
        yield SplitEncoder(choice, processes.encode, workers)
    finally:
        processes.stop()


def _choose(splits: Sequence[Rows], backend: Any, normalisation: Sequence[str]) -> EncoderChoice:
    """Ask the gate where there is enough text, with rows from all over the splits."""
    prepare_backend(backend)
    sample, size = [], 0.0
    for rows in splits:
        texts = [text for text in sample_texts(rows, SAMPLED_ROWS // len(splits)) if isinstance(text, str)]
        sample += texts
        sampled_bytes = sum(len(text.encode(errors="replace")) for text in texts)
        size += sampled_bytes * count_rows(rows) / max(len(texts), 1)
    if size < LEAST_FAST_BYTES:
        return EncoderChoice(LIBRARY, f"{size / 1e6:.1f} MB of text are too little to start processes for")
    return choose_encoder(backend, [text for text in normalize_texts(sample, normalisation) if text.strip()])


class RowsFingerprint:
    """Sums up encoded rows: equal ones give an equal fingerprint, however they were cut into batches."""

    def __init__(self) -> None:
        self._digests = {name: hashlib.sha256() for name in ENCODED_SCHEMA.names}

    def add(self, batch: pa.RecordBatch) -> None:
        """Count in the next rows."""
        for name, digest in self._digests.items():
            column = batch.column(name)
            values = column.flatten() if name == "input_ids" else column
            digest.update(values.to_numpy(zero_copy_only=False).tobytes())

    def finish(self) -> str:
        """Give 32 hexadecimal digits."""
        return hashlib.sha256(b"".join(digest.digest() for digest in self._digests.values())).hexdigest()[:32]


def _map_in_order(
    function: Callable[[pa.RecordBatch], pa.RecordBatch], batches: Iterable[pa.RecordBatch], *, workers: int
) -> Iterator[pa.RecordBatch]:
    """Apply a function in threads, a few batches ahead: the rows of a large split are never all in lists."""
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque[Future[pa.RecordBatch]] = deque()
        for batch in batches:
            waiting.append(pool.submit(function, batch))
            if len(waiting) >= workers * BATCHES_IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread_a_call() -> Iterator[None]:
    """Keep each call of the Rust side to its own thread; num_workers counts ours, which use all cores."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
