"""The command `find` for exact algorithms, and the table behind `frontier --exact`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import click
from rich.table import Table

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import save_encoders
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput, StlError, TooLarge
from stl_algebra.exact.catalogue import best_known_ranks, exact_algorithm
from stl_algebra.exact.discretise import discretise
from stl_algebra.files import check_writable
from stl_algebra.version import __version__
from stl_search.cli.common import Duration, command_line, echo_json, err, json_option, out, progress_bar
from stl_search.frontier.exact_table import exact_table_rows

METHODS = ("flips", "least-squares")

#: Entries of a vector that a walk can hold (`flip_graph.LARGEST_VECTOR`), the limit of both methods.
LARGEST_TILE = 31
#: Order of the normal matrix above which one start takes minutes.
LARGEST_ORDER = 2000


class NothingFound(StlError):
    """A search ended without an algorithm of the rank that was asked for."""


def print_exact_table(as_json: bool) -> None:
    """The exact algorithms of all formats up to 5 beside the best known ranks."""
    rows, known = exact_table_rows(), best_known_ranks()
    if as_json:
        echo_json({"source_of_best_known": known["source"], "as_of": known["date"], "rows": rows})
        return
    grid = Table(box=None, header_style="bold")
    for column in ("tile", "nkm", "rank", "best known", "gap", "exact over", "A", "origin"):
        grid.add_column(column, justify="left" if column in ("tile", "exact over", "origin") else "right")
    for row in rows:
        best = str(row["best_known"])
        origin = " ".join([_ORIGINS.get(row["origin"], row["origin"]), *row["parts"]])
        if row["best_known_integers"] != row["best_known"]:
            best += f" ({row['best_known_integers']} over Z)"
        grid.add_row(
            row["tile"], str(row["products"]), str(row["rank"]), best,
            str(row["gap"]) if row["gap"] else "", row["ring"] if row["exact"] else "not exact",
            f"{row['amplification']:.1f}", origin,
            style="" if row["gap"] else "bold",
        )  # fmt: skip
    out.print(grid)
    equal = sum(row["gap"] == 0 for row in rows)
    out.print(
        f"{equal} of {len(rows)} formats have the best known rank (bold); "
        f"best known: {known['source']}, {known['date']}.",
        soft_wrap=True,
    )


_ORIGINS = {
    "seed": "searched or written out",
    "sum-n": "direct sum along n of",
    "sum-k": "direct sum along k of",
    "sum-m": "direct sum along m of",
    "kronecker": "Kronecker product of",
}


@click.command()
@click.argument("tile")
@click.option("--rank", type=int, help="Stop here. Default: one below the best that the package has.")
@click.option("--budget", type=Duration(), default=60.0, show_default="60s", help="Time to spend.")
@click.option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--out", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path("results/exact")
)
@json_option
def find(
    tile: str, rank: int | None, budget: float, method: str, seed: int, folder: Path, as_json: bool
) -> None:
    """Search for an exact algorithm of a format. Exit code 1 when the rank was not reached.

    \b
    flips          random walks in the flip graph over {-1, 0, 1}, from all that is known of the format
    least-squares  Levenberg-Marquardt from random starts, then rounded to integers or rationals

    What is better than the start is saved at once; Ctrl-C loses nothing that was found.

    \b
    Example:
      stl-search find 3x3x3 --rank 23 --method least-squares --budget 5m
    """
    target = TileFormat.parse(tile)
    if max(target.x_size, target.w_size, target.y_size) > LARGEST_TILE:
        raise InvalidInput("tile", expected=f"n*k, k*m and n*m of at most {LARGEST_TILE}", got=str(target))
    goal = exact_algorithm(target).rank - 1 if rank is None else rank
    if not 1 <= goal <= target.products:
        raise InvalidInput("rank", expected=f"from 1 to {target.products} for {target}", got=goal)
    order = goal * (target.x_size + target.w_size + target.y_size)
    if method == METHODS[1] and order > LARGEST_ORDER:
        raise TooLarge(
            f"least squares for {target} rank {goal} factorises matrices of order {order} "
            f"({8e-9 * order**2:.1f} GB each), the limit is {LARGEST_ORDER}; use --method flips"
        )
    check_writable(folder)
    search = _walks if method == METHODS[0] else _least_squares
    found = search(target, goal, time.monotonic() + budget, seed, folder)
    if found is None:
        raise NothingFound(
            f"no exact algorithm of rank {goal} for {target} within {budget:.0f}s, method {method}"
        )
    path, algorithm = found
    outcome = verify(algorithm)
    if as_json:
        echo_json({"file": str(path), "rank": algorithm.rank, **outcome.certificate()})
    else:
        out.print(f"{target} rank {algorithm.rank}: {outcome.message}; {path}", soft_wrap=True)
    if algorithm.rank > goal:
        raise SystemExit(1)


def _save(algorithm: BilinearAlgorithm, folder: Path, seed: int, family: str) -> Path:
    origin = replace(
        algorithm.provenance, family=family, seed=seed, command=command_line(), version=__version__
    )
    name = f"{algorithm.tile.slug}-r{algorithm.rank}"
    return save_encoders(folder / f"{name}.safetensors", replace(algorithm, name=name, provenance=origin))


def _walks(
    tile: TileFormat, goal: int, deadline: float, seed: int, folder: Path
) -> tuple[Path, BilinearAlgorithm] | None:
    # Here and not above: the compiler behind it takes a second to load, which no other command needs.
    from stl_algebra.exact.walks import search_format

    saved: tuple[Path, BilinearAlgorithm] | None = None
    start_rank = exact_algorithm(tile).rank
    if start_rank <= goal:
        # The package has it already; a walk would only repeat it.
        algorithm = exact_algorithm(tile)
        return _save(algorithm, folder, seed, algorithm.provenance.family), algorithm
    with progress_bar("walking") as progress:
        for attempt in search_format(tile, target_rank=goal, seed=seed):
            progress(f"rank {attempt.best.rank}, looking for {goal}", attempt.number + 1, attempt.number + 2)
            if attempt.best.rank < (saved[1].rank if saved else start_rank):
                saved = _save(attempt.best, folder, seed, "flip-graph"), attempt.best
                err.print(f"rank {attempt.best.rank} after {attempt.number + 1} walks: {saved[0]}")
            if time.monotonic() > deadline:
                break
    return saved


def _least_squares(
    tile: TileFormat, goal: int, deadline: float, seed: int, folder: Path
) -> tuple[Path, BilinearAlgorithm] | None:
    from stl_algebra.exact.random_starts import solve_from_random_starts

    solved = 0
    with progress_bar("random starts") as progress:
        for start in solve_from_random_starts(tile, goal, 10**6, seed):
            solved += start.solved
            progress(f"{solved} solved in floats", start.number + 1, start.number + 2)
            exact = discretise(start.algorithm, tries=2, seed=seed) if start.solved else None
            if exact is not None:
                return _save(exact, folder, seed, "random-start"), exact
            if time.monotonic() > deadline:
                break
    if solved:
        err.print(f"{solved} starts are exact in floats, but none could be rounded; try another seed")
    return None
