"""Which traits give a class away: a sample of all splits, asked by the probes of text/leaks.py."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from qwenkit.data.augment import ATTACK_COLUMN
from qwenkit.data.dealing import allocate
from qwenkit.data.prepared import PreparedData
from qwenkit.text.folds import FOLDS, AuditedRows
from qwenkit.text.leaks import WARNING_AUROC, audit_rows

MAX_ROWS = 20_000
# With fewer the AUROC of a coin would often pass for a leak.
LEAST_ROWS = 100
LEAST_ROWS_OF_CLASS = 20
GROUP_COLUMN = "group"
# Columns that say where a row comes from; which generator wrote it is the label itself.
SOURCE_COLUMNS = ("source", "corpus", "dataset", "origin", "publisher", "language", "lang", "length_bucket")
MOST_VALUES = 1_000


def audit_prepared(prepared: PreparedData, *, seed: int) -> PreparedData:
    """Add the leak audit to prepared data."""
    leaks = audit_leaks(
        prepared.splits, labels=prepared.labels.names, domain_column=prepared.domain_column, seed=seed
    )
    return replace(prepared, leaks=leaks)


def audit_leaks(
    splits: Mapping[str, pl.DataFrame],
    *,
    labels: Sequence[str],
    domain_column: str | None,
    seed: int,
    max_rows: int = MAX_ROWS,
) -> dict[str, Any] | None:
    """Ask every probe whether it can tell the classes apart, on a stratified sample.

    Args:
        splits: Columns row_id, text, label_id; `group` too, where near-duplicates were grouped.
        seed: Decides sample and folds.
        max_rows: Size of the sample; split, label and domain keep their shares in it.

    Returns:
        Plain values for audit.json: how it was done, and one fact a probe as `audit_rows` gives them. None
        where there are too few rows to tell anything.
    """
    sampled = pl.concat(
        _take_columns(_drop_variants(frame).with_columns(split=pl.lit(split)), domain_column)
        for split, frame in splits.items()
    )
    total = sampled.height
    strata = ["split", "label_id", *([domain_column] if domain_column else [])]
    sampled = _draw(sampled, strata, size=max_rows, seed=seed)
    counts = np.bincount(sampled["label_id"].to_numpy(), minlength=len(labels))
    groups, is_grouped = _find_groups(sampled)
    is_enough = sampled.height >= LEAST_ROWS and len(np.unique(groups)) >= LEAST_ROWS
    if not is_enough or (np.sort(counts)[-2:] < LEAST_ROWS_OF_CLASS).any():
        return None
    rows = AuditedRows(
        texts=sampled["text"].to_list(),
        label_ids=sampled["label_id"].to_numpy(),
        groups=groups,
        row_ids=sampled["row_id"].to_numpy(),
        labels=list(labels),
        seed=seed,
        columns=_find_columns(sampled, domain_column),
        domain_column=domain_column,
    )
    return {
        "rows": sampled.height,
        "of_rows": total,
        "folds": FOLDS,
        "folds_by": GROUP_COLUMN if is_grouped else "row",
        "seed": seed,
        "warning_auroc": WARNING_AUROC,
        "probes": list(audit_rows(rows)),
    }


def _take_columns(frame: pl.DataFrame, domain_column: str | None) -> pl.DataFrame:
    """Keep what the audit looks at; a column that this split lacks is null."""
    wanted = {"row_id": pl.Int64, "text": pl.String, "label_id": pl.Int64, "split": pl.String}
    others = [name for name in (*SOURCE_COLUMNS, domain_column) if name]
    columns = [pl.col(name).cast(kind) for name, kind in wanted.items()]
    columns += [
        pl.col(name).cast(pl.String) if _is_readable(frame, name) else pl.lit(None, pl.String).alias(name)
        for name in dict.fromkeys(others)
    ]
    has_groups = GROUP_COLUMN in frame.columns and frame.schema[GROUP_COLUMN].is_integer()
    group = pl.col(GROUP_COLUMN).cast(pl.Int64) if has_groups else pl.lit(None, pl.Int64).alias(GROUP_COLUMN)
    return frame.select(*columns, group)


def _drop_variants(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave out attacked copies: what they show was put in on purpose."""
    return frame.filter(pl.col(ATTACK_COLUMN).is_null()) if ATTACK_COLUMN in frame.columns else frame


def _is_readable(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and not frame.schema[name].is_nested() and frame.schema[name] != pl.Object


def _draw(rows: pl.DataFrame, strata: Sequence[str], *, size: int, seed: int) -> pl.DataFrame:
    """Draw rows so that each stratum keeps its share."""
    if rows.height <= size:
        return rows
    names = rows.select(strata).unique().sort(strata).with_row_index("stratum")
    joined = rows.join(names, on=list(strata), how="left", nulls_equal=True, maintain_order="left")
    numbers = joined["stratum"].to_numpy()
    sizes = np.bincount(numbers)
    wanted = [line[0] for line in allocate(sizes.tolist(), [size, rows.height - size])]
    random = np.random.default_rng(seed)
    drawn = [
        random.choice(np.flatnonzero(numbers == number), size=count, replace=False)
        for number, count in enumerate(wanted)
    ]
    return rows[np.sort(np.concatenate(drawn))]


def _find_groups(rows: pl.DataFrame) -> tuple[np.ndarray, bool]:
    """Give the group of each row; without groups every row is its own."""
    if rows[GROUP_COLUMN].null_count():
        return np.arange(rows.height), False
    return rows[GROUP_COLUMN].to_numpy(), True


def _find_columns(rows: pl.DataFrame, domain_column: str | None) -> dict[str, np.ndarray]:
    names = dict.fromkeys(name for name in (*SOURCE_COLUMNS, domain_column) if name)
    return {
        name: rows[name].fill_null("").to_numpy().astype(str)
        for name in names
        if 1 < rows[name].n_unique() <= MOST_VALUES
    }
