"""Everything that a person sees: lines, tables, progress, and text made safe to print.

With --json the people's part goes to stderr, so that stdout is data and nothing else. Without a terminal
there are no bars and no colour, just plain lines at a calm pace.
"""

import json as json_module
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PLAIN_PROGRESS_SECONDS = 15.0
# A log has no width of its own; this keeps tables whole and lines readable there.
LOG_WIDTH = 110


def safe_text(text: str, *, limit: int | None = None) -> str:
    """Make control characters, escapes and direction marks visible, so that data cannot steer what shows it.

    Args:
        limit: Cut to this many characters, with an ellipsis.
    """
    cut = text if limit is None or len(text) <= limit else text[: max(limit - 1, 0)] + "…"
    # Cc control, Cf format (zero-width, bidi), Cs surrogates, Zl/Zp line and paragraph separators.
    return "".join(
        char if unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} else f"\\u{ord(char):04x}"
        for char in cut
    )


class ProgressBar(Protocol):
    """What a long loop reports to."""

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Count `n` more units; fields (loss=0.41) are shown beside the bar."""


class Console:
    """One look through all commands and pipelines; quiet leaves warnings and errors."""

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self.quiet = quiet
        self.json = json
        plain = {} if sys.stdout.isatty() else {"width": LOG_WIDTH}
        self._rich = RichConsole(stderr=json, highlight=False, soft_wrap=False, **plain)  # type: ignore[arg-type]
        self._stderr = RichConsole(stderr=True, highlight=False)

    def header(self, title: str, subtitle: str = "") -> None:
        """Open a step: its name, and what it works on."""
        self._print(
            f"[bold]{escape(safe_text(title))}[/bold]"
            + (f"  {escape(safe_text(subtitle))}" if subtitle else "")
        )

    def info(self, line: str) -> None:
        """Print one plain line."""
        self._print(f"  {escape(safe_text(line))}")

    def success(self, line: str) -> None:
        """Say what was written where."""
        self._print(f"[green]✓[/green] {escape(safe_text(line))}")

    def warn(self, line: str) -> None:
        """Say what may be wrong; shown even when quiet, on stderr."""
        self._stderr.print(f"[yellow]warning:[/yellow] {escape(safe_text(line))}", soft_wrap=True)

    def error(self, message: str) -> None:
        """Print an error message, which may have several lines, on stderr."""
        lines = [escape(safe_text(line)) for line in message.splitlines()] or [""]
        self._stderr.print("[red]error:[/red] " + "\n".join(lines), soft_wrap=True)

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool = True
    ) -> None:
        """Print a table; all columns but the first are aligned as numbers unless told otherwise."""
        if self.quiet:
            return
        table = Table(
            title=escape(safe_text(title)) or None,
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
        )
        for index, column in enumerate(columns):
            table.add_column(
                escape(safe_text(column)), justify="right" if index and numbers else "left", overflow="fold"
            )
        for row in rows:
            table.add_row(*[escape(safe_text(cell)) for cell in row])
        self._rich.print(table)

    def emit(self, record: Any) -> None:
        """Print one JSON object a line on stdout; data for programs."""
        sys.stdout.write(json_module.dumps(record, ensure_ascii=True, allow_nan=False) + "\n")
        sys.stdout.flush()

    def text(self, block: str) -> None:
        """Print a block that is itself the answer (a config, a schema), untouched and on stdout."""
        sys.stdout.write(block if block.endswith("\n") else block + "\n")

    @contextmanager
    def progress(self, description: str, total: float, unit: str) -> Iterator[ProgressBar]:
        """Show how far a loop is, its rate in `unit` a second and the time left."""
        if self.quiet:
            yield _SilentBar()
        elif self._rich.is_terminal:
            columns = (
                TextColumn("  {task.description}"),
                BarColumn(),
                _RateColumn(unit),
                TimeRemainingColumn(),
                _FieldsColumn(),
            )
            with Progress(*columns, console=self._rich, transient=True) as progress:
                yield _RichBar(progress, progress.add_task(escape(description), total=total, shown=""))
        else:
            yield _PlainBar(self, description, total, unit)

    def _print(self, markup: str) -> None:
        if not self.quiet:
            self._rich.print(markup, soft_wrap=True)


class _SilentBar:
    def advance(self, n: float = 1, **fields: Any) -> None:
        """Count nothing."""


class _RichBar:
    def __init__(self, progress: Progress, task_id: Any) -> None:
        self._progress = progress
        self._task_id = task_id

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Move the bar."""
        self._progress.advance(self._task_id, n)
        if fields:
            self._progress.update(self._task_id, shown=_format_fields(fields))


class _PlainBar:
    """Progress for a log: a line now and then, and one at the end."""

    def __init__(self, console: Console, description: str, total: float, unit: str) -> None:
        self._console, self._description, self._total, self._unit = console, description, total, unit
        self._done = 0.0
        self._is_over = False
        self._started = self._last_line = time.monotonic()

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Count, and print a line if the last one is long enough ago; a total may be an estimate."""
        self._done += n
        now = time.monotonic()
        ends_now = self._done >= self._total and not self._is_over
        self._is_over |= ends_now
        since = self._started if ends_now else self._last_line
        if now - since < PLAIN_PROGRESS_SECONDS:
            return
        self._last_line = now
        rate = self._done / max(now - self._started, 1e-9)
        left = max(self._total - self._done, 0) / max(rate, 1e-9)
        share = min(100 * self._done / self._total, 100) if self._total else 100.0
        pace = f"{share:.0f} %, {rate:,.0f} {self._unit}/s, {left:.0f} s left"
        self._console.info(f"{self._description}: {pace}  {_format_fields(fields)}".rstrip())


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show units a second."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self._unit}/s" if speed else "")


class _FieldsColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Show the latest fields, e.g. the loss."""
        return Text(str(task.fields.get("shown", "")))


def _format_fields(fields: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    )
