"""`stl-search schema`: what a command prints with `--json`."""

from __future__ import annotations

import json

import click

from stl_algebra.errors import InvalidInput
from stl_search.cli.schemas import SCHEMAS, document


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in SCHEMAS if name.startswith(incomplete)]


@click.command()
@click.argument("command", nargs=-1, shell_complete=_names)
def schema(command: tuple[str, ...]) -> None:
    """Print the JSON Schema (2020-12) of what COMMAND prints with --json; without COMMAND, the list of them.

    Every object has all its keys and no others. Numbers that are not finite are null. "error" is what is
    printed in the place of a result when a command fails.

    \b
    Example:
      stl-search schema verify
      stl-search schema train lm
    """
    if not command:
        for name, found in SCHEMAS.items():
            click.echo(f"{name:<14}{found['description']}")
        return
    asked = " ".join(command)
    if asked not in SCHEMAS:
        raise InvalidInput("command", expected=f"one of {', '.join(SCHEMAS)}", got=repr(asked))
    click.echo(json.dumps(document(asked), indent=2, ensure_ascii=False))
