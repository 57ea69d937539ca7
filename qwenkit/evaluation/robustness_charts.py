"""The figures of robustness: rates under each attack, and scores over the length that is left of a text."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.plots import FONT_POINTS, INK, LINE_STYLES, MUTED, SERIES, Picture, new_axes, render

LINE_INCHES, MARGIN_INCHES = 0.27, 0.75
MARKERS = ("o", "s", "^")
Bounds = Sequence[Interval | None]


def plot_attacks(titles: Sequence[str], series: Sequence[Bounds], *, alt: str) -> Picture:
    """Draw rates with their intervals, one line an attack, the first on top; its values go down as dots.

    Args:
        titles: Our own names of the attacks, never text of the data.
        series: One sequence of rates a quantity, in the order of the titles.
    """
    height = MARGIN_INCHES + LINE_INCHES * len(titles)
    figure, axes = new_axes("Share of the rows flagged", "", height_inches=height)
    for index, bounds in enumerate(series):
        first = bounds[0]
        if first is not None:
            axes.axvline(first.value, color=SERIES[index], linewidth=0.9, linestyle=(0, (2, 3)))
        # Apart by a little, so that equal rates do not hide each other.
        places = np.arange(len(titles)) + (index - (len(series) - 1) / 2) * 0.26
        _draw_intervals(axes, places, bounds, index, is_horizontal=True)
    axes.set_yticks(range(len(titles)), titles, color=INK, fontsize=FONT_POINTS - 1)
    axes.set_ylim(len(titles) - 0.4, -0.6)
    widest = max((one.high for bounds in series for one in bounds if one is not None), default=1.0)
    axes.set_xlim(-0.015 * widest, 1.03 * widest)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return render(figure, alt)


def plot_lengths(tokens: Sequence[int], series: Sequence[Bounds], *, alt: str) -> Picture:
    """Draw scores with their intervals over the tokens that are left, on a logarithmic axis.

    Args:
        series: One sequence of values a quantity, in the order of the tokens.
    """
    figure, axes = new_axes("First tokens of each text", "Score, or share flagged")
    for index, bounds in enumerate(series):
        drawn = [(place, one.value) for place, one in zip(tokens, bounds, strict=True) if one is not None]
        if drawn:
            axes.plot(*np.transpose(drawn), color=SERIES[index], linestyle=LINE_STYLES[index], linewidth=1.6)
        _draw_intervals(axes, np.asarray(tokens), bounds, index, is_horizontal=False)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(tokens)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.axhline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set_ylim(-0.01, 1.01)
    return render(figure, alt)


def _draw_intervals(
    axes: Axes, places: np.ndarray, bounds: Bounds, index: int, *, is_horizontal: bool
) -> None:
    for place, one in zip(places, bounds, strict=True):
        if one is None:
            continue
        style: dict[str, Any] = {
            "color": SERIES[index],
            "linewidth": 2.0,
            "alpha": 0.55,
            "solid_capstyle": "butt",
        }
        span, at = (one.low, one.high), (place, place)
        axes.plot(*((span, at) if is_horizontal else (at, span)), **style)
        dot = (one.value, place) if is_horizontal else (place, one.value)
        axes.plot(*([part] for part in dot), marker=MARKERS[index], markersize=4.5, color=SERIES[index])
