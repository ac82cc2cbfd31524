"""`stl-search capture`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stl_search.cli.common import command_line, echo_json, json_option, out, progress_bar, table

if TYPE_CHECKING:
    from stl_models.activations import Captured


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--text", type=click.Path(path_type=Path), required=True, help="UTF-8 text that the model reads."
)
@click.option(
    "--layers", multiple=True, default=("*",), show_default=True,
    help='Shell patterns of layer names; "!lm_head" leaves one out.',
)  # fmt: skip
@click.option(
    "--rows", type=int, default=512, show_default=True,
    help="Test rows to keep, and as many calibration rows.",
)  # fmt: skip
@click.option(
    "--moment-rows", type=int, default=24_000, show_default=True,
    help="Rows that means and covariances are taken from.",
)  # fmt: skip
@click.option("--length", type=int, default=128, show_default=True, help="Tokens per window.")
@click.option("--licence", default="", help="Licence of model and text, stored with the file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out", "target", type=click.Path(path_type=Path), default=Path("capture.safetensors"), show_default=True
)
@json_option
def capture(
    model: Path,
    text: Path,
    layers: tuple[str, ...],
    rows: int,
    moment_rows: int,
    length: int,
    licence: str,
    seed: int,
    target: Path,
    as_json: bool,
) -> None:
    """Record inputs and weights of linear layers of a local transformers model on a text.

    The model may be any whose forward takes token ids; encoder-decoders read each window and write it. The
    file is a value for --matrices. It holds few rows, in float16 where that holds the values, and mean and
    covariance of many, which methods that calibrate use. Nothing is downloaded.

    \b
    Example:
      stl-search capture ./all-MiniLM-L6-v2 --text book.txt --layers '*.query' --out book.safetensors
    """
    from stl_models.activations import CaptureOptions, Labels
    from stl_models.activations import capture as run_capture

    options = CaptureOptions(layers, rows, moment_rows, length, seed)
    with progress_bar("capturing") as progress:
        made = run_capture(model, text, target, options, Labels(licence, command_line()), progress)
    if as_json:
        echo_json(
            {"path": str(made.path), "layers": [asdict(v) for v in made.layers], "skipped": made.skipped}
        )
        return
    _say(made)


def _say(made: Captured) -> None:
    numbers = ("K x M", "rows", "moments from", "calls")
    shown = table("", ("layer", *numbers, "x, calibration, w", ""), numbers)
    for v in made.layers:
        dtypes = v.dtypes[0] if len(set(v.dtypes)) == 1 else ", ".join(v.dtypes)
        shown.add_row(
            v.name, f"{v.inner} x {v.outer}", str(v.rows), str(v.moment_rows), f"{v.calls:g}", dtypes,
            "; ".join(v.notes),
        )  # fmt: skip
    out.print(shown)
    for name, why in made.skipped.items():
        out.print(f"left out: {name}: {why}", markup=False, soft_wrap=True)
    megabytes = made.path.stat().st_size / 1e6
    count = f"{len(made.layers)} layer{'' if len(made.layers) == 1 else 's'}"
    out.print(f"{made.path} ({megabytes:.1f} MB, {count}, {len(made.skipped)} left out)", soft_wrap=True)
