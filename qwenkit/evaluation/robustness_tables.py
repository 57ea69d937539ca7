"""How robustness is laid out as rows of text, for the terminal, the report and report.md."""

from collections.abc import Callable, Mapping, Sequence

from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.interval_tables import FEW_MARK, TableText, cut_name, name_target, slice_cells
from qwenkit.evaluation.robustness import ChallengeResult, Robustness
from qwenkit.evaluation.tables import format_percent

BRIEF_COLUMNS = 6
"""What fits a terminal: without what it does to the AUROC, and how many rows are changed."""


def robustness_tables(robustness: Robustness, *, is_brief: bool = False) -> list[tuple[str, TableText]]:
    """Lay out attacks and lengths against the same rows as they are, and held-out splits beside test.

    Args:
        is_brief: Only the columns that fit a terminal.
    """
    target = name_target(robustness.decision)
    rows = f"{robustness.clean.measured.rows:,} rows" + (f", {target}" if target else "")
    tables = [
        (f"Under attack, worst first ({rows})", _change_table(robustness, robustness.attacks)),
        (f"Cut short ({rows})", _change_table(robustness, robustness.lengths)),
    ]
    if is_brief:
        tables = [
            (title, (columns[:BRIEF_COLUMNS], [row[:BRIEF_COLUMNS] for row in lines]))
            for title, (columns, lines) in tables
        ]
    if robustness.held_out:
        tables.append(("What training never saw, beside the test split", _held_out_table(robustness)))
    return tables


def _change_table(robustness: Robustness, results: Sequence[ChallengeResult]) -> TableText:
    """Lay out changed texts, the rows as they are first: rates, and what the change does to each of them."""
    columns = ["Texts", "FPR", "FPR change", "TPR", "TPR change", "AUROC", "AUROC change", "Rows changed"]
    return columns, [_lay_out(one, robustness.decision) for one in (robustness.clean, *results)]


def _held_out_table(robustness: Robustness) -> TableText:
    """Lay out held-out splits with intervals, the whole test split first."""
    return ["Split", "Rows", "FPR", "TPR", "AUROC"], [
        [cut_name(one.name), f"{one.measured.rows:,}", *slice_cells(one.measured, robustness.decision)]
        for one in (robustness.test, *robustness.held_out)
    ]


def describe_worst(robustness: Robustness, *, positive: str, others: str) -> str:
    """Say in a sentence what attacks do to the two rates at their worst; empty where neither is defined."""
    parts = []
    tprs, fprs = _list_rates(robustness, "tpr"), _list_rates(robustness, "fpr")
    if tprs:
        clean, title, worst = _pick_worst(tprs, min)
        found = f"it finds {clean} of the {positive} rows as they are"
        parts.append(f"{found} and {worst} under the worst attack ({title})")
    if fprs:
        clean, title, worst = _pick_worst(fprs, max)
        parts.append(
            f"it wrongly flags {clean} of the {others} rows as they are and at most {worst} ({title})"
        )
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else ""


def _list_rates(robustness: Robustness, kind: str) -> dict[str, float]:
    """Give a rate of the rows as they are, then under each attack, by title; empty where it is undefined."""
    lines = [robustness.clean, *robustness.attacks]
    rates = {one.title: getattr(one.measured.rates[robustness.decision], kind) for one in lines}
    is_known = len(rates) > 1 and all(rate is not None for rate in rates.values())
    return {title: rate.value for title, rate in rates.items()} if is_known else {}


def _pick_worst(rates: Mapping[str, float], pick: Callable[..., str]) -> tuple[str, str, str]:
    clean, *attacked = rates
    title = pick(attacked, key=rates.__getitem__)
    return format_percent(rates[clean]), title, format_percent(rates[title])


def format_change(change: Interval | None, *, in_percent: bool) -> str:
    """Write a difference with its interval: −3.1 (−5.0 to −1.2), rates in percentage points."""
    if change is None:
        return "–"
    if change.low == change.value == change.high == 0:
        return "none"
    scale, digits = (100, 1) if in_percent else (1, 3)
    value, low, high = (f"{scale * one:+.{digits}f}" for one in (change.value, change.low, change.high))
    return f"{value} ({low} to {high})".replace("-", "−")


def _lay_out(one: ChallengeResult, decision: str) -> list[str]:
    measured = one.measured
    rates, changes = measured.rates[decision], (one.rate_changes or {}).get(decision)
    is_clean = changes is None
    return [
        "As they are" if is_clean else one.title,
        _format_share(rates.fpr, is_few=measured.few_negatives),
        "" if changes is None else format_change(changes.fpr, in_percent=True),
        _format_share(rates.tpr, is_few=measured.few_positives),
        "" if changes is None else format_change(changes.tpr, in_percent=True),
        "–" if measured.auroc is None else f"{measured.auroc.value:.3f}",
        "" if is_clean else format_change(one.auroc_change, in_percent=False),
        "" if is_clean else f"{one.changed_rows:,}",
    ]


def _format_share(rate: Interval | None, *, is_few: bool) -> str:
    return "–" if rate is None else format_percent(rate.value) + FEW_MARK * is_few
