"""`stl-search bench`: measurements that the project stores and quotes."""

from __future__ import annotations

from pathlib import Path

import click

import stl_algebra
from stl_algebra.files import write_atomically
from stl_search.cli.common import err, out
from stl_search.dtype_constants import as_json as constants_as_json
from stl_search.dtype_constants import measure


@click.group()
def bench() -> None:
    """Measure on this machine."""


@bench.command()
@click.option("--write", is_flag=True, help="Store them as the constants of the installed package.")
def dtypes(write: bool) -> None:
    """Rounding constants c of `added NMSE = c A` for bf16, fp16, tf32 and fp32.

    \b
    Example:
      stl-search bench dtypes
    """
    with err.status("measuring rounding"):
        document = constants_as_json(measure())
    if write:
        target = Path(stl_algebra.__file__).parent / "data" / "dtype_constants.json"
        out.print(str(write_atomically(target, document)), soft_wrap=True)
    else:
        click.echo(document, nl=False)
