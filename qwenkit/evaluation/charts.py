"""More of the report's figures: low false-positive rates, precision and recall, calibration, abstention."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from qwenkit.calibration import CalibrationBins
from qwenkit.evaluation.plots import LINE_STYLES, MUTED, SERIES, Picture, new_axes, render, thin

LOWEST_FPR = 1e-4
FPR_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 1.0)
GUESSING: dict[str, Any] = {"color": MUTED, "linewidth": 0.8, "linestyle": (0, (2, 3))}


def plot_low_fpr(
    scores: np.ndarray,
    is_positive: np.ndarray,
    *,
    achieved: Sequence[tuple[float, float]] = (),
    alt: str,
) -> Picture:
    """Draw the ROC with a logarithmic FPR, which shows the part that a detector is used in.

    Args:
        scores: Higher means more positive, shape (rows,).
        is_positive: Truth, shape (rows,).
        achieved: (FPR, TPR) of frozen thresholds on these rows, drawn as points.
    """
    figure, axes = new_axes("False positive rate, logarithmic", "True positive rate")
    fprs, tprs, _ = roc_curve(is_positive, scores)
    # Below one negative there is nothing to see.
    lowest = max(LOWEST_FPR, 0.5 / max(int((~is_positive).sum()), 1))
    guess = np.geomspace(lowest, 1, 60)
    axes.plot(guess, guess, **GUESSING)
    shown = thin(len(fprs))
    axes.step(np.maximum(fprs[shown], lowest), tprs[shown], where="post", color=SERIES[0], linewidth=1.8)
    for fpr, tpr in achieved:
        axes.plot([max(fpr, lowest)], [tpr], marker="o", markersize=5.5, color=SERIES[1])
    axes.set_xscale("log")
    axes.set_xlim(lowest, 1.0)
    axes.set_ylim(0.0, 1.01)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in FPR_TICKS if tick >= lowest]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    return render(figure, alt)


def plot_precision_recall(curves: Sequence[tuple[np.ndarray, np.ndarray]], *, alt: str) -> Picture:
    """Draw precision over recall; the dotted line is what guessing the first curve's class gives."""
    figure, axes = new_axes("Recall", "Precision")
    axes.axhline(float(curves[0][1].mean()), **GUESSING)
    for index, (scores, is_positive) in enumerate(curves):
        precisions, recalls, _ = precision_recall_curve(is_positive, scores)
        shown = thin(len(precisions))
        axes.plot(
            recalls[shown],
            precisions[shown],
            color=SERIES[index],
            linestyle=LINE_STYLES[index],
            linewidth=1.8,
        )
    axes.set_xlim(0.0, 1.01)
    axes.set_ylim(0.0, 1.01)
    return render(figure, alt)


def plot_reliability(bins: CalibrationBins, before: CalibrationBins | None, *, alt: str) -> Picture:
    """Draw the share that came true over the probability stated; the second line is before tempering."""
    figure, axes = new_axes("Probability stated", "Share that came true")
    axes.plot([0, 1], [0, 1], **GUESSING)
    for index, one in enumerate((bins, before)):
        if one is not None:
            axes.plot(
                one.stated,
                one.came_true,
                color=SERIES[index],
                linestyle=LINE_STYLES[index],
                marker="o",
                markersize=4,
                linewidth=1.6,
            )
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    return render(figure, alt)


def plot_coverage(curve: Sequence[tuple[float, float]], *, alt: str) -> Picture:
    """Draw the error among the rows that are decided over their share, the surest first."""
    figure, axes = new_axes("Share of rows decided, the surest first", "Share of those decided wrongly")
    coverage, errors = np.array(curve, dtype=np.float64).reshape(-1, 2).T
    axes.plot(coverage, errors, color=SERIES[0], marker="o", markersize=4, linewidth=1.6)
    axes.set_xlim(0.0, 1.01)
    axes.set_ylim(0.0, max(float(errors.max(initial=0.0)) * 1.15, 0.01))
    return render(figure, alt)
