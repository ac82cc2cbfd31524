"""`stl-search descend`: a frontier improved from its highest rank down."""

from __future__ import annotations

from pathlib import Path

import click

from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.published import read_encoders
from stl_search.cli.common import (
    check_device,
    command_line,
    device_option,
    dtype_option,
    echo_json,
    json_option,
    out,
)
from stl_search.cli.names import tiles as tile_names


@click.command()
@click.argument("tile", shell_complete=tile_names)
@click.option(
    "--lowest", type=click.IntRange(min=1), required=True, help="The last rank; with --up, where to start."
)
@click.option(
    "--highest", type=click.IntRange(min=2),
    help="Where to start, the exact rank by default; with --up, the last rank, one less by default.",
)  # fmt: skip
@click.option("--up", is_flag=True, help="Go up instead: from each rank to the next, add products.")
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--width", type=click.IntRange(min=1), default=4, show_default=True, help="Kept of a rank.")
@click.option(
    "--branch", type=click.IntRange(min=0), default=4, show_default=True,
    help="Removals or additions tried of each; 0 only polishes what is known.",
)  # fmt: skip
@click.option(
    "--stride", type=click.IntRange(min=1), default=1, show_default=True,
    help="Finish and keep only the ranks that it divides, and the last.",
)  # fmt: skip
@click.option(
    "--afresh",
    is_flag=True,
    help="Begin with the first rank alone, with nothing that is known of the others.",
)
@click.option(
    "--also", "more", multiple=True,
    help="More encoders to begin with, files or published names; their amplification is brought down to what "
    "the dtype bears.",
)  # fmt: skip
@click.option(
    "--drops", type=click.IntRange(min=0), default=0, show_default=True,
    help="Try sets of up to this many products, dropped at once, of what is kept of the ranks above.",
)  # fmt: skip
@click.option(
    "--tries", type=click.IntRange(min=1), default=4000, show_default=True,
    help="Sets of each size; all where there are no more.",
)  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Of the products that --up adds, and of the sets."
)
@device_option
@dtype_option
@json_option
def descend(
    tile: str,
    lowest: int,
    highest: int | None,
    up: bool,
    folder: Path,
    width: int,
    branch: int,
    stride: int,
    afresh: bool,
    more: tuple[str, ...],
    drops: int,
    tries: int,
    seed: int,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Go down from the exact algorithm of a format, rank by rank: remove products, polish, keep the best.
    Or up: add products.

    Starts at every rank with the published encoders, with products and direct sums of published ones of
    smaller formats, and with what the folder has from earlier, unless --afresh. A file of the folder is only
    ever replaced by a better one.

    \b
    Example:
      stl-search descend 4x4x4 --lowest 40 --dtype bf16 --out results/descent-4x4x4
      stl-search descend 4x4x4 --highest 36 --lowest 30 --drops 3 --out results/descent-4x4x4
      stl-search descend 6x6x6 --lowest 54 --stride 6 --width 1 --branch 2 --out results/descent-6x6x6
    """
    from stl_search.frontier.known import brought_to, known_algorithms
    from stl_search.frontier.winners import encoders_path, read_winners
    from stl_search.trials.descent import Descent, ascend
    from stl_search.trials.descent import descend as ranks_of
    from stl_search.trials.drops import Drops

    check_device(device)
    if drops and (up or not branch):
        raise InvalidInput("drops", expected="neither --up nor --branch 0 beside it", got=drops)
    form = TileFormat.parse(tile)
    known = known_algorithms(form, dtype)
    held: dict[int, float] = {}
    if (folder / "encoders").is_dir():
        for rank, judged in read_winners(folder).items():
            if judged.algorithm.tile != form:
                raise InvalidInput(
                    "out",
                    expected=f"a folder of {form} or a new one",
                    got=f"{folder} of {judged.algorithm.tile}",
                )
            known.setdefault(rank, []).append(judged.algorithm)
            held[rank] = judged.scores.total(dtype)
    top = highest or rank_of_exact(form) - up
    known = {rank: found for rank, found in known.items() if rank <= top and (rank >= lowest or not up)}
    first = min(known, default=0) if up else top
    if first not in known:
        raise InvalidInput("highest", expected=f"one of {', '.join(map(str, sorted(known)))}", got=top)
    if afresh:
        known = {first: known[first]}
    others = [read_encoders(name).judged.algorithm for name in more]
    for algorithm in others:
        if algorithm.tile != form or not lowest <= algorithm.rank <= top:
            wanted = f"encoders of {form}, of rank {lowest} to {top}"
            raise InvalidInput("also", expected=wanted, got=repr(algorithm))
    for algorithm in others:
        known.setdefault(algorithm.rank, []).append(brought_to(algorithm, dtype))
    together = Drops(drops, tries) if drops else None
    how = Descent(width, branch, stride, drops=together, seed=seed, device=device)
    founds = (
        ascend(form, known, top, dtype, how, command_line(), seed=seed)
        if up
        else ranks_of(form, known, lowest, dtype, how, command_line())
    )
    rows = []
    for found in founds:
        algorithm = found.algorithm
        better = found.total < held.get(algorithm.rank, float("inf"))
        if better:
            save_encoders(encoders_path(folder, form, algorithm.rank), Judged.of(algorithm))
        rows.append({"rank": algorithm.rank, "total": found.total, "before": found.before, "written": better})
        if not as_json:
            before = "" if found.before == float("inf") else f", {found.before:.5g} before"
            out.print(f"rank {algorithm.rank}: total {dtype} {found.total:.5g}{before}")
    if as_json:
        echo_json({"tile": form.slug, "dtype": dtype, "ranks": rows, "folder": str(folder)})
