"""What every command shares: one-line errors and exit codes, progress on stderr, JSON on request."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click
from rich import progress as bars
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from stl_algebra.errors import StlError
from stl_algebra.progress import Progress
from stl_search.study.urls import without_password

if TYPE_CHECKING:
    from stl_search.report.content import Content

#: Tables and results go to stdout, progress to stderr.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


class Group(click.Group):
    """A command group that loads a command when it is asked for, and turns our errors into one line.

    Commands come as name -> (module below `stl_search.cli`, one line for the list): importing them all would
    take seconds before the first word of help.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, its module imported now."""
        if name not in self.lazy:
            return super().get_command(ctx, name)
        module = importlib.import_module(f"stl_search.cli.{self.lazy[name][0]}")
        # A word of Python's gets an underscore.
        command: click.Command = getattr(module, f"{name}_" if iskeyword(name) else name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        if not self.lazy:
            super().format_commands(ctx, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends it with the error's exit code."""
        try:
            return super().invoke(ctx)
        except StlError as error:
            click.echo("error: " + " ".join(str(error).split()), err=True)
            ctx.exit(error.exit_code)
        except BrokenPipeError:
            ctx.exit(1)


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
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task(label, total=None)

        def step(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"{label} · {what}", completed=done, total=of)

        yield step


@contextlib.contextmanager
def going_on_later() -> Iterator[None]:
    """Ctrl-C ends the command with one line: what it wrote so far is gone on from."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from the last checkpoint", err=True)
        raise SystemExit(1) from None


def table(title: str, columns: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    """A plain table: bold heads, no frame; columns of `numbers` to the right."""
    made = Table(title=title or None, box=None, header_style="bold", title_justify="left")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left")
    return made


def echo_json(value: Any) -> None:
    """Print a JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def command_line() -> str:
    """The command as a person would type it, without passwords."""
    return without_password(shlex.join(["stl-search", *sys.argv[1:]]))


class Duration(click.ParamType[float]):
    """Seconds from "90s", "5m", "1h", "3d" or "90"."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, above zero."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip())
        units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
        seconds = float(match[1]) * units[match[2]] if match else 0.0
        if seconds <= 0:
            self.fail(f'expected a time such as "90s", "5m", "1h" or "3d", got {value!r}', param, ctx)
        return seconds


patience_option = click.option(
    "--patience",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long the storage may be away before the command gives up.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
dtype_option = click.option(
    "--dtype", default="bf16", show_default=True, help="bf16, fp16, tf32 or fp32: whose rounding counts."
)


def conclude(content: Content, as_json: bool) -> None:
    """Say what a report says first: the winner, its exactness, where the page is."""
    chosen, settings, report = content.chosen, content.run.settings, content.run.folder / "report.html"
    if as_json:
        winners = {
            str(rank): {
                **w.scores.as_json(),
                "name": w.algorithm.name,
                "digest": w.algorithm.digest,
                "exact": w.exact,
            }
            for rank, w in content.winners.items()
        }
        echo_json(
            {
                "folder": str(content.run.folder),
                "winners": winners,
                "report": str(report),
                "standing": {s.matrices: [s.place, s.of] for s in content.standing},
                "untried_groups": content.untried,
            }
        )
        return
    out.print(
        f"[bold]{chosen.algorithm.name}[/], {chosen.algorithm.tile} rank {chosen.algorithm.rank}: "
        f"{settings.dtype} total {chosen.scores.total(settings.dtype):.4g}, "
        f"NMSE {chosen.scores.nmse:.4g} ({chosen.scores.tiles} tiles), A {chosen.scores.amplification:.4g}",
        soft_wrap=True,
    )
    out.print(content.exactness, soft_wrap=True)
    if content.headline:
        out.print(content.headline, markup=False, soft_wrap=True)
    if content.untried:
        out.print(f"no trial of {', '.join(content.untried)}: give more time", markup=False, soft_wrap=True)
    out.print(f"report: {report}", soft_wrap=True)
