"""What a data file is by its name, and its content, unpacked where the name says that it is packed."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from qwenkit.console import safe_text
from qwenkit.errors import DataError

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
CODECS = {".gz": "gzip", ".zst": "zstd"}
ACCEPTED = f"{', '.join(DATA_SUFFIXES)}, all but .parquet also packed as {' or '.join(CODECS)}"


def kind_of(path: Path) -> str | None:
    """Give the kind of data that a name stands for: .csv for rows.csv and Rows.CSV.gz, None for rows.txt."""
    kind = _unpacked(path).suffix.lower()
    # Parquet packs its own columns; around it an archive would have to be unpacked whole before a look.
    is_packed_parquet = kind == ".parquet" and codec_of(path) is not None
    return None if kind not in DATA_SUFFIXES or is_packed_parquet else kind


def codec_of(path: Path) -> str | None:
    """Give the codec that a name stands for: gzip, zstd, or None for a file that is not packed."""
    return CODECS.get(path.suffix.lower())


def suffixes_of(path: Path) -> str:
    """Give all that decides how a file is read: .csv, or .csv.gz."""
    return "".join([_unpacked(path).suffix, path.suffix] if codec_of(path) else [path.suffix]).lower()


def stem_of(path: Path) -> str:
    """Give a name without what decides how it is read: rows for rows.csv and rows.csv.gz."""
    return _unpacked(path).stem


@contextmanager
def open_content(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading from its start on, unpacked as its name says; nothing is written anywhere.

    Raises:
        DataError: While reading, where an archive is cut off or damaged.
    """
    codec = codec_of(path)
    with path.open("rb") as file:
        if codec is None:
            yield file
            return
        import pyarrow as pa

        with pa.CompressedInputStream(file, codec) as stream:
            try:
                yield io.BufferedReader(stream)
            except OSError as error:
                refuse_damaged_archive(path, error)
                raise


def refuse_damaged_archive(path: Path, error: OSError) -> None:
    """Say of an archive that its own checks failed, which they do at the end or wherever it is broken."""
    shown = safe_text(str(path))
    raise DataError(
        f"{shown} is no whole {codec_of(path)} archive ({error}). Was it cut off? Fetch it or pack it again."
    ) from error


def _unpacked(path: Path) -> Path:
    return path.with_suffix("") if codec_of(path) else path
