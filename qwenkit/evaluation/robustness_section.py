"""The report's section on attacks, short texts, and what training never saw."""

from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.interval_tables import TableText, name_target
from qwenkit.evaluation.page import (
    Cell,
    LabelledPicture,
    ReportContext,
    Section,
    Table,
    show_name,
    show_others,
)
from qwenkit.evaluation.robustness import Robustness
from qwenkit.evaluation.robustness_charts import plot_attacks, plot_lengths
from qwenkit.evaluation.robustness_tables import describe_worst, robustness_tables
from qwenkit.evaluation.slices import Rates
from qwenkit.evaluation.tables import format_percent
from qwenkit.text.attacks import ATTACKS


def describe_robustness(context: ReportContext) -> Section | None:
    """What changes when texts are attacked, cut short, or come from where training never looked."""
    robustness = context.robustness
    if robustness is None:
        return None
    rows = f"{robustness.clean.measured.rows:,}"
    target = name_target(robustness.decision)
    at = f"at the frozen threshold for {target}" if target else "where the likeliest class decides"
    positive, others = show_name(context.evaluation.positive_label), show_others(context.evaluation)
    worst = describe_worst(robustness, positive=positive, others=others)
    approximate = [attack.title for attack in ATTACKS.values() if attack.approximates]
    return Section(
        anchor="robustness",
        title="What it stands up to",
        lead=f"{rows} of the rows were scored again {at}: under RAID's attacks at RAID's own rates, and cut "
        f"to their first tokens. {worst} Changes are against the same rows as they are, rates in percentage "
        f"points, with 95 % intervals. {' and '.join(approximate)} stand in for attacks of RAID's that use "
        "language models.",
        pictures=[_draw_attacks(context, robustness), _draw_lengths(robustness)],
        tables=[_to_table(title, table) for title, table in robustness_tables(robustness)],
    )


def _draw_attacks(context: ReportContext, robustness: Robustness) -> LabelledPicture:
    lines = [robustness.clean, *robustness.attacks]
    titles = ["As they are", *(one.title for one in robustness.attacks)]
    positive, others = show_name(context.evaluation.positive_label), show_others(context.evaluation)
    summary = "; ".join(
        f"{title}: {_say_rates(one.measured.rates[robustness.decision], positive, others)}"
        for title, one in zip(titles, lines, strict=True)
    )
    tprs = [one.measured.rates[robustness.decision].tpr for one in lines]
    fprs = [one.measured.rates[robustness.decision].fpr for one in lines]
    return LabelledPicture(
        name="attacks",
        picture=plot_attacks(
            titles, [tprs, fprs], alt=f"Rows called {positive} under each attack. {summary}."
        ),
        caption=f"Rows called {positive}, with 95 % intervals; dotted lines: the same rows as they are.",
        legend=[f"{positive}, rightly flagged (TPR)", f"{others}, wrongly flagged (FPR)"],
    )


def _draw_lengths(robustness: Robustness) -> LabelledPicture:
    decision, lines = robustness.decision, robustness.lengths
    aurocs: list[Interval | None] = [one.measured.auroc for one in lines]
    rates = [one.measured.rates[decision] for one in lines]
    summary = "; ".join(
        f"{one.name} tokens: {'undefined' if auroc is None else f'{auroc.value:.3f}'}"
        for one, auroc in zip(lines, aurocs, strict=True)
    )
    return LabelledPicture(
        name="lengths",
        picture=plot_lengths(
            [int(one.name) for one in lines],
            [aurocs, [one.tpr for one in rates], [one.fpr for one in rates]],
            alt=f"AUROC and rates over the length of the text. AUROC at {summary}.",
        ),
        caption="By how much of each text is read; the last point is the model's own limit.",
        legend=["AUROC", "TPR", "FPR"],
    )


def _say_rates(rates: Rates, positive: str, others: str) -> str:
    tpr, fpr = (format_percent(None if rate is None else rate.value) for rate in (rates.tpr, rates.fpr))
    return f"{tpr} of {positive}, {fpr} of {others}"


def _to_table(caption: str, text: TableText) -> Table:
    columns, rows = text
    return Table(
        caption=caption,
        columns=columns,
        rows=[[Cell(text=cell) for cell in row] for row in rows],
    )
