"""Label names and their ids, how often each occurs, and how much each weighs in the loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from qwenkit.console import safe_text
from qwenkit.errors import ConfigError, DataError

_SHOWN_VALUES = 10
_SHOWN_COLUMNS = 30


@dataclass(frozen=True)
class LabelTable:
    """What labels.json holds.

    Attributes:
        names: In id order: names[0] is class 0. Never sorted, as the order decides the sign of every score.
        counts: Rows by split, then by label name; every label is listed, with 0 where it has no row.
        class_weights: In id order.
        positive_label: The class whose probability is "the score".
    """

    names: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    class_weights: tuple[float, ...]
    positive_label: str

    @property
    def label2id(self) -> dict[str, int]:
        return {name: label_id for label_id, name in enumerate(self.names)}

    @property
    def id2label(self) -> dict[int, str]:
        return dict(enumerate(self.names))

    def to_json(self) -> dict[str, Any]:
        """Lay it out as labels.json has it."""
        return {
            "labels": list(self.names),
            "counts": {split: dict(counts) for split, counts in self.counts.items()},
            "class_weights": list(self.class_weights),
            "positive_label": self.positive_label,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "LabelTable":
        """Read what `to_json` wrote."""
        return cls(
            names=tuple(content["labels"]),
            counts=content["counts"],
            class_weights=tuple(content["class_weights"]),
            positive_label=content["positive_label"],
        )


def count_labels(label_ids: pl.Series, names: Sequence[str]) -> dict[str, int]:
    """Count the rows of every label, those without a row included, in id order."""
    counts = np.bincount(label_ids.to_numpy(), minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def compute_class_weights(label_ids: np.ndarray, n_classes: int) -> np.ndarray:
    """Weight each class by the inverse of its share, so that all classes pull equally on the loss.

    Args:
        label_ids: Class of every training row, shape (rows,).
        n_classes: Ids run from 0 to n_classes - 1.

    Returns:
        float32, shape (n_classes,); the mean over rows is 1, so the learning rate keeps its meaning.

    Raises:
        DataError: A class has no row. The message names its id.

    Source: the "balanced" rule of scikit-learn's compute_class_weight.
    """
    counts = np.bincount(np.asarray(label_ids, dtype=np.int64), minlength=n_classes)
    if len(counts) > n_classes:
        raise DataError(f"label id {len(counts) - 1} is out of range: there are {n_classes} classes.")
    if not counts.all():
        empty = ", ".join(str(label_id) for label_id in np.flatnonzero(counts == 0))
        raise DataError(f"class {empty} has no training row, so it has no weight.")
    return (counts.sum() / (n_classes * counts)).astype(np.float32)


def choose_class_weights(
    label_ids: np.ndarray,
    names: Sequence[str],
    *,
    enabled: bool = True,
    method: str = "inverse_frequency",
    manual_weights: Sequence[float] | None = None,
) -> np.ndarray:
    """Follow the section class_weights: all ones when off, the list given, or the inverse of the shares.

    Args:
        label_ids: Class of every row of the train split really used, shape (rows,).
        names: Label names in id order.

    Returns:
        float32, shape (classes,).

    Raises:
        ConfigError: The manual list does not fit the labels.
    """
    if not enabled:
        return np.ones(len(names), dtype=np.float32)
    if method != "manual":
        return compute_class_weights(label_ids, len(names))
    weights = np.asarray(manual_weights or (), dtype=np.float32)
    if weights.shape != (len(names),) or not np.isfinite(weights).all() or (weights <= 0).any():
        raise ConfigError(
            f"class_weights.manual_weights is {list(manual_weights or ())}; expected one positive number "
            f"for each of {', '.join(map(safe_text, names))}, in this order."
        )
    return weights


def match_labels(
    values: pl.Series, names: Sequence[str], *, column: str, mapping: Mapping[str, str | None] | None = None
) -> tuple[pl.Series, dict[str, int], list[str]]:
    """Find the class of every label: by exact name, by the mapping, or by id where the column holds ids.

    Without a mapping a column counts as ids only if no value is a name and every value is an integer from 0
    to n - 1 (1, "1" and 1.0 alike) or, for two classes, a boolean. The note says so, as the data may mean it
    the other way.

    Args:
        values: Labels as they came, any type that has a text form; shape (rows,).
        names: Label names in id order.
        column: Name of the label column, for messages.
        mapping: Class name by value, as model.label_mapping has it; null drops the rows of that value.

    Returns:
        Ids (Int64, null where the label is null or unknown), unknown values with their counts, and notes.

    Raises:
        DataError: No label is known, the mapping lacks a value, or labels are lists or structs.
    """
    text = as_text(values, column=column, setting="model.label_column")
    counts = dict(
        text.drop_nulls().value_counts(sort=True).sort("count", text.name, descending=[True, False]).rows()
    )
    ids = {name: label_id for label_id, name in enumerate(names)}
    notes: list[str] = []
    shown = f'label column "{safe_text(column)}"'
    if mapping:
        classes = map_values(counts, names, mapping)
        refuse_unmapped(counts, classes, shown=shown)
        dropped = {value: counts[value] for value, name in classes.items() if name is None}
        ids = {value: ids[name] for value, name in classes.items() if name is not None}
        return text.replace_strict(ids, default=None, return_dtype=pl.Int64), dropped, notes
    by_id = _forms_of_ids(len(names))
    if counts and counts.keys() <= by_id.keys() and not counts.keys() & ids.keys():
        ids = by_id
        pairs = ", ".join(f"{value} = {safe_text(names[by_id[value]])}" for value in sorted(counts))
        notes.append(
            f"the {shown} holds ids, read in the order of model.labels: {pairs}. Check that it is so"
        )
    unknown = {value: count for value, count in counts.items() if value not in ids}
    if len(unknown) == len(counts):
        refuse_unknown_labels(unknown, names, shown=shown)
    return text.replace_strict(ids, default=None, return_dtype=pl.Int64), unknown, notes


def as_text(values: pl.Series, *, column: str, setting: str) -> pl.Series:
    """Read a column as text: numbers and booleans in their usual form, bytes as UTF-8.

    Raises:
        DataError: It holds lists or structs, or bytes that are not UTF-8.
    """
    refuse_nested(values, column=column, setting=setting)
    try:
        return values.cast(pl.String)
    except pl.exceptions.PolarsError:
        refuse_bad_bytes(values, column=column, setting=setting)
        raise


def refuse_nested(values: pl.Series, *, column: str, setting: str) -> None:
    """Refuse a column of lists or objects, which have no one text form."""
    if values.dtype.is_nested() or values.dtype == pl.Object:
        raise DataError(f'the column "{safe_text(column)}" holds {values.dtype}, not text. Set {setting}.')


def refuse_bad_bytes(values: pl.Series, *, column: str, setting: str) -> None:
    """Refuse a column of bytes that are not UTF-8, and name the first row of them."""
    for row, value in enumerate(values):
        try:
            (value or b"").decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f'the column "{safe_text(column)}" holds bytes, and those of row {row:,} (from 0 on) are not '
                f"UTF-8: byte {error.start:,} is 0x{value[error.start]:02X}. Write text, or set {setting}."
            ) from error


def list_columns(names: Sequence[str]) -> str:
    """List the columns that there are, safe to print; a name with blanks at its ends shows them."""
    shown = [safe_text(name, limit=40) for name in names[:_SHOWN_COLUMNS]]
    quoted = ", ".join(name if name == name.strip() and name else f'"{name}"' for name in shown)
    return quoted + (f" and {len(names) - _SHOWN_COLUMNS:,} more" if len(names) > _SHOWN_COLUMNS else "")


def refuse_unknown_labels(unknown: Mapping[str, int], names: Sequence[str], *, shown: str) -> None:
    """Refuse a label column none of whose values is a class."""
    if unknown:
        raise DataError(
            f"no label is one of model.labels ({', '.join(map(safe_text, names))}). The {shown} holds: "
            f"{list_values(unknown)}. Set model.labels to these, in id order, model.label_mapping to say "
            "which value is which class, or model.label_column."
        )


def map_values(
    values: Iterable[str], names: Sequence[str], mapping: Mapping[str, str | None]
) -> dict[str, str | None]:
    """Find the class of each value of a label column; a value that the mapping lacks is left out.

    A key stands for its value exactly, 1 also for 1.0 (pandas writes integers beside a missing value so),
    true also for True and TRUE. A class's own name is that class, unless the mapping says otherwise.
    """
    known: dict[str, str | None] = {name: name for name in names}
    known |= {_plain_form(key): name for key, name in mapping.items()}
    known |= mapping
    classes = {}
    for value in values:
        form = value if value in known else _plain_form(value)
        if form in known:
            classes[value] = known[form]
    return classes


def refuse_unmapped(counts: Mapping[str, int], classes: Mapping[str, str | None], *, shown: str) -> None:
    """Refuse values that the mapping lacks: whoever writes one means to name all that there are."""
    lacking = {value: count for value, count in counts.items() if value not in classes}
    if lacking:
        raise DataError(
            f"model.label_mapping says nothing about {list_values(lacking)}. The {shown} holds: "
            f"{list_values(counts)}. Name the class of each, or null to drop its rows."
        )


def list_values(counts: Mapping[str, int]) -> str:
    """List values with their row counts, most frequent first, safe to print."""
    shown = [f'"{safe_text(value, limit=40)}" ({count:,})' for value, count in counts.items()][:_SHOWN_VALUES]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _plain_form(value: str) -> str:
    return value.lower() if value.lower() in ("true", "false") else value.removesuffix(".0")


def _forms_of_ids(n_classes: int) -> dict[str, int]:
    """List the texts that stand for an id; pandas turns integers beside a missing value into 1.0."""
    forms = {form: label_id for label_id in range(n_classes) for form in (str(label_id), f"{label_id}.0")}
    if n_classes == 2:
        forms |= {form: int(value) for value in (False, True) for form in (str(value), str(value).lower())}
    return forms
