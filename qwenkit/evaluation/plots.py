"""The report's figures: numbers in, one SVG in light and one in dark colours out.

Nothing from the data set is ever drawn: class names and slices stand in the HTML beside a figure, where they
are escaped and set in whatever script they need. All state is on Figure objects, none in pyplot.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

# Text stays text (set in the reader's own font), element ids do not change from run to run.
SVG_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "qwenkit"}
FONT_POINTS = 10.5
FONT_STACK = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
WIDTH_INCHES, HEIGHT_INCHES = 4.6, 3.3
INK, MUTED, GRID = "#1f2a37", "#667085", "#d8dde4"
# In the order of report.css's swatches; told apart by lightness and line style too, not by hue alone.
SERIES = ("#c2410c", "#1d5fbf", "#0f766e", "#7c3aed", "#a16207", "#be185d")
SERIES_NAMES = ("orange", "blue", "green", "violet", "ochre", "pink")
LINE_STYLES = ("-", "--", "-.", ":", "-", "--")
DARK_COLOURS = {
    INK: "#e6eaf0",
    MUTED: "#9aa6b5",
    GRID: "#39424f",
    "#c2410c": "#fb8f52",
    "#1d5fbf": "#7ab0ff",
    "#0f766e": "#4fd1c1",
    "#7c3aed": "#b79bff",
    "#a16207": "#e3b341",
    "#be185d": "#f783b4",
}
# More points than pixels only make the file larger.
MAX_POINTS = 400
HISTOGRAM_BINS = 40
PNG_DPI = 150


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One figure as two data: URIs, and what it shows for those who cannot see it."""

    light: str
    dark: str
    alt: str
    width: int
    height: int
    figure: Figure = field(repr=False, compare=False)

    def draw_png(self) -> bytes:
        """Draw it once more as a PNG on white, for where no SVG is taken."""
        buffer = io.BytesIO()
        self.figure.patch.set(facecolor="white", alpha=1.0)
        FigureCanvasAgg(self.figure).print_figure(
            buffer, format="png", dpi=PNG_DPI, metadata={"Software": None}
        )
        return buffer.getvalue()


def plot_roc(curves: Sequence[tuple[np.ndarray, np.ndarray]], *, alt: str) -> Picture:
    """Draw ROC curves; the marks on the first one are the largest TPR at FPR 5 % and 1 %.

    Args:
        curves: (scores, is_positive) of each curve, both of shape (rows,).
    """
    figure, axes = new_axes("False positive rate", "True positive rate")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    for index, (scores, is_positive) in enumerate(curves):
        fprs, tprs, _ = roc_curve(is_positive, scores)
        shown = thin(len(fprs))
        axes.plot(fprs[shown], tprs[shown], color=SERIES[index], linestyle=LINE_STYLES[index], linewidth=1.8)
        if len(curves) == 1:
            for target in (0.05, 0.01):
                height = tprs[np.searchsorted(fprs, target, side="right") - 1]
                axes.plot([target], [height], marker="o", markersize=4.5, color=SERIES[index])
    axes.set_xlim(-0.01, 1.0)
    axes.set_ylim(0.0, 1.01)
    return render(figure, alt)


def plot_score_histogram(probabilities: np.ndarray, is_positive: np.ndarray, *, alt: str) -> Picture:
    """Draw how the positive class's probability spreads over each class, each scaled to its own rows."""
    figure, axes = new_axes("Probability of the positive class", "Share of the class's rows")
    edges = np.linspace(0.0, 1.0, HISTOGRAM_BINS + 1)
    for index, chosen in ((1, ~is_positive), (0, is_positive)):
        shares = np.histogram(probabilities[chosen], bins=edges)[0] / max(chosen.sum(), 1)
        axes.stairs(shares, edges, fill=True, color=SERIES[index], alpha=0.28)
        axes.stairs(shares, edges, color=SERIES[index], linewidth=1.6, linestyle=LINE_STYLES[index])
    axes.axvline(0.5, color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set_xlim(0.0, 1.0)
    return render(figure, alt)


def plot_training_loss(log: Sequence[Mapping[str, Any]], *, alt: str) -> Picture:
    """Draw the training loss and the validation loss (with points) over the steps."""
    figure, axes = new_axes("Optimizer step", "Loss")
    train_steps, train_losses = read_series(log, "loss")
    shown = thin(len(train_steps))
    axes.plot(train_steps[shown], train_losses[shown], color=SERIES[0], linewidth=1.2)
    steps, losses = read_series(log, "eval_loss")
    axes.plot(
        steps, losses, color=SERIES[1], linestyle=LINE_STYLES[1], marker="o", markersize=4, linewidth=1.6
    )
    return render(figure, alt)


def plot_validation_scores(log: Sequence[Mapping[str, Any]], names: Sequence[str], *, alt: str) -> Picture:
    """Draw validation metrics over the steps, one line each, in the order of the names."""
    figure, axes = new_axes("Optimizer step", "Validation score")
    for index, name in enumerate(names):
        steps, values = read_series(log, name)
        axes.plot(
            steps,
            values,
            color=SERIES[index],
            linestyle=LINE_STYLES[index],
            marker="o",
            markersize=4,
            linewidth=1.6,
        )
    return render(figure, alt)


def read_series(log: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one quantity out of metrics.jsonl rows: steps and values, where it was logged and is finite."""
    pairs = [
        (row["step"], row[name]) for row in log if _is_number(row.get("step")) and _is_number(row.get(name))
    ]
    points = np.array(sorted(pairs), dtype=np.float64).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def new_axes(x_title: str, y_title: str, *, height_inches: float = HEIGHT_INCHES) -> tuple[Figure, Axes]:
    """Make an empty figure in the report's style."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x_title, color=INK, fontsize=FONT_POINTS)
    axes.set_ylabel(y_title, color=INK, fontsize=FONT_POINTS)
    axes.tick_params(colors=MUTED, length=3, labelsize=FONT_POINTS)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.patch.set_alpha(0.0)
    figure.patch.set_alpha(0.0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    return figure, axes


def render(figure: Figure, alt: str) -> Picture:
    """Turn a figure into its light and its dark SVG."""
    buffer = io.StringIO()
    # No date and no tool name: the same numbers give the same bytes, and no address outside the file.
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context(SVG_STYLE):
        FigureCanvasSVG(figure).print_svg(buffer, metadata=no_metadata)
    light = _tidy_svg(buffer.getvalue())
    dark = light
    for colour, replacement in DARK_COLOURS.items():
        dark = dark.replace(colour, replacement)
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    return Picture(
        light=_as_data_uri(light),
        dark=_as_data_uri(dark),
        alt=alt,
        width=width,
        height=height,
        figure=figure,
    )


def _tidy_svg(svg: str) -> str:
    """Drop the XML prologue, which names an address, and let the reader's fonts in."""
    body = svg[svg.index("<svg") :]
    return re.sub(r"font-family: [^;\"]*", f"font-family: {FONT_STACK}", body)


def _as_data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def thin(n_points: int) -> np.ndarray:
    """Pick at most MAX_POINTS indices, evenly, first and last included."""
    return np.unique(np.linspace(0, n_points - 1, min(n_points, MAX_POINTS)).round().astype(int))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
