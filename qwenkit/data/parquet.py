"""Parquet whose pages carry checksums: without them a flipped bit can come back as another text."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from qwenkit.errors import ArtifactError

_ROWS_PER_GROUP = 20_000


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """Write a frame a slice of rows at a time, so that no second copy of all text is in memory."""
    # The oldest level: plain strings instead of string views, which some readers do not know yet.
    level = pl.CompatLevel.oldest()
    schema = frame.clear().to_arrow(compat_level=level).schema
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for rows in frame.iter_slices(_ROWS_PER_GROUP):
            writer.write_table(rows.to_arrow(compat_level=level))


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a frame back, every page held against its checksum (polars' own reader does not look at them).

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Run `qwenkit prepare --force`.") from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
