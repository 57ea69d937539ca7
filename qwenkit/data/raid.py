"""RAID itself as a source: its CSV of 11 GB read twice in bounded memory, and a balanced sample of it.

The first pass reads what names and describes each row, 12 bytes of which stay; the second reads the texts of
the rows that were chosen.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from qwenkit.console import Console, safe_text
from qwenkit.data.csv_stream import read_header, stream_csv
from qwenkit.data.frames import UNSPLIT, RawData
from qwenkit.data.quotas import balance
from qwenkit.data.sampling import choose_lowest, digest_keys
from qwenkit.errors import DataError

ID, TEXT, GENERATOR, HUMAN = "id", "generation", "model", "human"
# Named as in the sets derived from RAID.
MACHINE_LABEL, HUMAN_LABEL = "AI_Generated", "Human_Written"

STRATA = ("domain", "model", "attack", "decoding")
"""Levels of the quotas, below the label."""
NEEDED = (ID, *STRATA, TEXT)
OPTIONAL = ("adv_source_id", "source_id", "repetition_penalty")
"""What joins groups, and another column to slice by; title and prompt are left out."""


def read_raid(path: Path, *, max_rows: int | None, seed: int, console: Console | None = None) -> RawData:
    """Read RAID's train.csv or extra.csv (or a .gz of it), whole or a sample of it.

    Half of a sample is human text and half machine text. Each half is shared out equally over domains, each
    domain's share over its generators, then attacks, then decodings; what one cannot fill goes to the others
    of its level. Within a stratum the rows with the lowest keyed hash of their id are taken, so that the same
    rows come out whatever their order, and a smaller sample is a part of a larger one.

    Args:
        max_rows: Size of the sample; None takes every row, all of it in memory.

    Returns:
        One set, with the columns text, label, id and what groups and slices want, in the file's order.

    Raises:
        DataError: The file is missing, is no RAID file, or has no labels.
    """
    columns = choose_raid_columns(path)
    console = console or Console(quiet=True)
    size, name = max(path.stat().st_size, 1), safe_text(path.name)
    is_chosen: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    if max_rows is not None:
        with console.progress(f"counting {name}", total=size, unit="bytes") as bar:
            blocks = stream_csv(path, columns=[ID, *STRATA], on_read=bar.advance)
            is_chosen, notes = choose_sample(blocks, max_rows, seed=seed)
    with console.progress(f"reading {name}", total=size, unit="bytes") as bar:
        frame = pl.concat(_pick(stream_csv(path, columns=columns, on_read=bar.advance), is_chosen))
    n_rows = frame.height if is_chosen is None else len(is_chosen)
    if not n_rows:
        raise DataError(f"{safe_text(str(path))} has a header but no rows.")
    return RawData({UNSPLIT: _name_as_derived(frame)}, notes, {UNSPLIT: n_rows - frame.height})


def choose_sample(
    blocks: Iterator[pl.DataFrame], max_rows: int, *, seed: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Choose the rows of a balanced sample, as `read_raid` says.

    Args:
        blocks: Columns id and STRATA, text, nulls allowed.

    Returns:
        Whether each row is chosen, shape (rows,); notes.
    """
    strata, numbers, digests = index_rows(blocks, seed=seed)
    quotas = balance(strata, np.bincount(numbers, minlength=len(strata)).tolist(), max_rows, seed=seed)
    is_chosen = choose_lowest(numbers, digests, np.array(quotas, dtype=np.int64))
    return is_chosen, _describe(strata, quotas, n_rows=len(is_chosen), seed=seed)


def choose_raid_columns(path: Path) -> list[str]:
    """Read the header, and choose the columns to read.

    Raises:
        DataError: The file or a column is missing; the message says what the file seems to be.
    """
    names = read_header(path)
    missing = [name for name in NEEDED if name not in names]
    if not missing:
        return [*NEEDED, *(name for name in OPTIONAL if name in names)]
    shown = safe_text(str(path))
    if ID in names and TEXT in names:
        raise DataError(
            f"{shown} lacks {', '.join(missing)}, as RAID's test.csv does: take train.csv or extra.csv. "
            f"`qwenkit evaluate MODEL --raid {shown}` scores a file without labels."
        )
    found = ", ".join(safe_text(name, limit=40) for name in names)
    raise DataError(
        f"{shown} is no RAID file: it lacks {', '.join(missing)}; it has: {found}. "
        "A labelled file of any other kind is named itself: --dataset FILE."
    )


def index_rows(
    blocks: Iterator[pl.DataFrame], *, seed: int
) -> tuple[list[tuple[str, ...]], np.ndarray, np.ndarray]:
    """Give every row the number of its stratum and a digest of its id.

    Args:
        blocks: Columns id and STRATA, text, nulls allowed.

    Returns:
        The strata as (label, *STRATA), in order of their numbers; int32 and uint64, shape (rows,).
    """
    numbers_of: dict[tuple[str, ...], int] = {}
    numbers, digests = [], []
    for block in blocks:
        known = block.select(STRATA).fill_null("").unique()
        coded = known.with_columns(
            number=pl.Series(
                [numbers_of.setdefault(row, len(numbers_of)) for row in known.rows()], dtype=pl.Int32
            )
        )
        rows = block.select(STRATA).fill_null("").join(coded, on=STRATA, how="left", maintain_order="left")
        numbers.append(rows["number"].to_numpy())
        digests.append(digest_keys(block[ID], seed=seed))
    place = STRATA.index(GENERATOR)
    strata = [(HUMAN_LABEL if row[place] == HUMAN else MACHINE_LABEL, *row) for row in numbers_of]
    if not numbers:
        return strata, np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.uint64)
    return strata, np.concatenate(numbers), np.concatenate(digests)


def _pick(blocks: Iterator[pl.DataFrame], is_chosen: np.ndarray | None) -> Iterator[pl.DataFrame]:
    start = 0
    for block in blocks:
        place = slice(start, start + block.height)
        yield block if is_chosen is None else _copy(block.filter(pl.Series(is_chosen[place])))
        start += block.height


def _copy(frame: pl.DataFrame) -> pl.DataFrame:
    """Let go of the block that the rows are from: polars' own text columns are views that keep all of it."""
    return pl.DataFrame(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _name_as_derived(frame: pl.DataFrame) -> pl.DataFrame:
    """Name text and label as in the sets derived from RAID; a row without a generator has no label."""
    is_human = pl.col(GENERATOR) == HUMAN
    label = (
        pl.when(is_human)
        .then(pl.lit(HUMAN_LABEL))
        .when(pl.col(GENERATOR).is_not_null())
        .then(pl.lit(MACHINE_LABEL))
    )
    others = [name for name in frame.columns if name != TEXT]
    return frame.select(pl.col(TEXT).alias("text"), label.alias("label"), *others)


def _describe(
    strata: Sequence[tuple[str, ...]], quotas: Sequence[int], *, n_rows: int, seed: int
) -> tuple[str, ...]:
    chosen = sum(quotas)
    if chosen == n_rows:
        return ()
    human = sum(quota for stratum, quota in zip(strata, quotas, strict=True) if stratum[0] == HUMAN_LABEL)
    note = (
        f"{chosen:,} of {n_rows:,} rows are chosen, {human:,} of them human: equal shares of domain, "
        f"generator, attack and decoding, as far as each goes (seed {seed})"
    )
    if abs(2 * human - chosen) <= 1:
        return (note,)
    scarce = "human" if 2 * human < chosen else "machine"
    return (note, f"the file has no more {scarce} texts; class weights make up for it")
