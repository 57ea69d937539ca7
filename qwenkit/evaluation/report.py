"""report.html: one self-contained file that asks nothing of the network and runs no script."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qwenkit.console import safe_text
from qwenkit.evaluation.analysis import Analysis
from qwenkit.evaluation.bootstrap import Interval
from qwenkit.evaluation.page import ReportContext, Section, show_name
from qwenkit.evaluation.sections import SECTIONS
from qwenkit.evaluation.verdict import write_verdict

LINE_LIMIT = 200
NOTE_LIMIT = 500


def list_sections(context: ReportContext) -> list[Section]:
    """Put together what the report says, section by section; the figures are drawn here."""
    return [section for describe in SECTIONS if (section := describe(context)) is not None]


def render_report(context: ReportContext, sections: Sequence[Section] | None = None) -> str:
    """Render the report as one HTML page.

    Styles are let in by their hash and images as data: URIs; the page's Content-Security-Policy forbids all
    else, so a text of the data set that got past the escaping could still neither run nor load anything.

    Args:
        sections: What list_sections gave, where it is at hand.
    """
    package = files("qwenkit.evaluation")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(package.joinpath("report.html.jinja").read_text(encoding="utf-8"))
    css = package.joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    allowed = f"style-src 'sha256-{digest}'; img-src data:"
    return template.render(
        css=Markup(css),  # our own file, and the only string that is not escaped
        csp=f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'",
        title=show_name(context.title),
        subtitle=safe_text(context.subtitle, limit=LINE_LIMIT),
        verdict=write_verdict(context),
        tiles=list_tiles(context.evaluation.metrics, context.analysis),
        notes=[safe_text(note, limit=NOTE_LIMIT) for note in context.notes],
        sections=list_sections(context) if sections is None else sections,
    )


def list_tiles(metrics: Mapping[str, Any], analysis: Analysis | None = None) -> list[tuple[str, str, str]]:
    """Pick the few numbers for the top of the page: title, value, and its interval or what it means."""
    titles = {
        "auroc": ("AUROC", "0.5 is guessing, 1 is perfect"),
        "balanced_accuracy": ("Balanced accuracy", "mean recall of the classes"),
        "tpr_at_fpr_5": ("TPR at FPR 5 %", "found when 5 in 100 may be wrongly flagged"),
        "tpr_at_fpr_1": ("TPR at FPR 1 %", "found when 1 in 100 may be wrongly flagged"),
    }
    intervals = {} if analysis is None else analysis.intervals
    return [
        (title, f"{metrics[name]:.3f}", _describe_interval(intervals.get(name), meaning))
        for name, (title, meaning) in titles.items()
        if metrics[name] is not None
    ]


def _describe_interval(interval: Interval | None, meaning: str) -> str:
    if interval is None:
        return meaning
    return f"{interval.low:.3f} to {interval.high:.3f} (95 %); {meaning}"
