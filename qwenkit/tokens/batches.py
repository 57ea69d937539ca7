"""Rows on their way through tokenizing: batches of text in, batches of token ids out, as Arrow has them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from qwenkit.errors import ArtifactError, DataError
from qwenkit.text.folding import slice_by_size
from qwenkit.tokens.backend import encode_with_backend, normalize_texts, refuse_empty, refuse_without_tokens
from qwenkit.tokens.byte_pairs import BytePairEncoder

ROWS_PER_BATCH = 512
# A batch of long documents has fewer rows: what is under way in all workers stays small.
_BATCH_BYTES = 1 << 20
_SAMPLED_GROUPS = 8

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
    """Cut a frame, a datasets.Dataset or a Parquet file into batches of TEXT_SCHEMA, a megabyte or so each.

    Of a file only what is under way is in memory, every page held against its checksum.

    Raises:
        DataError: A column is missing, or the texts are none.
        ArtifactError: The file is missing or damaged.
    """
    columns = list_columns(rows)
    missing = [column for column in TEXT_SCHEMA.names if column not in columns]
    if missing:
        raise DataError(f"rows to tokenize lack {', '.join(missing)}; they have {', '.join(columns)}.")
    for table in _slice_rows(rows):
        yield from table.cast(TEXT_SCHEMA).combine_chunks().to_batches()


def list_columns(rows: Any) -> list[str]:
    """Name the columns of a frame, a datasets.Dataset or a Parquet file."""
    if isinstance(rows, Path):
        return list(_open_parquet(rows).schema_arrow.names)
    return list(rows.columns if isinstance(rows, pl.DataFrame) else rows.column_names)


def count_rows(rows: Any) -> int:
    """Count the rows of a frame, a datasets.Dataset or a Parquet file."""
    return int(_open_parquet(rows).metadata.num_rows) if isinstance(rows, Path) else len(rows)


def sample_texts(rows: Any, size: int) -> list[Any]:
    """Take about so many texts from all over the rows."""
    if "text" not in list_columns(rows):
        return []
    if isinstance(rows, Path):
        return _sample_file(rows, size)
    step = max(len(rows) // size, 1)
    if isinstance(rows, pl.DataFrame):
        return rows["text"].gather_every(step).to_list()
    return list(rows.select(range(0, len(rows), step))["text"][:])


def _sample_file(path: Path, size: int) -> list[Any]:
    file = _open_parquet(path)
    groups = range(0, file.num_row_groups, max(file.num_row_groups // _SAMPLED_GROUPS, 1))
    texts: list[Any] = []
    for group in groups:
        with _reading(path):
            part = file.read_row_group(group, columns=["text"])["text"]
        step = max(len(part) * len(groups) // max(size, 1), 1)
        texts += part.take(pa.array(range(0, len(part), step))).to_pylist()
    return texts


def _slice_rows(rows: Any) -> Iterator[pa.Table]:
    if isinstance(rows, Path):
        return _slice_file(rows)
    return _slice_frame(rows) if isinstance(rows, pl.DataFrame) else _slice_dataset(rows)


def _slice_file(path: Path) -> Iterator[pa.Table]:
    with _reading(path):
        for batch in _open_parquet(path).iter_batches(ROWS_PER_BATCH, columns=TEXT_SCHEMA.names):
            yield from _slice_frame(pl.DataFrame(batch))


def _open_parquet(path: Path) -> Any:
    with _reading(path):
        # Read ahead, the file's own bytes would stay in memory until the end.
        return pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Run `qwenkit prepare --force`.") from error


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
