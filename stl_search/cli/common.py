"""What every command shares: one-line errors and exit codes, progress on stderr, JSON on request."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from stl_algebra.errors import InvalidInput, StlError, TooLarge, Unavailable
from stl_search.study.storage import without_password

#: Tables and results go to stdout, progress to stderr.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)


class Group(click.Group):
    """A command group that turns our errors into one line on stderr and exit code 1 or 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; 2 for wrong input, 1 for everything else that we raise on purpose."""
        try:
            return super().invoke(ctx)
        except StlError as error:
            wrong = isinstance(error, (InvalidInput, Unavailable, TooLarge))
            click.echo("error: " + " ".join(str(error).split()), err=True)
            ctx.exit(2 if wrong else 1)
        except BrokenPipeError:
            ctx.exit(1)


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr; yields (what, done, of) -> None."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    ) as bar:
        task = bar.add_task(label, total=None)

        def step(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"{label} · {what}", completed=done, total=of)

        yield step


def echo_json(value: Any) -> None:
    """Print a JSON document on stdout."""
    click.echo(json.dumps(value, indent=2))


def command_line() -> str:
    """The command as a person would type it, without passwords."""
    return without_password(shlex.join(["stl-search", *sys.argv[1:]]))


class Duration(click.ParamType[float]):
    """Seconds from "90s", "5m", "1h" or "90"."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds, above zero."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
        if seconds <= 0:
            self.fail(f'expected a time such as "90s", "5m" or "1h", got {value!r}', param, ctx)
        return seconds


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
dtype_option = click.option(
    "--dtype", default="bf16", show_default=True, help="bf16, fp16, tf32 or fp32: whose rounding counts."
)
