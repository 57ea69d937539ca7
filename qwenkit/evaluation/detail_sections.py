"""The report's sections with intervals: frozen thresholds, slices, calibration, and the worst mistakes."""

from collections.abc import Sequence

import numpy as np

from qwenkit.calibration import bin_probabilities, state_probabilities
from qwenkit.console import safe_text
from qwenkit.evaluation.analysis import AchievedPoint
from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.charts import plot_coverage, plot_reliability
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.interval_tables import (
    abstention_table,
    metric_table,
    name_target,
    point_table,
    slice_cells,
)
from qwenkit.evaluation.mistakes import TEXT_LIMIT, Mistake
from qwenkit.evaluation.page import (
    Cell,
    LabelledPicture,
    ReportContext,
    Section,
    Table,
    show_name,
    show_others,
)
from qwenkit.evaluation.predictions import read_logits
from qwenkit.evaluation.slices import FEW_ROWS, SliceResult
from qwenkit.evaluation.tables import format_percent

SHADES = 8


def describe_metrics(context: ReportContext) -> Section | None:
    """All metrics with their intervals, folded away: the verdict has the few that matter most."""
    if context.analysis is None:
        return None
    columns, rows = metric_table(context.evaluation.metrics, context.analysis)
    grouped = context.analysis.n_groups < context.evaluation.metrics["rows"]
    second = context.analysis.auroc_delong
    delong = (
        f" DeLong's for the AUROC, which takes rows for independent: {second.low:.4f} to {second.high:.4f}."
        if second
        else ""
    )
    what = f"{context.analysis.n_groups:,} groups of near-duplicates" if grouped else "the rows"
    return Section(
        anchor="metrics",
        title="All metrics",
        lead=f"The intervals hold the true value with 95 % confidence: {context.analysis.draws:,} draws of "
        f"{what}, by class.{delong}",
        tables=[
            Table(
                caption="Every metric with its interval",
                columns=columns,
                rows=[[Cell(text=cell) for cell in row] for row in rows],
                is_folded=True,
            )
        ],
    )


def describe_points(context: ReportContext) -> Section | None:
    """What thresholds that were fixed on validation promised, and what they did here."""
    analysis, evaluation = context.analysis, context.evaluation
    if analysis is None or not analysis.points:
        return None
    columns, rows = point_table(analysis.points)
    positive, negative = show_name(evaluation.positive_label), show_others(evaluation)
    tables = [
        Table(
            caption="Promised on validation, achieved here",
            columns=columns,
            rows=[
                [Cell(text=cell, tone=_tone_of(one) if place == 3 else "") for place, cell in enumerate(row)]
                for one, row in zip(analysis.points, rows, strict=True)
            ],
        )
    ]
    tables += [_confusion_at(one, positive, negative) for one in analysis.points]
    abstention_columns, abstention_rows = abstention_table(analysis.points)
    tables.append(
        Table(
            caption="With close calls left undecided (predict --abstain): how much is decided, and how well",
            columns=abstention_columns,
            rows=[[Cell(text=cell) for cell in row] for row in abstention_rows],
        )
    )
    return Section(
        anchor="thresholds",
        title="At thresholds fixed beforehand",
        lead=f"Each threshold was chosen on validation rows so that at most that share of {negative} rows is "
        f"wrongly called {positive}, and applied here as it was. An asterisk: validation had too few "
        f"{negative} rows to place it well.",
        tables=tables,
    )


def describe_slices(context: ReportContext) -> Section | None:
    """How evenly the model works over domains, generators, lengths and whatever other columns were named."""
    analysis = context.analysis
    if analysis is None or not analysis.slices:
        return None
    decision = analysis.main_decision
    columns = list(dict.fromkeys(one.column for one in analysis.slices))
    target = name_target(decision)
    at = f"at the frozen threshold for {target}" if target else "where the likeliest class decides"
    return Section(
        anchor="slices",
        title="Where it works and where it doesn't",
        lead=f"The worst come first, {at}; bars are 95 % intervals, those of AUROC from 0.5 to 1. "
        f"An asterisk: fewer than {FEW_ROWS} independent rows, which say little. Where a slice has one class "
        "only, its AUROC is against all rows of the other.",
        tables=[
            _slice_table([one for one in analysis.slices if one.column == column], column, decision)
            for column in columns
        ],
    )


def describe_calibration(context: ReportContext) -> Section | None:
    """Whether stated probabilities come true."""
    evaluation = context.evaluation
    if evaluation.metrics["auroc"] is None or context.analysis is None:
        return None
    stated, came_true = _state(evaluation, evaluation.temperature)
    bins = bin_probabilities(stated, came_true)
    is_tempered = evaluation.temperature != 1.0
    before = bin_probabilities(*_state(evaluation, 1.0)) if is_tempered else None
    summary = (
        f"Calibration error {evaluation.metrics['ece']:.3f}, Brier score {evaluation.metrics['brier']:.3f}"
    )
    of = show_name(evaluation.positive_label) if len(evaluation.labels) == 2 else "the likeliest class"
    picture = LabelledPicture(
        name="reliability",
        picture=plot_reliability(
            bins,
            before,
            alt=f"Reliability diagram of the probability of {of}. {summary}; the diagonal is perfect.",
        ),
        caption=f"{summary}. Each point is as many rows as the next.",
        legend=[f"Temperature {evaluation.temperature:.2f}", "As the model gives it"]
        if is_tempered
        else [of],
    )
    return Section(
        anchor="calibration",
        title="Whether its probabilities can be believed",
        lead=f"First, rows to which {of} was given with like probability, and how often that came true; then "
        "what is gained by deciding only where the model is sure.",
        pictures=[picture, _draw_coverage(context.analysis.coverage_curve)],
    )


def describe_mistakes(context: ReportContext) -> Section | None:
    """The texts that the model was surest and wrong about."""
    found = context.mistakes
    if found is None or not (found.false_positives or found.false_negatives):
        return None
    positive = show_name(context.evaluation.positive_label)
    tables = [
        _mistake_table(f"Wrongly called {positive}, the surest first", found.false_positives),
        _mistake_table(f"{positive} rows that were missed, the surest first", found.false_negatives),
    ]
    return Section(
        anchor="mistakes",
        title="Its worst mistakes",
        lead=f"The first {TEXT_LIMIT} characters of each text as it is in the data; control characters are "
        "spelled out.",
        tables=[table for table in tables if table.rows],
    )


def _tone_of(one: AchievedPoint) -> str:
    """Bad where even the interval's lower end is above the target."""
    fpr = one.rates.fpr
    if fpr is None:
        return ""
    return "bad" if fpr.low > one.point.target_fpr else "good" if fpr.high <= one.point.target_fpr else ""


def _confusion_at(one: AchievedPoint, positive: str, negative: str) -> Table:
    names = (positive, negative)
    return Table(
        caption=f"Target FPR {format_percent(one.point.target_fpr)}: true class down, decision across",
        columns=["True class", *(f"→ {name}" for name in names)],
        rows=[
            [Cell(text=name), *(shade_count(count, sum(counts)) for count in counts)]
            for name, counts in zip(names, one.confusion, strict=True)
        ],
    )


def shade_count(count: int, row_total: int) -> Cell:
    """Show a count with its share of the row, the darker the larger."""
    share = count / row_total if row_total else 0.0
    return Cell(text=f"{count:,} ({format_percent(share)})", shade=round(share * SHADES))


def _slice_table(slices: Sequence[SliceResult], column: str, decision: str) -> Table:
    fprs = [one.rates[decision].fpr for one in slices]
    widest = max((fpr.high for fpr in fprs if fpr is not None), default=1.0) or 1.0
    rows = []
    for one in slices:
        fpr, tpr, auroc = slice_cells(one, decision)
        rates = one.rates[decision]
        rows.append(
            [
                Cell(text=show_name(one.value), tone="faint" if one.is_small else ""),
                Cell(text=f"{one.rows:,}"),
                Cell(text=fpr, span=_span(rates.fpr, widest)),
                Cell(text=tpr, span=_span(rates.tpr, 1.0)),
                Cell(text=auroc, span=_span(one.auroc, 1.0, start=0.5)),
            ]
        )
    return Table(
        caption=f"By {show_name(column)}; the bars of FPR end at {format_percent(widest)}",
        columns=[show_name(column), "Rows", "FPR", "TPR", "AUROC"],
        rows=rows,
    )


def _span(interval: Interval | None, end: float, *, start: float = 0.0) -> tuple[float, float, float] | None:
    """Place an interval on a bar from start to end."""
    if interval is None:
        return None

    def place(value: float) -> float:
        return min(max((value - start) / (end - start), 0.0), 1.0)

    return place(interval.low), place(interval.value), place(interval.high)


def _mistake_table(caption: str, mistakes: Sequence[Mistake]) -> Table:
    return Table(
        caption=caption,
        columns=["Text", "From", "True class", "Given with"],
        rows=[
            [
                Cell(text=safe_text(one.text, limit=TEXT_LIMIT)),
                Cell(text=show_name(one.place) if one.place else f"row {one.row_id}"),
                Cell(text=show_name(one.label)),
                Cell(text=format_percent(one.probability)),
            ]
            for one in mistakes
        ],
        is_folded=True,
    )


def _draw_coverage(curve: Sequence[tuple[float, float]]) -> LabelledPicture:
    half = min(curve, key=lambda point: abs(point[0] - 0.5))
    summary = (
        f"Deciding all rows {format_percent(curve[-1][1])} are wrong; deciding the surest "
        f"{format_percent(half[0])} only, {format_percent(half[1])}"
    )
    return LabelledPicture(
        name="coverage",
        picture=plot_coverage(curve, alt=f"Error over the share of rows decided. {summary}."),
        caption=f"What abstaining buys. {summary}.",
    )


def _state(evaluation: Evaluation, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Give the stated probability of each row and whether it came true, as qwenkit.calibration judges it."""
    return state_probabilities(
        read_logits(evaluation.predictions, evaluation.labels),
        evaluation.predictions["label_id"].to_numpy(),
        positive_id=evaluation.labels.index(evaluation.positive_label),
        temperature=temperature,
    )
