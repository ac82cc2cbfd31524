"""`stl-search export`: an algorithm for programs that read no encoders files."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.factor_files import SUFFIXES, write_factors
from stl_algebra.factor_files.write import CONVENTIONS
from stl_algebra.published import read_encoders
from stl_search.cli.common import out
from stl_search.cli.names import encoders_argument
from stl_search.pictures.files import IMAGES, save_figure


@click.command()
@encoders_argument
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    help=f"File: {', '.join((*SUFFIXES, *IMAGES))}.",
)
@click.option(
    "--output-convention",
    "convention",
    type=click.Choice(CONVENTIONS),
    default="C",
    show_default=True,
    help="What u, v, w and SMS triples compute.",
)
def export(encoders: Path, target: Path, convention: str) -> None:
    """Write an algorithm in another format, chosen by the file's suffix.

    \b
    .npz    encode_x, encode_w, decode in float64; and u, v, w with one column per product
    .json   the same factors as lists, integers or fractions where exact; u, v, w with one row per product
    .sms    three files of sparse triples: NAME_L.sms, NAME_R.sms, NAME_P.sms
    .py     a function on numpy arrays; .tex a list of products and sums
    .safetensors   an encoders file with its proof
    .svg, .png   the factors as heat maps

    \b
    Example:
      stl-search export results/s3/encoders/4x4x4-r32.safetensors --to winner.npz
    """
    judged = read_encoders(encoders).judged
    if target.suffix.lower() in IMAGES:
        from stl_search.pictures.products import factors_picture

        paths = [save_figure(factors_picture(judged.algorithm), target)]
    else:
        paths = write_factors(judged, target, convention)
    for path in paths:
        out.print(str(path), soft_wrap=True)
