"""`stl-search export`: an algorithm for programs that read no encoders files."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_search.cli.common import out
from stl_search.frontier.export import FORMATS, export_algorithm


@click.command()
@click.argument("encoders", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help=f"File: {', '.join(FORMATS)}.",
)
def export(encoders: Path, target: Path) -> None:
    """Write an algorithm in another format, chosen by the file's suffix.

    \b
    .npz    encode_x, encode_w, decode in float64; and u, v, w with one column per product
    .json   the same factors as lists; integers or fractions where the algorithm is exact
    .safetensors   an encoders file, verified again

    \b
    Example:
      stl-search export results/s3/encoders/4x4x4-r32.safetensors --to winner.npz
    """
    out.print(str(export_algorithm(load_encoders(encoders), target)), soft_wrap=True)
