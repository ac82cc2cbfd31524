"""`stl-search evaluate`: an encoders file and every baseline on matrices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stl_search.cli.common import dtype_option, echo_json, json_option, out, progress_bar, table
from stl_search.cli.names import encoders_argument
from stl_search.cli.names import matrices as matrix_names
from stl_search.matrices.names import MATRICES_HELP

if TYPE_CHECKING:
    from rich.table import Table

    from stl_search.judging.evaluation import Row


@click.command()
@encoders_argument
@click.option(
    "--matrices", multiple=True, default=("random", "minilm"), show_default=True, help=MATRICES_HELP,
    shell_complete=matrix_names,
)  # fmt: skip
@dtype_option
@json_option
def evaluate(encoders: Path, matrices: tuple[str, ...], dtype: str, as_json: bool) -> None:
    """Score an encoders file and every baseline at equal multiplications on matrices.

    \b
    Example:
      stl-search evaluate results/s3/encoders/4x4x4-r32.safetensors --matrices minilm
    """
    from stl_algebra.algorithms.scores import closed_form_scores
    from stl_algebra.published import read_encoders
    from stl_search.judging.evaluation import evaluate as run_evaluation
    from stl_search.matrices.readers import load_matrices

    algorithm = read_encoders(encoders).judged.algorithm
    pairs = [p for spec in dict.fromkeys(matrices) for p in load_matrices(spec)]
    scores = closed_form_scores(algorithm)
    total = scores.total(dtype)
    with progress_bar("scoring") as progress:
        rows = run_evaluation([algorithm], pairs, dtype, [max(1.0, algorithm.ratio)], progress)
    if as_json:
        echo_json({"closed_form": scores.as_json(), "rows": [r.as_dict() for r in rows]})
        return
    out.print(
        f"[bold]{algorithm.name or encoders.stem}[/] {algorithm.tile} rank {algorithm.rank}, "
        f"ratio {algorithm.ratio:.2f}"
    )
    out.print(
        f"NMSE {scores.nmse:.4g} ({scores.tiles} tiles), A {scores.amplification:.4g}, "
        f"{dtype} total {total:.4g}"
    )
    for pair in pairs:
        out.print(_table(pair.name, [r for r in rows if r.matrices == pair.name]))


def _table(title: str, rows: list[Row]) -> Table:
    numbers = ("ratio", "NMSE", "spectral", "total")
    shown = table(title, ("method", *numbers), numbers)
    for r in sorted(rows, key=lambda r: r.total):
        style = "bold" if r.kind == "encoders" else ""
        shown.add_row(
            r.method, f"{r.ratio:.2f}", f"{r.nmse:.4g}", f"{r.spectral:.4g}", f"{r.total:.4g}", style=style
        )
    return shown
