"""What every command shares: one-line errors and exit codes, progress on stderr, JSON on request."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from stl_algebra.errors import InvalidInput, StlError
from stl_search.cli.names import devices, precisions
from stl_search.cli.terminal import err, out, progress_bar, table
from stl_search.study.urls import without_password

if TYPE_CHECKING:
    from stl_search.report.content import Content

__all__ = [
    "Duration",
    "Group",
    "check_device",
    "command_line",
    "conclude",
    "device_option",
    "dtype_option",
    "echo_json",
    "err",
    "going_on_later",
    "json_option",
    "out",
    "patience_option",
    "progress_bar",
    "table",
]


#: Where the root remembers that JSON is wanted.
_JSON = "stl_search.json"


class Group(click.Group):
    """A command group that loads a command when it is asked for, and turns our errors into one line.

    Commands come as name -> (module below `stl_search.cli`, one line for the list): importing them all would
    take seconds before the first word of help. They come in sections, each with its heading.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, tuple[str, str]]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections or {}
        self.lazy = {name: entry for part in self.sections.values() for name, entry in part.items()}

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
        widest = max(map(len, self.lazy))
        for heading, part in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(widest), line) for name, (_, line) in part.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands with their lines, and options; nothing is imported for them."""
        names = [
            CompletionItem(name, help=line)
            for name, (_, line) in self.lazy.items()
            if name.startswith(incomplete)
        ]
        # Past click's own, which would import every command for its help.
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remembers that JSON is wanted, for errors that come before the command knows."""
        if ctx.parent is None:
            ctx.meta[_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours ends it with the error's exit code."""
        if ctx.parent is not None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except StlError as error:
            message = " ".join(str(error).split())
            if ctx.meta[_JSON]:
                echo_json(_failure(error, message, error.exit_code))
            click.echo(f"error: {message}", err=True)
            ctx.exit(error.exit_code)
        except click.ClickException as error:
            if ctx.meta[_JSON]:
                echo_json(_failure(error, error.format_message(), error.exit_code))
            raise


def _failure(error: Exception, message: str, exit_code: int) -> dict[str, Any]:
    """What `--json` prints in the place of a result: the schema "error"."""
    parts = {}
    if isinstance(error, InvalidInput):
        parts = {
            "argument": error.argument,
            "expected": error.expected,
            "got": str(error.got),
            "hint": error.hint,
        }
    return {"error": {"kind": type(error).__name__, "message": message, "exit_code": exit_code, **parts}}


@contextlib.contextmanager
def going_on_later() -> Iterator[None]:
    """Ctrl-C ends the command with one line: what it wrote so far is gone on from."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("stopped: the same command goes on from the last checkpoint", err=True)
        raise SystemExit(1) from None


def echo_json(value: Any) -> None:
    """Print a JSON document on stdout; JSON has no numbers that are not finite: null stands for them."""
    click.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON on stdout and nothing else; `stl-search schema` describes it.",
)
device_option = click.option(
    "--device", default="cpu", show_default=True, shell_complete=devices, help="A torch device: cpu, cuda."
)


def check_device(name: str) -> None:
    """Raises InvalidInput for what is no device of torch, or a GPU where there is none."""
    import torch

    try:
        there = torch.device(name).type == "cpu" or torch.empty(0, device=name).device.type == "cuda"
    # Which one torch raises depends on its build.
    except (RuntimeError, AssertionError, NotImplementedError):
        there = False
    if not there:
        raise InvalidInput("device", expected="cpu, or cuda where torch sees a GPU", got=name)


dtype_option = click.option(
    "--dtype",
    default="bf16",
    show_default=True,
    help="bf16, fp16, tf32 or fp32: whose rounding counts.",
    shell_complete=precisions,
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
