"""Confidence intervals: rows are drawn again by group and class, everything is counted once per draw.

Near-duplicates of one text say the same thing, so they are drawn together; and the two classes are drawn
apart, because how many rows each has was chosen by whoever made the set.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

DRAWS = 1_000
LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054
# Counts of one block of draws; small enough to stay near the processor, large enough for numpy to be fast.
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number and the range that holds its true value, with 95 % confidence."""

    value: float
    low: float
    high: float

    def to_json(self) -> list[float]:
        """Give the bounds alone, as metrics.json keeps them beside the value."""
        return [self.low, self.high]


class Resampling:
    """Draws of the rows, as how often each row is in each draw.

    Two sets of scores on the same rows, given the same Resampling, are measured on the same draws: the
    difference of any metric then has its own, narrower interval.
    """

    def __init__(
        self,
        strata: np.ndarray,
        *,
        groups: np.ndarray | None = None,
        draws: int = DRAWS,
        seed: int = 42,
    ) -> None:
        """Settle who is drawn with whom.

        Args:
            strata: Class of each row, int, shape (rows,). A group is drawn among those that hold the same
                classes as it does.
            groups: Group of each row, shape (rows,); None makes each row its own.
        """
        self.rows = len(strata)
        self.draws = draws
        self._seed = seed
        self.group_ids = (
            np.arange(self.rows) if groups is None else np.unique(groups, return_inverse=True)[1].ravel()
        )
        self.n_groups = int(self.group_ids.max()) + 1 if self.rows else 0
        class_bits = np.zeros(self.n_groups, dtype=np.int64)
        np.bitwise_or.at(class_bits, self.group_ids, np.left_shift(1, strata % 62))
        self._strata = [np.flatnonzero(class_bits == bits) for bits in np.unique(class_bits)]

    def blocks(self) -> Iterator[np.ndarray]:
        """Draw: how often each row occurs, float32, shape (draws of the block, rows)."""
        rng = np.random.default_rng(self._seed)
        size = max(1, min(self.draws, BLOCK_CELLS // max(self.n_groups, 1)))
        is_identity = self.n_groups == self.rows
        for start in range(0, self.draws, size):
            counts = self._draw_groups(rng, min(size, self.draws - start))
            yield counts if is_identity else counts[:, self.group_ids]

    def _draw_groups(self, rng: np.random.Generator, draws: int) -> np.ndarray:
        counts = np.empty((draws, self.n_groups), dtype=np.float32)
        # Draw after draw, so that the size of a block decides nothing.
        for draw in range(draws):
            for members in self._strata:
                size = len(members)
                drawn = rng.integers(0, size, size=size, dtype=np.int32)
                counts[draw, members] = np.bincount(drawn, minlength=size)
        return counts


Measure = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Counts, shape (draws, rows) -> named metrics of each draw, shape (draws,)."""


def draw_metrics(resampling: Resampling, measure: Measure) -> dict[str, np.ndarray]:
    """Measure every draw, block by block; each metric has shape (draws,)."""
    parts: dict[str, list[np.ndarray]] = {}
    for counts in resampling.blocks():
        for name, values in measure(counts).items():
            parts.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in parts.items()}


def percentile_interval(value: float, drawn: np.ndarray) -> Interval | None:
    """Take the middle 95 % of the draws; None where the metric is undefined in half of them or more."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or 2 * len(defined) < len(drawn):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    # A value on the edge of its range, such as a perfect AUROC, may lie outside its own draws by rounding.
    return Interval(value=value, low=float(min(low, value)), high=float(max(high, value)))


def share_interval(hits: float, rows: float, drawn: np.ndarray, *, n_groups: int) -> Interval | None:
    """Bound a share of rows by Wilson's interval, with as many rows as the spread of its draws stands for.

    For a rate near 0 or 1, what a false-positive rate should be, the percentiles of draws are too narrow,
    and where no row is hit they are a point. With independent rows this is Wilson's interval itself.

    Args:
        drawn: The share in each draw, NaN where the draw has no such row.
        n_groups: Groups among the rows: as many independent ones, where no or every row is hit.

    Source: Kish's effective sample size; Wilson 1927.
    """
    if not rows:
        return None
    share = hits / rows
    defined = drawn[np.isfinite(drawn)]
    spread = float(defined.var()) if len(defined) else 0.0
    effective = min(rows, share * (1 - share) / spread) if spread > 0 else float(n_groups)
    z2 = NORMAL_QUANTILE**2
    middle = (share + z2 / (2 * effective)) / (1 + z2 / effective)
    reach = NORMAL_QUANTILE * np.sqrt(share * (1 - share) / effective + z2 / (4 * effective**2))
    reach /= 1 + z2 / effective
    # At the edges both bounds are the rate itself but for rounding.
    low = float(middle - reach) if hits else 0.0
    high = float(middle + reach) if hits < rows else 1.0
    return Interval(value=share, low=low, high=high)


def bound_perfection(interval: Interval | None, *, n_groups: int) -> Interval | None:
    """Give a perfect AUROC a lower bound, where no draw can tell anything.

    No row of the smaller class was misplaced; then its true share of misplaced rows, and with it what the
    AUROC lacks to 1, is with 95 % confidence below the exact bound for none in n.
    """
    if interval is None or interval.low < interval.high:
        return interval
    bound = float(betaincinv(1, max(n_groups, 1), LEVEL))
    if interval.value == 1.0:
        return Interval(value=1.0, low=1.0 - bound, high=1.0)
    return Interval(value=0.0, low=0.0, high=bound) if interval.value == 0.0 else interval


def count_groups(group_ids: np.ndarray, rows: np.ndarray) -> int:
    """Count the groups among some rows, given by number or as a boolean mask."""
    return len(np.unique(group_ids[rows]))
