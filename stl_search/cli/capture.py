"""`stl-search capture`."""

from __future__ import annotations

from pathlib import Path

import click

from stl_models.activations import capture as run_capture
from stl_search.cli.common import command_line, out, progress_bar


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--text", type=click.Path(path_type=Path), required=True, help="UTF-8 text that the model reads."
)
@click.option(
    "--layers", multiple=True, default=("*",), show_default=True, help="Shell patterns of layer names."
)
@click.option("--rows", type=int, default=512, show_default=True, help="Test rows, and as many to calibrate.")
@click.option("--length", type=int, default=128, show_default=True, help="Tokens per window.")
@click.option("--licence", default="", help="Licence of model and text, stored with the file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out", "target", type=click.Path(path_type=Path), default=Path("capture.safetensors"), show_default=True
)
def capture(
    model: Path,
    text: Path,
    layers: tuple[str, ...],
    rows: int,
    length: int,
    licence: str,
    seed: int,
    target: Path,
) -> None:
    """Record inputs and weights of linear layers of a local transformers model on a text.

    The file is a value for --matrices. Nothing is downloaded.

    \b
    Example:
      stl-search capture ./all-MiniLM-L6-v2 --text book.txt --layers '*.query' --out book.safetensors
    """
    with progress_bar("capturing") as progress:
        path = run_capture(
            model, text, target, layers=layers, rows=rows, length=length, seed=seed, licence=licence,
            command=command_line(), progress=progress,
        )  # fmt: skip
    out.print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)", soft_wrap=True)
