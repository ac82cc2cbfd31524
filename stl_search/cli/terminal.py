"""What commands print with: consoles, tables that lose no figure in a narrow terminal, bars.

A pipe gets no codes, and 160 columns where COLUMNS does not say how many; NO_COLOR and TERM=dumb take colours
and bold from a terminal, too. Bars are for terminals that can move the cursor.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence

from rich import progress as bars
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from stl_algebra.progress import Progress

#: Columns where stdout is no terminal and COLUMNS says nothing: tables in files need not fit a screen.
_WIDE = 160
#: Blanks of a column, one on each side.
_PADDING = 2


def _console(*, stderr: bool) -> Console:
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "") in ("dumb", "unknown")
    known = stderr or sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(
        stderr=stderr, highlight=False, width=None if known else _WIDE, color_system=None if plain else "auto"
    )


#: Tables and results go to stdout, progress to stderr.
out = _console(stderr=False)
err = _console(stderr=True)


class Rows(Table):
    """A plain table: where it is wider than the screen its texts wrap, and where they cannot, rows are lists.

    Columns that do not wrap keep their width whatever the screen's is.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As a table, or every row as lines of a heading and its value."""
        room = options.max_width - _PADDING * len(self.columns)
        widths = self._widths(console, options, room)
        if sum(widths) > room:
            yield from self._as_lists()
            return
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _widths(self, console: Console, options: ConsoleOptions, room: int) -> list[int]:
        """Of the columns: what they take, or less for texts, down to their longest words."""
        # However wide the screen is, cells are asked what they would like.
        free = options.update(width=100_000)
        sizes = [
            [Measurement.get(console, free, cell) for cell in (column.header, *column.cells)]
            for column in self.columns
        ]
        most = [max(size.maximum for size in column) for column in sizes]
        least = [
            wide if column.no_wrap else max(size.minimum for size in found)
            for column, wide, found in zip(self.columns, most, sizes, strict=True)
        ]
        spare = room - sum(least)
        widths = []
        for small, large in zip(least, most, strict=True):
            more = max(0, min(large - small, spare))
            widths.append(small + more)
            spare -= more
        return widths

    def _as_lists(self) -> Iterator[RenderableType]:
        if self.title:
            yield self.title if isinstance(self.title, Text) else Text.from_markup(str(self.title))
        for row, *cells in zip(self.rows, *(column.cells for column in self.columns), strict=True):
            lines = Table.grid(padding=(0, 1))
            lines.add_column(no_wrap=True, style="bold")
            lines.add_column(overflow="fold")
            for column, cell in zip(self.columns, cells, strict=True):
                if str(cell):
                    lines.add_row(column.header, cell, style=row.style)
            yield lines
            yield ""


def table(title: str, columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """A table with bold heads and no frame; columns of `numbers` stand to the right and are never cut."""
    made = Rows(title=title or None, box=None, header_style="bold", title_justify="left")
    for column in columns:
        number = column in numbers
        made.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return made


@contextlib.contextmanager
def progress_bar(label: str, *, remaining: bool = False) -> Iterator[Progress]:
    """A bar on stderr; yields (what, done, of) -> None. The time that remains, for steps of one length."""
    with bars.Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        *([TextColumn("left"), TimeRemainingColumn()] if remaining else []),
        console=err,
        transient=True,
        disable=not err.is_terminal or err.is_dumb_terminal,
    ) as bar:
        task = bar.add_task(label, total=None)

        def step(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"{label} · {what}", completed=done, total=of)

        yield step
