"""How evenly a model works: false and true positives of each domain, generator, attack, length and so on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from qwenkit.console import safe_text
from qwenkit.errors import ConfigError
from qwenkit.evaluation.bootstrap import (
    Interval,
    Resampling,
    bound_perfection,
    count_groups,
    percentile_interval,
    share_interval,
)
from qwenkit.evaluation.weighted import RankedRows, divide

SLICE_COLUMNS = (
    "domain_name",
    "domain",
    "model",
    "generator",
    "attack",
    "decoding",
    "length_bucket",
    "source",
    "leaks_from_train",
)
"""Columns that are sliced by wherever the data has them; evaluation.slice_columns adds others."""
LENGTH_COLUMN, LENGTH_BUCKET = "characters", "length_bucket"
LENGTH_EDGES = (250, 500, 1_000, 2_000, 4_000)
MAX_SLICES = 40
# More distinct numbers than this are cut into bins of equal mass.
MAX_NUMBERS, NUMBER_BINS = 20, 5
FEW_ROWS = 30


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a threshold does to some rows; None where there is no such row."""

    fpr: Interval | None
    tpr: Interval | None


@dataclass(frozen=True, kw_only=True)
class SliceResult:
    """One value of one column, measured."""

    column: str
    value: str
    positives: int
    negatives: int
    accuracy: Interval | None
    auroc: Interval | None
    is_against_all: bool
    """The slice has one class only; its AUROC is against all rows of the other."""
    rates: Mapping[str, Rates]
    """By name of the decision: argmax, fpr=0.01 ..."""
    few_positives: bool
    few_negatives: bool

    @property
    def rows(self) -> int:
        """Rows of the slice."""
        return self.positives + self.negatives

    @property
    def is_small(self) -> bool:
        """Whether there are too few rows to say anything of either rate."""
        return self.few_positives and self.few_negatives

    def error_at(self, decision: str) -> float:
        """Mean of the error rates that enough rows speak for; -1 where none does."""
        rates = self.rates[decision]
        errors = []
        if rates.fpr is not None and not self.few_negatives:
            errors.append(rates.fpr.value)
        if rates.tpr is not None and not self.few_positives:
            errors.append(1 - rates.tpr.value)
        return float(np.mean(errors)) if errors else -1.0

    def to_json(self) -> dict[str, Any]:
        """Lay it out for metrics.json."""
        return {
            "column": self.column,
            "value": self.value,
            "rows": self.rows,
            "positives": self.positives,
            "negatives": self.negatives,
            "few_positives": self.few_positives,
            "few_negatives": self.few_negatives,
            "accuracy": describe_interval(self.accuracy),
            "auroc": describe_interval(self.auroc),
            "auroc_against": "all" if self.is_against_all else "slice",
            "rates": {
                name: {"fpr": describe_interval(rates.fpr), "tpr": describe_interval(rates.tpr)}
                for name, rates in self.rates.items()
            },
        }


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Some rows under one name."""

    column: str
    value: str
    row_numbers: np.ndarray


def check_slice_columns(wanted: Sequence[str], columns: Sequence[str]) -> None:
    """Refuse columns to slice by that the data do not have.

    Raises:
        ConfigError: It names the first of them, and what there is.
    """
    missing = [name for name in wanted if name not in columns and name != LENGTH_BUCKET]
    if missing:
        raise ConfigError(
            f'evaluation.slice_columns names "{safe_text(missing[0], limit=60)}", which is no column of this '
            f"data; it has: {', '.join(safe_text(name, limit=40) for name in columns)}."
        )


def choose_slice_columns(
    predictions: pl.DataFrame, *, wanted: Sequence[str] = (), known: Sequence[str] = ()
) -> list[str]:
    """Choose what to slice by: what the user named, the domain column, and the usual ones that are there.

    Raises:
        ConfigError: A column that the user named is not in the predictions.
    """
    check_slice_columns(wanted, predictions.columns)
    columns = [*wanted, *known, *SLICE_COLUMNS]
    can_cut_lengths = LENGTH_COLUMN in predictions.columns
    return [
        name
        for name in dict.fromkeys(columns)
        if name in predictions.columns or (name == LENGTH_BUCKET and can_cut_lengths)
    ]


def cut_slices(predictions: pl.DataFrame, columns: Sequence[str]) -> list[Slice]:
    """Cut the rows by each column; of a column with very many values the largest slices are kept.

    A column that is the same in every row says nothing and is left out.
    """
    slices: list[Slice] = []
    for column in columns:
        values = name_values(predictions, column)
        sizes = values.value_counts(sort=True)
        names = sizes[values.name][:MAX_SLICES].to_list()
        if len(names) < 2:
            continue
        numbers = values.to_numpy()
        slices += [
            Slice(column=column, value=name, row_numbers=np.flatnonzero(numbers == name)) for name in names
        ]
    return slices


def name_values(predictions: pl.DataFrame, column: str) -> pl.Series:
    """Give the name of each row's slice; many different numbers are cut into ranges."""
    if column == LENGTH_BUCKET and column not in predictions.columns:
        return _name_ranges(predictions[LENGTH_COLUMN], LENGTH_EDGES, unit=" characters")
    values = predictions[column]
    if values.dtype.is_numeric() and values.n_unique() > MAX_NUMBERS:
        quantiles = np.quantile(values.drop_nulls().to_numpy(), np.linspace(0, 1, NUMBER_BINS + 1)[1:-1])
        return _name_ranges(values, sorted(set(quantiles.tolist())))
    return values.cast(pl.String).fill_null("(none)")


def _name_ranges(values: pl.Series, edges: Sequence[float], *, unit: str = "") -> pl.Series:
    names = [
        f"under {edges[0]:,.6g}{unit}",
        *(f"{low:,.6g} to {high:,.6g}{unit}" for low, high in pairwise(edges)),
        f"{edges[-1]:,.6g}{unit} or more",
    ]
    places = np.searchsorted(np.asarray(edges), values.fill_null(0).to_numpy(), side="right")
    named = pl.Series(values.name, [names[place] for place in places], dtype=pl.String)
    return named.zip_with(values.is_not_null(), pl.Series(values.name, ["(none)"] * len(values)))


class SliceMeasure:
    """One slice, ready to be measured on the whole set and on every draw of it."""

    def __init__(
        self,
        row_numbers: np.ndarray,
        *,
        scores: np.ndarray,
        is_positive: np.ndarray,
        is_correct: np.ndarray,
        flagged: Mapping[str, np.ndarray],
    ) -> None:
        """Collect what is counted.

        Args:
            row_numbers: The slice's rows. All other arrays are over all rows, shape (rows,).
            flagged: By decision, which rows are called positive.
        """
        self.row_numbers = row_numbers
        truth = is_positive[row_numbers]
        self.positives, self.negatives = int(truth.sum()), int((~truth).sum())
        self.is_against_all = not (self.positives and self.negatives)
        ranked = row_numbers
        if self.is_against_all:
            others = np.flatnonzero(is_positive != (self.positives > 0))
            ranked = np.concatenate([row_numbers, others])
        self._ranking = RankedRows(scores[ranked], is_positive[ranked], row_numbers=ranked)
        self._decisions = list(flagged)
        called = [flagged[name][row_numbers] for name in self._decisions]
        self._columns = np.stack(
            [truth, ~truth, is_correct[row_numbers]]
            + [part for one in called for part in (one & truth, one & ~truth)],
            axis=1,
        ).astype(np.float32)

    def __call__(self, counts: np.ndarray) -> dict[str, np.ndarray]:
        """Measure draws: accuracy, auroc, and <decision>/tpr, <decision>/fpr, each of shape (draws,)."""
        sums = (counts[:, self.row_numbers] @ self._columns).astype(np.float64)
        measured = {"accuracy": divide(sums[:, 2], sums[:, 0] + sums[:, 1])}
        if self._ranking.is_complete:
            measured["auroc"] = self._ranking.auroc(counts)
        for place, name in enumerate(self._decisions):
            measured[f"{name}/tpr"] = divide(sums[:, 3 + 2 * place], sums[:, 0])
            measured[f"{name}/fpr"] = divide(sums[:, 4 + 2 * place], sums[:, 1])
        return measured

    def bound(
        self, drawn: Mapping[str, np.ndarray], *, resampling: Resampling, is_positive: np.ndarray
    ) -> tuple[Interval | None, Interval | None, dict[str, Rates], int, int]:
        """Turn draws into intervals.

        Returns:
            Accuracy, AUROC, the rates by decision, and the groups with positives and with negatives.
        """
        whole = self(np.ones((1, resampling.rows), dtype=np.float32))
        rows = self.row_numbers
        with_positives = count_groups(resampling.group_ids, rows[is_positive[rows]])
        with_negatives = count_groups(resampling.group_ids, rows[~is_positive[rows]])

        def share(name: str, n_rows: int, n_groups: int) -> Interval | None:
            return share_interval(whole[name][0] * n_rows, n_rows, drawn[name], n_groups=n_groups)

        auroc = None
        if "auroc" in drawn:
            smaller = min(size for size in (with_positives, with_negatives) if size)
            interval = percentile_interval(float(whole["auroc"][0]), drawn["auroc"])
            auroc = bound_perfection(interval, n_groups=smaller)
        rates = {
            name: Rates(
                fpr=share(f"{name}/fpr", self.negatives, with_negatives),
                tpr=share(f"{name}/tpr", self.positives, with_positives),
            )
            for name in self._decisions
        }
        accuracy = share("accuracy", len(rows), with_positives + with_negatives)
        return accuracy, auroc, rates, with_positives, with_negatives


def bound_slice(
    cut: Slice,
    measure: SliceMeasure,
    drawn: Mapping[str, np.ndarray],
    *,
    resampling: Resampling,
    is_positive: np.ndarray,
) -> SliceResult:
    """Put a slice's numbers and intervals together."""
    accuracy, auroc, rates, with_positives, with_negatives = measure.bound(
        drawn, resampling=resampling, is_positive=is_positive
    )
    return SliceResult(
        column=cut.column,
        value=cut.value,
        positives=measure.positives,
        negatives=measure.negatives,
        accuracy=accuracy,
        auroc=auroc,
        is_against_all=measure.is_against_all,
        rates=rates,
        few_positives=with_positives < FEW_ROWS,
        few_negatives=with_negatives < FEW_ROWS,
    )


def sort_worst_first(slices: Sequence[SliceResult], decision: str) -> list[SliceResult]:
    """Order slices by their error at a decision, the worst first, those too small to judge last."""
    return sorted(slices, key=lambda one: (one.is_small, -one.error_at(decision), one.value))


def describe_interval(interval: Interval | None) -> dict[str, float] | None:
    """Lay an interval out for metrics.json."""
    return None if interval is None else {"value": interval.value, "low": interval.low, "high": interval.high}
