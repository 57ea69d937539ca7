"""What the report says, as data: each function turns one aspect of an evaluation into a section or nothing.

A new aspect is one function more in SECTIONS; the template knows only tables, figures and notes.
"""

from collections.abc import Callable

from qwenkit.console import safe_text
from qwenkit.evaluation.baselines import MAX_TRAIN_ROWS
from qwenkit.evaluation.detail_sections import (
    describe_calibration,
    describe_metrics,
    describe_mistakes,
    describe_points,
    describe_slices,
    shade_count,
)
from qwenkit.evaluation.figures import describe_ranking, describe_training
from qwenkit.evaluation.leak_section import describe_leak_audit
from qwenkit.evaluation.page import (
    Cell,
    ReportContext,
    Section,
    Table,
    show_name,
)
from qwenkit.evaluation.robustness_section import describe_robustness
from qwenkit.evaluation.tables import baseline_table, comparison_table, format_number
from qwenkit.text.probes import PROBES

VALUE_LIMIT = 300
LONG_TABLE_ROWS = 12


def describe_before_after(context: ReportContext) -> Section | None:
    """The model before and after training, on the same rows."""
    comparison = context.comparison
    if comparison is None:
        return None
    columns, rows = comparison_table(comparison)
    tones = {True: "good", False: "bad", None: "faint"}
    cells = [
        [Cell(text=cell, tone=tones[line.is_better] if index == 3 else "") for index, cell in enumerate(row)]
        for line, row in zip(comparison.lines, rows, strict=True)
    ]
    return Section(
        anchor="before-and-after",
        title="Before and after training",
        lead=f"Both on the same {comparison.same_rows:,} rows, so the change is the training's alone.",
        tables=[Table(caption="Metrics before and after training", columns=columns, rows=cells)],
    )


def describe_baselines(context: ReportContext) -> Section | None:
    """The model among classifiers that know nothing of language."""
    if not context.baselines:
        return None
    titles = {name: PROBES[name].title for name in context.baselines}
    columns, rows = baseline_table(context.evaluation.metrics, context.baselines, titles)
    cells = [
        [
            Cell(text=title, tone="strong" if title not in titles.values() else ""),
            Cell(text=first, bar=None if first == "–" else float(first)),
            *(Cell(text=score) for score in others),
        ]
        for title, first, *others in rows
    ]
    looks = "; ".join(f"{titles[name]} sees {PROBES[name].looks_at}" for name in context.baselines)
    return Section(
        anchor="baselines",
        title="Against simple baselines",
        lead=f"Fitted on {_describe_train_rows(context)} and scored on the same rows as the model. {looks}.",
        tables=[Table(caption="This model and its baselines, best first", columns=columns, rows=cells)],
    )


def describe_decisions(context: ReportContext) -> Section | None:
    """Confusion matrix and per-class scores at the highest probability."""
    evaluation = context.evaluation
    names = [show_name(label) for label in evaluation.labels]
    confusion = evaluation.metrics["confusion_matrix"]
    matrix_rows = [
        [Cell(text=name)] + [shade_count(count, sum(counts)) for count in counts]
        for name, counts in zip(names, confusion, strict=True)
    ]
    class_rows = [
        [Cell(text=name)]
        + [Cell(text=format_number(scores[key])) for key in ("precision", "recall", "f1")]
        + [Cell(text=f"{scores['support']:,}")]
        for name, scores in zip(names, evaluation.metrics["per_class"].values(), strict=True)
    ]
    return Section(
        anchor="decisions",
        title="What it decides",
        lead="Each row goes to the class with the highest probability.",
        tables=[
            Table(
                caption="Confusion matrix: true class down, predicted class across",
                columns=["True class", *(f"→ {name}" for name in names)],
                rows=matrix_rows,
            ),
            Table(
                caption="Per class", columns=["Class", "Precision", "Recall", "F1", "Rows"], rows=class_rows
            ),
        ],
        text_block=evaluation.metrics["classification_report"],
    )


def describe_provenance(context: ReportContext) -> Section | None:
    """Where all of it came from."""
    if not context.provenance:
        return None
    tables = [
        Table(
            caption=show_name(group),
            columns=["Name", "Value"],
            rows=[
                [Cell(text=show_name(name)), Cell(text=safe_text(str(value), limit=VALUE_LIMIT))]
                for name, value in values.items()
            ],
            is_folded=len(values) > LONG_TABLE_ROWS,
        )
        for group, values in context.provenance.items()
        if values
    ]
    return Section(
        anchor="provenance",
        title="Where this came from",
        lead="The same fingerprints and versions give the same numbers.",
        tables=tables,
    )


SECTIONS: tuple[Callable[[ReportContext], Section | None], ...] = (
    describe_baselines,
    describe_points,
    describe_ranking,
    describe_slices,
    describe_robustness,
    describe_calibration,
    describe_decisions,
    describe_mistakes,
    describe_leak_audit,
    describe_before_after,
    describe_training,
    describe_metrics,
    describe_provenance,
)


def _describe_train_rows(context: ReportContext) -> str:
    n_rows = context.baseline_train_rows
    if n_rows is None:
        return "the train split"
    if n_rows > MAX_TRAIN_ROWS:
        return f"{MAX_TRAIN_ROWS:,} rows drawn from the {n_rows:,} of the train split"
    return f"the {n_rows:,} rows of the train split"
