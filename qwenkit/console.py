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
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from qwenkit.ranks import find_ranks

PLAIN_PROGRESS_SECONDS = 15.0
BAR_WIDTH = 40
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


@dataclass(frozen=True)
class TextTree:
    """A line, and what belongs under it."""

    line: str
    branches: Sequence["TextTree"] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, str]]:
        """Give each line with its depth, from top to bottom."""
        yield depth, self.line
        for branch in self.branches:
            yield from branch.walk(depth + 1)


class ProgressBar(Protocol):
    """What a long loop reports to."""

    def advance(self, n: float = 1, **fields: Any) -> None:
        """Count `n` more units; fields (loss=0.41) are shown beside the bar."""


class Console:
    """One look through all commands and pipelines; quiet leaves warnings and errors.

    Of several ranks the main one prints; the others have nothing to say but what went wrong in them alone.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self._ranks = find_ranks()
        self.quiet = quiet or not self._ranks.is_main
        self.json = json
        plain = {} if sys.stdout.isatty() else {"width": LOG_WIDTH}
        self._rich = RichConsole(stderr=json, highlight=False, soft_wrap=False, **plain)  # type: ignore[arg-type]
        self._stderr = RichConsole(stderr=True, highlight=False)

    def header(self, title: str, subtitle: str = "") -> None:
        """Open a step: its name, and what it works on."""
        self._print(f"[bold]{_escape(title)}[/bold]" + (f"  {_escape(subtitle)}" if subtitle else ""))

    def info(self, line: str) -> None:
        """Print one plain line."""
        self._print(f"  {_escape(line)}")

    def success(self, line: str) -> None:
        """Say what was written where."""
        self._print(f"[green]✓[/green] {_escape(line)}")

    def warn(self, line: str, *, is_of_rank: bool = False) -> None:
        """Say what may be wrong; shown even when quiet, on stderr.

        Args:
            is_of_rank: It happened in this rank and not in all: whichever that is says so, and which.
        """
        if self._ranks.is_main or is_of_rank:
            where = self._name_rank() if is_of_rank else ""
            self._stderr.print(f"[yellow]warning{where}:[/yellow] {_escape(line)}", soft_wrap=True)

    def error(self, message: str) -> None:
        """Print an error message, which may have several lines, on stderr, and which rank it is from."""
        lines = [_escape(line) for line in message.splitlines()] or [""]
        self._stderr.print(f"[red]error{self._name_rank()}:[/red] " + "\n".join(lines), soft_wrap=True)

    def next(self, command: str) -> None:
        """End with what a user most likely types now."""
        self.info(f"next: {command}")

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numbers: bool = True,
        notes: bool = False,
    ) -> None:
        """Print a table; all columns but the first are aligned as numbers unless told otherwise.

        Args:
            numbers: False aligns all columns as text.
            notes: The last column is text.
        """
        if self.quiet:
            return
        table = Table(
            title=_escape(title) or None,
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
        )
        for index, column in enumerate(columns):
            is_text = index == 0 or not numbers or (notes and index == len(columns) - 1)
            table.add_column(_escape(column), justify="left" if is_text else "right", overflow="fold")
        for row in rows:
            table.add_row(*[_escape(cell) for cell in row])
        self._rich.print(table)

    def tree(self, tree: "TextTree") -> None:
        """Print lines that belong under each other: with guides on a terminal, indented elsewhere."""
        if self.quiet:
            return
        if self._rich.is_terminal:
            self._rich.print(_draw_branches(tree, Tree(_escape(tree.line))))
            return
        for depth, line in tree.walk():
            self._print("  " * depth + _escape(line))

    def emit(self, record: Any) -> None:
        """Print one JSON object a line on stdout; data for programs."""
        if not self._ranks.is_main:
            return
        sys.stdout.write(json_module.dumps(record, ensure_ascii=True, allow_nan=False) + "\n")
        sys.stdout.flush()

    def text(self, block: str) -> None:
        """Print a block that is itself the answer (a config, a schema), untouched and on stdout."""
        if self._ranks.is_main:
            sys.stdout.write(block if block.endswith("\n") else block + "\n")

    @contextmanager
    def progress(self, description: str, total: float, unit: str) -> Iterator[ProgressBar]:
        """Show how far a loop is, its rate in `unit` a second and the time left."""
        if self.quiet:
            yield _SilentBar()
        elif self._rich.is_terminal:
            # Only the bar gives way where the terminal is narrow; a wrapped line would leave its rest behind.
            columns = (
                TextColumn("  {task.description}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=None, table_column=Column(max_width=BAR_WIDTH)),
                _RateColumn(unit),
                TimeRemainingColumn(table_column=Column(no_wrap=True)),
                _FieldsColumn(),
            )
            with Progress(*columns, console=self._rich, transient=True) as progress:
                yield _RichBar(progress, progress.add_task(escape(description), total=total, shown=""))
        else:
            yield _PlainBar(self, description, total, unit)

    def _name_rank(self) -> str:
        return f" (rank {self._ranks.rank})" if self._ranks.world_size > 1 else ""

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
        super().__init__(table_column=Column(no_wrap=True))
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Show units a second."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self._unit}/s" if speed else "")


class _FieldsColumn(ProgressColumn):
    def __init__(self) -> None:
        super().__init__(table_column=Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Show the latest fields, e.g. the loss."""
        return Text(str(task.fields.get("shown", "")))


def _draw_branches(tree: TextTree, drawn: Tree) -> Tree:
    for branch in tree.branches:
        _draw_branches(branch, drawn.add(_escape(branch.line)))
    return drawn


def _escape(text: str) -> str:
    return escape(safe_text(text))


def _format_fields(fields: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in fields.items()
    )
