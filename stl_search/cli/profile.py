"""`stl-search profile`: how the variance of layers' features is spread when they are sorted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stl_algebra.files import write_atomically
from stl_search.cli.common import command_line, echo_json, json_option, out, table
from stl_search.cli.names import matrices as matrix_names
from stl_search.matrices.names import MATRICES_HELP

if TYPE_CHECKING:
    from stl_algebra.algorithms.profile import Profile


@click.command()
@click.option(
    "--matrices", multiple=True, default=("minilm",), show_default=True,
    help="Layers whose mean profile it is; repeatable. " + MATRICES_HELP, shell_complete=matrix_names,
)  # fmt: skip
@click.option("--beside", multiple=True, help="Layers that are measured and do not count in the mean.")
@click.option(
    "--k", type=click.IntRange(min=1), default=4, show_default=True, help="Inner side of the tiles."
)
@click.option(
    "--axes", is_flag=True, help="Along the axes to which layers turn their tiles, as `run --colour`."
)
@click.option("--out", "path", type=click.Path(path_type=Path, dir_okay=False), help="JSON file to write.")
@json_option
def profile(
    matrices: tuple[str, ...], beside: tuple[str, ...], k: int, axes: bool, path: Path | None, as_json: bool
) -> None:
    """Sort each layer's features by calibration variance, cut the order into k parts, say each part's share.

    \b
    Example:
      stl-search profile --matrices minilm --k 4
    """
    from stl_search.matrices.sorting import axis_profile, layer_profile, mean_profile
    from stl_search.runs import load_pairs

    pairs, others = load_pairs(matrices), load_pairs(beside)
    of = axis_profile if axes else layer_profile
    found = mean_profile(pairs, k, of)
    document: dict[str, Any] = {
        "profile": _rounded(found),
        "layers": {pair.name: _rounded(of(pair, k)) for pair in pairs},
        "beside": {pair.name: _rounded(of(pair, k)) for pair in others},
        "command": command_line(),
    }
    if path is not None:
        write_atomically(path, json.dumps(document, indent=2) + "\n")
    if as_json:
        echo_json(document)
        return
    rows = {**document["layers"], "mean": document["profile"], **document["beside"]}
    parts = [f"p{i + 1}" for i in range(k)]
    grid = table("", ["layer", *parts], parts)
    for name, shares in rows.items():
        grid.add_row(name, *(f"{share:.3f}" for share in shares), style="bold" if name == "mean" else "")
    out.print(grid)


def _rounded(found: Profile) -> list[float]:
    """Shares to the fourth digit, which is more than layers agree in."""
    return [round(share, 4) for share in found.shares]
