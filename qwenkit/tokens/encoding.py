"""Text to token ids: the one function that training, evaluation and prediction share.

A second way to tokenize would be a second model in effect, so everything that turns text into ids is here.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import datasets
import numpy as np
import polars as pl
import pyarrow as pa
from transformers import PreTrainedTokenizerFast

from qwenkit.console import Console, safe_text
from qwenkit.errors import DataError
from qwenkit.text.normalize import normalize_text

ROWS_PER_BATCH = 512
BATCHES_IN_FLIGHT = 3

SOURCE_COLUMNS = ("row_id", "text", "label_id")
ENCODED_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("input_ids", pa.list_(pa.int32())),
        ("length", pa.int32()),
        ("full_length", pa.int32()),
        ("labels", pa.int64()),
    ]
)

Item = TypeVar("Item")
Result = TypeVar("Result")


def encode_texts(
    texts: Sequence[str],
    *,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    truncation: bool = True,
    normalisation: Sequence[str] = (),
    row_ids: Sequence[int] | None = None,
) -> list[list[int]]:
    """Turn texts into token ids, without padding; a text has the same ids alone and among others.

    The text of a special token (`<|endoftext|>`) is text like any other. Tokens that the tokenizer itself
    puts around a text are kept (Qwen's has none).

    Args:
        max_length: Longer rows lose their end.
        truncation: False keeps them whole.
        normalisation: Rules that the model wants applied first; prepared text does not change by them.
        row_ids: What errors call the rows; their place in `texts` by default.

    Raises:
        DataError: A text is not text, or has nothing but white space, or has no tokens.
    """
    limit = max_length if truncation else None
    names = row_ids if row_ids is not None else range(len(texts))
    return _encode(_normalize(texts, normalisation), tokenizer, limit, names)[0]


def encode_dataset(
    rows: "pl.DataFrame | datasets.Dataset",
    *,
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    truncation: bool = True,
    normalisation: Sequence[str] = (),
    num_workers: int | None = None,
    console: Console,
    description: str = "tokenizing",
) -> datasets.Dataset:
    """Encode the rows of one split, with all cores, in the order given.

    Args:
        rows: Columns row_id, text, label_id, and any others.
        normalisation: Rules that the model wants applied first; prepared text does not change by them.
        num_workers: Threads; None is one a core.

    Returns:
        Columns row_id, input_ids, length (tokens kept), full_length (tokens before the cut), labels. Equal
        rows give an equal fingerprint.

    Raises:
        DataError: A column is missing, or a text is empty; the message names the row.
    """
    columns = rows.columns if isinstance(rows, pl.DataFrame) else rows.column_names
    missing = [column for column in SOURCE_COLUMNS if column not in columns]
    if missing:
        raise DataError(f"rows to tokenize lack {', '.join(missing)}; they have {', '.join(columns)}.")

    def encode_batch(batch: dict[str, list]) -> pa.RecordBatch:
        texts = _normalize(batch["text"], normalisation)
        ids, lengths = _encode(texts, tokenizer, max_length if truncation else None, batch["row_id"])
        return _to_record_batch(batch, ids, lengths)

    digest = hashlib.sha256()
    encoded = []
    workers = num_workers or os.cpu_count() or 1
    with console.progress(description, len(rows), "rows") as bar, _one_thread_a_call():
        for record_batch in _map_in_order(encode_batch, _iterate_batches(rows), workers=workers):
            encoded.append(record_batch)
            _update_digest(digest, record_batch)
            bar.advance(record_batch.num_rows)
    table = pa.Table.from_batches(encoded, schema=ENCODED_SCHEMA)
    return datasets.Dataset(table, fingerprint=digest.hexdigest()[:32])


def _encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, limit: int | None, row_ids: Sequence[int]
) -> tuple[list[list[int]], list[int]]:
    """Encode with the tokenizer's Rust side; transformers' own call does the same and takes twice as long.

    Returns:
        Token ids of each row, and its length before the cut.
    """
    _refuse_empty(texts, row_ids)
    backend = _prepare_backend(tokenizer)
    n_added = backend.num_special_tokens_to_add(False)
    try:
        encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    except TypeError:
        # Half of a surrogate pair is no character, and cannot leave Python as UTF-8.
        raise DataError(_describe_broken(texts, row_ids)) from None
    full_lengths = [len(encoding) + n_added for encoding in encodings]
    if 0 in full_lengths:
        raise DataError(_describe_empty(full_lengths.index(0), texts, row_ids))
    if limit is not None:
        for encoding in encodings:
            encoding.truncate(max(limit - n_added, 0))
    if n_added:
        encodings = [backend.post_process(encoding) for encoding in encodings]
    return [encoding.ids for encoding in encodings], full_lengths


def _normalize(texts: Sequence[str], rules: Sequence[str]) -> Sequence[str]:
    if not rules:
        return texts
    # What is no text is refused further on, with the row's name.
    return [normalize_text(text, rules) if isinstance(text, str) else text for text in texts]


def _prepare_backend(tokenizer: PreTrainedTokenizerFast) -> Any:
    # Only where needed: each change locks out the other threads.
    backend = tokenizer.backend_tokenizer
    if not backend.encode_special_tokens:
        backend.encode_special_tokens = True
    if backend.truncation is not None:
        backend.no_truncation()
    if backend.padding is not None:
        backend.no_padding()
    return backend


def _refuse_empty(texts: Sequence[str], row_ids: Sequence[int]) -> None:
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"row {row_ids[index]} holds {type(text).__name__} where text is expected.")
        if not text or text.isspace():
            raise DataError(_describe_empty(index, texts, row_ids))


def _describe_empty(index: int, texts: Sequence[str], row_ids: Sequence[int]) -> str:
    shown = safe_text(repr(texts[index]), limit=40)
    return f"row {row_ids[index]} has no text to read ({shown}): drop it; an empty text cannot be classified."


def _describe_broken(texts: Sequence[str], row_ids: Sequence[int]) -> str:
    for row_id, text in zip(row_ids, texts, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in text):
            return f"row {row_id} holds half a character (a lone surrogate), which is no valid text: mend it."
    return f"rows {row_ids[0]} to {row_ids[-1]} hold text that cannot be encoded."


def _to_record_batch(batch: dict[str, list], ids: list[list[int]], full_lengths: list[int]) -> pa.RecordBatch:
    lengths = np.array([len(row) for row in ids], dtype=np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=int(offsets[-1]))
    columns = [
        pa.array(batch["row_id"], type=pa.int64()),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(values)),
        pa.array(lengths),
        pa.array(full_lengths, type=pa.int32()),
        pa.array(batch["label_id"], type=pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=ENCODED_SCHEMA)


def _update_digest(digest: Any, batch: pa.RecordBatch) -> None:
    digest.update(batch.column("input_ids").values.to_numpy().tobytes())
    for name in ("row_id", "length", "full_length", "labels"):
        digest.update(batch.column(name).to_numpy().tobytes())


def _iterate_batches(rows: "pl.DataFrame | datasets.Dataset") -> Iterator[dict[str, list]]:
    if isinstance(rows, pl.DataFrame):
        for part in rows.select(SOURCE_COLUMNS).iter_slices(ROWS_PER_BATCH):
            yield part.to_dict(as_series=False)
    else:
        yield from rows.select_columns(list(SOURCE_COLUMNS)).with_format(None).iter(ROWS_PER_BATCH)


def _map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Apply a function in threads, a few items ahead: the rows of a large split are never all in lists."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers * BATCHES_IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


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
