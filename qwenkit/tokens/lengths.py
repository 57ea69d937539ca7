"""How long the documents are in tokens, and how much of them the cut at max_length takes away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qwenkit.console import Console

N_BINS = 8
BAR_WIDTH = 40
COLUMNS = ("split", "rows", "mean", "median", "p95", "longest", "tokens kept", "rows cut", "tokens lost")


@dataclass(frozen=True)
class LengthSummary:
    """Lengths of one split, in tokens before the cut.

    Attributes:
        tokens_kept: Sum over rows after the cut; what training reads in one epoch.
        truncated_rows: Rows longer than max_length.
        histogram: (from, to, rows), both ends included; the last bin holds the truncated rows.
    """

    rows: int
    max_length: int
    mean: float
    median: float
    p95: float
    longest: int
    tokens: int
    tokens_kept: int
    truncated_rows: int
    histogram: tuple[tuple[int, int, int], ...]

    @property
    def truncated_share(self) -> float:
        """Share of the rows that lose their end."""
        return self.truncated_rows / self.rows if self.rows else 0.0

    @property
    def lost_share(self) -> float:
        """Share of all tokens that the cut takes away."""
        return 1 - self.tokens_kept / self.tokens if self.tokens else 0.0

    def as_counts(self) -> dict[str, Any]:
        """Give the numbers as they go into a manifest."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "tokens_kept": self.tokens_kept,
            "truncated": self.truncated_rows,
            "truncated_share": self.truncated_share,
            "mean": self.mean,
            "median": self.median,
            "p95": self.p95,
            "longest": self.longest,
            "histogram": [list(part) for part in self.histogram],
        }


def summarize_lengths(full_lengths: Any, *, max_length: int, truncation: bool = True) -> LengthSummary:
    """Summarize the lengths of one split.

    Args:
        full_lengths: Tokens of every row before the cut, shape (rows,): the column full_length.
        truncation: False says that nothing was cut.
    """
    lengths = np.asarray(full_lengths, dtype=np.int64)
    edges = np.unique(np.linspace(0, max_length, N_BINS + 1).round().astype(np.int64))
    beyond = lengths > max_length
    # Bins are (low, high]: a row of exactly max_length is not cut.
    places = np.searchsorted(edges, lengths[~beyond], side="left").clip(1) - 1
    counts = np.bincount(places, minlength=len(edges) - 1)
    histogram = [
        (int(low) + 1, int(high), int(count))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    longest = int(lengths.max(initial=0))
    if beyond.any():
        histogram.append((max_length + 1, longest, int(beyond.sum())))
    return LengthSummary(
        rows=len(lengths),
        max_length=max_length,
        mean=float(lengths.mean()) if len(lengths) else 0.0,
        median=float(np.median(lengths)) if len(lengths) else 0.0,
        p95=float(np.percentile(lengths, 95)) if len(lengths) else 0.0,
        longest=longest,
        tokens=int(lengths.sum()),
        tokens_kept=int(np.minimum(lengths, max_length).sum() if truncation else lengths.sum()),
        truncated_rows=int(beyond.sum()) if truncation else 0,
        histogram=tuple(histogram),
    )


def show_lengths(console: Console, summaries: Mapping[str, LengthSummary]) -> None:
    """Print a line of numbers for every split, and the histogram of the train split (or the first)."""
    console.table("Lengths in tokens", COLUMNS, [_format_row(name, part) for name, part in summaries.items()])
    pictured = "train" if "train" in summaries else next(iter(summaries))
    console.info(f"{pictured}, rows by tokens:")
    for line in draw_histogram(summaries[pictured]):
        console.info(line)


def draw_histogram(summary: LengthSummary) -> list[str]:
    """Draw the histogram in text, a line a bin; any row at all shows at least a thin bar."""
    most = max((count for _, _, count in summary.histogram), default=0) or 1
    labels = [
        f"{low:,}-{high:,}" if high <= summary.max_length else f"over {summary.max_length:,}"
        for low, high, _ in summary.histogram
    ]
    width = max((len(label) for label in labels), default=0)
    return [
        f"{label:>{width}}  {_draw_bar(count / most)} {count:,}"
        for label, (_, _, count) in zip(labels, summary.histogram, strict=True)
    ]


def _format_row(split: str, summary: LengthSummary) -> list[str]:
    return [
        split,
        f"{summary.rows:,}",
        f"{summary.mean:.0f}",
        f"{summary.median:.0f}",
        f"{summary.p95:.0f}",
        f"{summary.longest:,}",
        f"{summary.tokens_kept:,}",
        f"{summary.truncated_rows:,} ({100 * summary.truncated_share:.1f} %)",
        f"{100 * summary.lost_share:.1f} %",
    ]


def _draw_bar(share: float) -> str:
    return "█" * round(share * BAR_WIDTH) or ("▏" if share else "")
