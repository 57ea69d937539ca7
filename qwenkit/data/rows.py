"""From source columns to canonical ones: what cleaning and splitting look at, and what is written."""

from collections.abc import Mapping, Sequence

import polars as pl

from qwenkit.console import safe_text
from qwenkit.data.labels import as_text, list_columns, match_labels
from qwenkit.data.splits import PRECEDENCE
from qwenkit.errors import ConfigError, DataError
from qwenkit.text.normalize import normalize_text

CANONICAL_COLUMNS = ("row_id", "text", "label", "label_id")
# Written beside them where the rows were split.
SPLIT_COLUMNS = ("group", "leaks_from_train")
DOMAIN_COLUMNS = ("domain_name", "domain")


def restore_names(frame: pl.DataFrame, *, text_column: str, label_column: str) -> pl.DataFrame:
    """Give a frame that was prepared before its source's column names again, so that both can be mixed."""
    names = {"text": text_column, "label": label_column}
    is_prepared = set(CANONICAL_COLUMNS) <= set(frame.columns)
    has_source_names = any(name in frame.columns for name in names.values() if name not in names)
    return frame.rename(names) if is_prepared and not has_source_names else frame


def find_domain_column(sources: Mapping[str, pl.DataFrame], wanted: str | None) -> str | None:
    """Choose the column to stratify by: the one named in the config, else a usual one, else none.

    Raises:
        DataError: The one named is in no split.
    """
    columns = list(dict.fromkeys(column for frame in sources.values() for column in frame.columns))
    if wanted is None:
        return next((name for name in DOMAIN_COLUMNS if name in columns), None)
    refuse_missing("domain", wanted, columns, setting="dataset.domain_column", place="data")
    return wanted


def collect_rows(
    sources: Mapping[str, pl.DataFrame],
    *,
    labels: Sequence[str],
    text_column: str,
    label_column: str,
    domain_column: str | None,
    label_mapping: Mapping[str, str | None] | None = None,
    normalize: Sequence[str] = (),
) -> tuple[pl.DataFrame, dict[str, int], list[str]]:
    """Lay the rows of all splits under each other, with only what cleaning and splitting look at.

    Args:
        label_mapping: Class name by value of the label column, where the two differ.
        normalize: Rules that each text goes through before anything else looks at it.

    Returns:
        Columns row_id (counted through in reading order), split, precedence, text, label, domain, label_id;
        unknown label values with their counts; notes.

    Raises:
        DataError: A column is missing or holds no text, or no label is known.
    """
    if text_column == label_column:
        raise ConfigError(f"model.text_column and model.label_column are both {safe_text(text_column)}.")
    parts = []
    for split, frame in sources.items():
        place = "data" if len(sources) == 1 else f"{split} split"
        text = _take_text(frame, text_column, kind="text", setting="model.text_column", place=place)
        text = _normalize(text, normalize)
        label = _take_text(frame, label_column, kind="label", setting="model.label_column", place=place)
        domain = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
        if domain_column is not None and domain_column in frame.columns:
            domain = as_text(frame[domain_column], column=domain_column, setting="dataset.domain_column")
        columns = [text.alias("text"), label.alias("label"), domain.alias("domain")]
        precedence = pl.lit(PRECEDENCE[split], dtype=pl.Int64)
        parts.append(pl.DataFrame(columns).with_columns(split=pl.lit(split), precedence=precedence))
    rows = pl.concat(parts).with_row_index("row_id").with_columns(pl.col("row_id").cast(pl.Int64))
    label_ids, unknown, notes = match_labels(
        rows["label"], labels, column=label_column, mapping=label_mapping
    )
    return rows.with_columns(label_id=label_ids), unknown, notes


def collect_columns(
    sources: Mapping[str, pl.DataFrame], names: Sequence[str], *, kind: str, setting: str
) -> pl.DataFrame:
    """Lay some columns of all splits under each other as text, null where a split lacks one.

    Args:
        kind: What they are, for messages: "group".

    Returns:
        The columns named, a line for each row_id.

    Raises:
        DataError: A column is in no split, or holds lists or structs.
    """
    present = list(dict.fromkeys(column for frame in sources.values() for column in frame.columns))
    for name in names:
        refuse_missing(kind, name, present, setting=setting, place="data")
    parts = []
    for frame in sources.values():
        empty = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
        columns = [
            as_text(frame[name], column=name, setting=setting) if name in frame.columns else empty.alias(name)
            for name in names
        ]
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


def build_frames(
    sources: Mapping[str, pl.DataFrame],
    placed: pl.DataFrame,
    *,
    labels: Sequence[str],
    text_column: str,
    label_column: str,
) -> dict[str, pl.DataFrame]:
    """Put the canonical columns before the source's others, and take the rows of each final split.

    Args:
        sources: The frames that `collect_rows` got.
        placed: Its rows, in its order, with `destination` (the final split, null for dropped rows) and, where
            they were split, group and leaks_from_train.

    Returns:
        Frames by final split, in reading order; a split without rows is missing.
    """
    names = dict(enumerate(labels))
    label = pl.col("label_id").replace_strict(names, default=None, return_dtype=pl.String).alias("label")
    columns = [
        "row_id",
        "text",
        label,
        "label_id",
        *[name for name in SPLIT_COLUMNS if name in placed.columns],
    ]
    parts: dict[str, list[pl.DataFrame]] = {}
    for source, frame in sources.items():
        rows = placed.filter(pl.col("split") == source)
        canonical = rows.select(columns)
        others = _rename_clashes(frame.drop(text_column, label_column), canonical.columns)
        whole = canonical.hstack(others)
        for split in rows["destination"].drop_nulls().unique():
            parts.setdefault(split, []).append(whole.filter(rows["destination"] == split))
    return {split: _stack(frames, split) for split, frames in parts.items()}


def _take_text(frame: pl.DataFrame, column: str, *, kind: str, setting: str, place: str) -> pl.Series:
    refuse_missing(kind, column, frame.columns, setting=setting, place=place)
    return as_text(frame[column], column=column, setting=setting)


def _normalize(texts: pl.Series, rules: Sequence[str]) -> pl.Series:
    if not rules:
        return texts
    normalized = (None if text is None else normalize_text(text, rules) for text in texts)
    return pl.Series(texts.name, normalized, dtype=pl.String)


def refuse_missing(kind: str, column: str, columns: Sequence[str], *, setting: str, place: str) -> None:
    """Refuse data without a column that a setting names."""
    if column not in columns:
        raise DataError(
            f'{kind} column "{safe_text(column)}" is not in the {place}; it has: {list_columns(columns)}. '
            f"Set {setting}."
        )


def _stack(frames: Sequence[pl.DataFrame], split: str) -> pl.DataFrame:
    """Put what several given splits contribute to one final split under each other."""
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed").sort("row_id")
    except pl.exceptions.PolarsError as error:
        message = f"the splits that make up {split} have columns that do not fit together: {error}"
        raise DataError(message) from error


def _rename_clashes(others: pl.DataFrame, taken: Sequence[str]) -> pl.DataFrame:
    """Keep a source's own row_id, label_id, text or label as source_row_id and so on."""
    renamed: dict[str, str] = {}
    for name in others.columns:
        if name in taken:
            free = f"source_{name}"
            while free in others.columns:
                free = f"source_{free}"
            renamed[name] = free
    return others.rename(renamed)
