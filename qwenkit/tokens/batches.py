"""Rows on their way through tokenizing: batches of text in, batches of token ids out, as Arrow has them."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from qwenkit.errors import DataError
from qwenkit.text.folding import slice_by_size
from qwenkit.tokens.backend import encode_with_backend, normalize_texts, refuse_empty, refuse_without_tokens
from qwenkit.tokens.byte_pairs import BytePairEncoder

ROWS_PER_BATCH = 512
# A batch of long documents has fewer rows: what is under way in all workers stays small.
_BATCH_BYTES = 1 << 20

TEXT_SCHEMA = pa.schema([("row_id", pa.int64()), ("text", pa.large_string()), ("label_id", pa.int64())])
ENCODED_SCHEMA = pa.schema(
    [
        ("row_id", pa.int64()),
        ("input_ids", pa.list_(pa.int32())),
        ("length", pa.int32()),
        ("full_length", pa.int32()),
        ("labels", pa.int64()),
    ]
)

# Under this name a process says which row has nothing to read, in place of ids.
REFUSAL = b"refusal"


class BatchEncoder:
    """Turns batches of TEXT_SCHEMA into batches of ENCODED_SCHEMA, with tiktoken or the library."""

    def __init__(
        self, backend: Any, *, limit: int | None, normalisation: Sequence[str], is_fast: bool
    ) -> None:
        self._backend = backend
        self._limit = limit
        self._normalisation = normalisation
        self._byte_pairs = BytePairEncoder(backend) if is_fast else None

    def encode(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Encode one batch.

        Raises:
            DataError: A text has nothing to read; the message names its row.
        """
        row_ids = batch.column("row_id").to_pylist()
        texts = normalize_texts(batch.column("text").to_pylist(), self._normalisation)
        if self._byte_pairs is None:
            lists, full_lengths = encode_with_backend(texts, self._backend, self._limit, row_ids)
            ids = np.fromiter(chain.from_iterable(lists), dtype=np.int32)
            lengths = [len(row) for row in lists]
        else:
            refuse_empty(texts, row_ids)
            arrays, full_lengths = self._byte_pairs.encode(texts, self._limit)
            refuse_without_tokens(full_lengths, texts, row_ids)
            ids = np.concatenate(arrays)
            lengths = [len(row) for row in arrays]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        columns = [
            batch.column("row_id"),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids)),
            pa.array(lengths, type=pa.int32()),
            pa.array(full_lengths, type=pa.int32()),
            batch.column("label_id"),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=ENCODED_SCHEMA)


def iterate_batches(rows: Any) -> Iterator[pa.RecordBatch]:
    """Cut a polars frame or a datasets.Dataset into batches of TEXT_SCHEMA, a megabyte or so each.

    Raises:
        DataError: A column is missing, or the texts are none.
    """
    is_frame = isinstance(rows, pl.DataFrame)
    columns = rows.columns if is_frame else rows.column_names
    missing = [column for column in TEXT_SCHEMA.names if column not in columns]
    if missing:
        raise DataError(f"rows to tokenize lack {', '.join(missing)}; they have {', '.join(columns)}.")
    for table in _slice_frame(rows) if is_frame else _slice_dataset(rows):
        yield from table.cast(TEXT_SCHEMA).combine_chunks().to_batches()


def _slice_frame(rows: pl.DataFrame) -> Iterator[pa.Table]:
    chosen = rows.select(TEXT_SCHEMA.names)
    if chosen.schema["text"] != pl.String:
        raise DataError(f"the column text holds {chosen.schema['text']}, not text.")
    sizes = chosen["text"].str.len_bytes().fill_null(0).cast(pl.Int64).to_numpy()
    for part in slice_by_size(sizes, _BATCH_BYTES):
        for few in chosen[part].iter_slices(ROWS_PER_BATCH):
            yield few.to_arrow()


def _slice_dataset(rows: Any) -> Iterator[pa.Table]:
    yield from rows.select_columns(TEXT_SCHEMA.names).with_format("arrow").iter(ROWS_PER_BATCH)
