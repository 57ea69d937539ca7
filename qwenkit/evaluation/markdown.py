"""report.md: the verdict and the main tables, for a pull request."""

import re
from collections.abc import Sequence

from qwenkit.console import safe_text
from qwenkit.evaluation.interval_tables import metric_table, point_table, slice_table
from qwenkit.evaluation.page import ReportContext
from qwenkit.evaluation.robustness_tables import robustness_tables
from qwenkit.evaluation.tables import baseline_table, comparison_table
from qwenkit.evaluation.verdict import write_verdict
from qwenkit.text.probes import PROBES

CELL_LIMIT = 120
SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&@:])")


def render_markdown(context: ReportContext) -> str:
    """Render the report's main parts as Markdown; what comes from the data is escaped."""
    verdict = write_verdict(context)
    sentences = [verdict.result, verdict.against_baselines, verdict.at_low_fpr, *context.notes]
    parts = [f"# {escape_markdown(context.title)}"]
    parts += [f"*{escape_markdown(context.subtitle)}*"] if context.subtitle else []
    parts += [escape_markdown(sentence, limit=1_000) for sentence in sentences if sentence]
    for title, columns, rows in _list_tables(context):
        parts.append(f"## {title}\n\n{_lay_out(columns, rows)}")
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: str, *, limit: int = CELL_LIMIT) -> str:
    """Keep text from being read as Markdown, HTML, a link or a mention."""
    return SPECIAL.sub(r"\\\1", safe_text(text, limit=limit))


def _list_tables(context: ReportContext) -> list[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
    metrics, analysis = context.evaluation.metrics, context.analysis
    tables: list[tuple[str, Sequence[str], Sequence[Sequence[str]]]] = []
    if context.baselines:
        titles = {name: PROBES[name].title for name in context.baselines}
        tables.append(("Against simple baselines", *baseline_table(metrics, context.baselines, titles)))
    if analysis is not None and analysis.points:
        tables.append(("At thresholds fixed beforehand", *point_table(analysis.points)))
    if analysis is not None and analysis.slices:
        tables.append(("Worst slices", *slice_table(analysis.slices, analysis.main_decision)))
    if context.robustness is not None:
        tables += [(title, *table) for title, table in robustness_tables(context.robustness)]
    if context.comparison is not None:
        tables.append(("Before and after training", *comparison_table(context.comparison)))
    if analysis is not None:
        tables.append(("All metrics", *metric_table(metrics, analysis)))
    return tables


def _lay_out(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(escape_markdown(column) for column in columns) + " |"]
    lines.append("| --- |" + " ---: |" * (len(columns) - 1))
    lines += ["| " + " | ".join(escape_markdown(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)
