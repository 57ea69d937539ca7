"""What the audit of the data found, as a section of the report: a score is worth what its data are."""

from collections.abc import Sequence

from qwenkit.evaluation.page import Cell, ReportContext, Section, Table
from qwenkit.text.leak_table import (
    describe_audit,
    leak_examples,
    leak_table,
    leak_warnings,
    phrase_table,
)

TITLE = "What the data give away"


def describe_leak_audit(context: ReportContext) -> Section | None:
    """The probes that see no content, and what they can tell all the same."""
    leaks = context.leaks
    if leaks is None:
        return None
    columns, rows = leak_table(leaks)
    cells = [
        [Cell(text=title), Cell(text=auroc, tone="bad" if "(!)" in title else ""), *map(_plain, others)]
        for title, auroc, *others in rows
    ]
    verdict = " ".join(leak_warnings(leaks)) or "No probe of the surface tells the classes apart."
    tables = [Table(caption="Probes, the most telling first; content last", columns=columns, rows=cells)]
    for caption, (headings, lines) in (
        ("Rows that show it", leak_examples(leaks)),
        ("Phrases that one class repeats", phrase_table(leaks)),
    ):
        if lines:
            tables.append(_fold(caption, headings, lines))
    lead = f"Audited when the data were prepared: {describe_audit(leaks)}. {verdict}"
    return Section(anchor="leak-audit", title=TITLE, lead=lead, tables=tables)


def _fold(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    cells = [[_plain(cell) for cell in row] for row in rows]
    return Table(caption=caption, columns=columns, rows=cells, is_folded=True)


def _plain(text: str) -> Cell:
    return Cell(text=text)
