"""Some of the rows: the same ones for the same seed, whatever their order, and a share of every kind."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from qwenkit.data.cleaning import NOT_SAMPLED, SplitAccount
from qwenkit.data.dealing import allocate, hash_texts
from qwenkit.data.holdout import PREFIX as HELD_OUT_PREFIX
from qwenkit.data.labels import as_text
from qwenkit.data.quotas import share_out
from qwenkit.errors import DataError


def choose_lowest(strata: np.ndarray, digests: np.ndarray, quotas: np.ndarray) -> np.ndarray:
    """Choose the rows with the lowest digests of each stratum.

    Args:
        strata: Number of each row's stratum, shape (rows,).
        digests: Keyed hash of what names each row, shape (rows,).
        quotas: Rows wanted of each stratum, shape (strata,).

    Returns:
        Whether each row is chosen, bool, shape (rows,).
    """
    order = np.lexsort((digests, strata))
    sizes = np.bincount(strata, minlength=len(quotas))
    rank_in_stratum = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = np.zeros(len(strata), dtype=bool)
    chosen[order] = rank_in_stratum < np.repeat(quotas, sizes)
    return chosen


def digest_keys(keys: pl.Series, *, seed: int) -> np.ndarray:
    """Hash each key with the seed to 64 bits that stay the same over machines and versions.

    Args:
        keys: Text, shape (rows,); null counts as empty.

    Returns:
        uint64, shape (rows,).
    """
    digests = hash_texts(keys.fill_null(""), seed=seed)
    return np.frombuffer(b"".join(digests), dtype=">u8")[::2].astype(np.uint64)


def choose_proportionally(texts: pl.Series, strata: pl.DataFrame, n_rows: int, *, seed: int) -> pl.Series:
    """Choose rows so that every stratum keeps its share.

    Args:
        texts: What names each row, shape (rows,).
        strata: Columns that name each row's stratum, nulls allowed.

    Returns:
        Whether each row is chosen, shape (rows,); n_rows are, or all where there are no more.
    """
    if len(texts) <= n_rows:
        return pl.repeat(True, len(texts), eager=True)
    names = strata.columns
    known = strata.unique().sort(names, nulls_last=True).with_row_index("stratum")
    numbers = strata.join(known, on=names, how="left", nulls_equal=True, maintain_order="left")["stratum"]
    places = numbers.to_numpy().astype(np.int64)
    sizes = np.bincount(places, minlength=known.height).tolist()
    quotas = np.array(allocate(sizes, [n_rows, len(texts) - n_rows]))[:, 0]
    return pl.Series(choose_lowest(places, digest_keys(texts, seed=seed), quotas))


def sample_sources(
    sources: Mapping[str, pl.DataFrame],
    max_rows: int | None,
    *,
    ratios: Mapping[str, float],
    text_column: str,
    label_column: str,
    domain_column: str | None,
    seed: int,
) -> tuple[dict[str, pl.DataFrame], dict[str, int]]:
    """Take no more rows of a source than wanted, before anything else is done with them.

    Args:
        max_rows: Of all splits together; None takes all.
        ratios: Shares of the splits that are given; one that has fewer rows leaves more to the others.
        label_column, domain_column: Each combination of their values keeps its share.

    Returns:
        The rows by split, in their order, and how many of each split were left out.

    Raises:
        DataError: Nothing would be left of a split.
    """
    sizes = [frame.height for frame in sources.values()]
    is_labelled = all({text_column, label_column} <= set(frame.columns) for frame in sources.values())
    # Without its columns a source is refused where they are read.
    if max_rows is None or sum(sizes) <= max_rows or not is_labelled:
        return dict(sources), {}
    quotas = share_out(max_rows, sizes, [ratios.get(split, 1.0) for split in sources])
    without = [split for split, quota in zip(sources, quotas, strict=True) if not quota]
    if without:
        raise DataError(
            f"dataset.max_rows {max_rows:,} leaves no row for {' and '.join(without)}: raise it, or their "
            "shares in dataset.split_ratios."
        )
    sampled = {}
    for (split, frame), quota in zip(sources.items(), quotas, strict=True):
        strata = {"label": as_text(frame[label_column], column=label_column, setting="model.label_column")}
        if domain_column is not None and domain_column in frame.columns:
            domains = as_text(frame[domain_column], column=domain_column, setting="dataset.domain_column")
            strata["domain"] = domains
        is_chosen = choose_proportionally(
            as_text(frame[text_column], column=text_column, setting="model.text_column"),
            pl.DataFrame(strata),
            quota,
            seed=seed,
        )
        sampled[split] = frame.filter(is_chosen)
    left_out = zip(sampled, sizes, quotas, strict=True)
    return sampled, {split: size - quota for split, size, quota in left_out if size > quota}


def limit_splits(placed: pl.DataFrame, limits: Mapping[str, int | None], *, seed: int) -> pl.DataFrame:
    """Drop rows of final splits that are larger than wanted; every domain and label keeps its share.

    Args:
        placed: Columns text, label_id, domain, reason and destination (null for dropped rows).
        limits: Most rows by split; that of test goes for each held-out split too. None is no limit.
    """
    for split in placed["destination"].drop_nulls().unique().sort():
        limit = limits.get("test" if split.startswith(HELD_OUT_PREFIX) else split)
        is_in = placed["destination"].eq_missing(split)
        if limit is None or is_in.sum() <= limit:
            continue
        rows = placed.filter(is_in)
        is_chosen = choose_proportionally(rows["text"], rows.select("label_id", "domain"), limit, seed=seed)
        is_out = is_in.clone().scatter(is_in.arg_true(), ~is_chosen)
        placed = placed.with_columns(
            reason=pl.when(is_out).then(pl.lit(NOT_SAMPLED)).otherwise("reason"),
            destination=pl.when(~is_out).then("destination"),
        )
    return placed


def add_left_out(
    accounts: Mapping[str, SplitAccount], left_out: Mapping[str, int]
) -> dict[str, SplitAccount]:
    """Account for rows that were read and not taken, so that in = kept + dropped speaks of the whole source.

    Args:
        left_out: Rows by split, as the accounts name it.
    """
    return {
        split: replace(
            account,
            rows_in=account.rows_in + left_out.get(split, 0),
            dropped={
                **account.dropped,
                NOT_SAMPLED: account.dropped[NOT_SAMPLED] + left_out.get(split, 0),
            },
        )
        for split, account in accounts.items()
    }
