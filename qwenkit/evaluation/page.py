"""What a report is made from, and what its page is made of: plain data between the two."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwenkit.console import safe_text
from qwenkit.evaluation.analysis import Analysis
from qwenkit.evaluation.evaluate import Evaluation
from qwenkit.evaluation.mistakes import WorstMistakes
from qwenkit.evaluation.plots import Picture
from qwenkit.evaluation.robustness import Robustness
from qwenkit.evaluation.tables import Comparison

NAME_LIMIT = 60


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """Everything that a report is made from; what is left out has no section."""

    title: str
    evaluation: Evaluation
    subtitle: str = ""
    comparison: Comparison | None = None
    baselines: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    baseline_train_rows: int | None = None
    """Rows of the train split that the baselines were fitted on (or on a sample of it)."""
    training_log: Sequence[Mapping[str, Any]] = ()
    """Rows of metrics.jsonl: step, loss, eval_loss, eval_balanced_accuracy ..."""
    analysis: Analysis | None = None
    robustness: Robustness | None = None
    mistakes: WorstMistakes | None = None
    leaks: Mapping[str, Any] | None = None
    """The leak audit of the data, as audit.json has it."""
    provenance: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By group (Model, Data, Settings, Versions): named values, shown as they are."""
    notes: Sequence[str] = ()
    """Sentences under the verdict, e.g. what this data cannot prove."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell: its text, how it is toned (good, bad, strong, faint), a bar or a shade behind it."""

    text: str
    tone: str = ""
    bar: float | None = None
    span: tuple[float, float, float] | None = None
    """Low, value and high of an interval, as shares of the bar's length."""
    shade: int | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table whose first column names the row."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    is_folded: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelledPicture:
    """A figure, its caption, and the legend that the figure itself leaves to HTML.

    `name` is the same from report to report, to follow a figure from run to run.
    """

    name: str
    picture: Picture
    caption: str
    legend: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One part of the report."""

    anchor: str
    title: str
    lead: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[LabelledPicture] = ()
    text_block: str = ""


def show_name(name: str) -> str:
    """Make a name out of the data fit for a sentence: short, nothing invisible, and its direction its own."""
    shown = safe_text(name, limit=NAME_LIMIT)
    # Isolates keep right-to-left letters from turning the words and numbers beside them around.
    is_right_to_left = any(unicodedata.bidirectional(char) in {"R", "AL", "AN"} for char in shown)
    return f"\u2068{shown}\u2069" if is_right_to_left else shown


def show_others(evaluation: Evaluation) -> str:
    """Name what is not the positive class."""
    others = [label for label in evaluation.labels if label != evaluation.positive_label]
    return show_name(others[0]) if len(others) == 1 else "any other class"
