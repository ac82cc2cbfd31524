"""One search for an exact algorithm of a format, by any method: what `stl-search find` runs; prints nothing.

`search` yields a `Step` after every walk or start. The methods are registered below; what they are made of is
in `walks`, `parity_walks`, `cyclic_walks`, `hensel`, `random_starts` and `discretise`, imported where a
method begins: a compiler and torch take seconds to load.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact
from stl_algebra.exact.descents import Descent, Ranked
from stl_algebra.exact.parallel import in_parallel
from stl_algebra.version import __version__

#: Entries of a vector that a walk can hold (`flip_graph.LARGEST_VECTOR`), the limit of all methods.
LARGEST_TILE = 31
#: What rounding one solution may take: attempts, and solves in each; the next start is often luckier.
_TRIES, _SOLVES = 1, 400
#: Algorithms of a rank above the one asked for that are lifted in vain before no more are.
_LIFTS = 3
#: Order of the normal matrix above which one start of least squares takes minutes.
LARGEST_ORDER = 2000


T = TypeVar("T", bound=Ranked)


@dataclass(frozen=True)
class Step:
    """What a search says after a walk or a start.

    Attributes:
        number: of the walk or start.
        note: one line for people.
        found: an exact algorithm of lower rank than all before it, else None.
        floats: a solution of the rank asked for that is exact in floats and could not be rounded, else None.
    """

    number: int
    note: str
    found: BilinearAlgorithm | None = None
    floats: BilinearAlgorithm | None = None


@dataclass(frozen=True)
class _Request:
    tile: TileFormat
    goal: int
    seed: int
    start: BilinearAlgorithm | str = "package"
    first: int = 0
    stride: int = 1

    def numbers(self) -> Iterator[int]:
        """Of this process's walks."""
        return itertools.count(self.first, self.stride)

    def table(self, tile: TileFormat) -> BilinearAlgorithm:
        """What a walk may start from."""
        if isinstance(self.start, BilinearAlgorithm) and tile == self.tile:
            return self.start
        if self.start == "definition" or (self.start == "larger" and tile == self.tile):
            return definition(tile)
        return exact_algorithm(tile)


def _flips(request: _Request) -> Iterator[Step]:
    from stl_algebra.exact.walks import search_format

    least = request.table(request.tile).rank
    for attempt in search_format(
        request.tile,
        target_rank=request.goal,
        seed=request.seed,
        table=request.table,
        numbers=request.numbers(),
    ):
        better = attempt.best.rank < least
        least = min(least, attempt.best.rank)
        note = f"rank {attempt.best.rank}, looking for {request.goal}"
        yield Step(attempt.number, note, _from(attempt.best, "flip-graph", request) if better else None)


def _flips_modulo_2(request: _Request) -> Iterator[Step]:
    from stl_algebra.exact.parity_walks import search_modulo_2

    return _lifted(
        request,
        search_modulo_2(
            request.tile,
            table=request.table,
            target_rank=request.goal,
            seed=request.seed,
            numbers=request.numbers(),
        ),
        lambda found: (found, None),
    )


def _cyclic_flips(request: _Request, on_gpu: bool = False) -> Iterator[Step]:
    from stl_algebra.exact.cyclic_walks import search_invariant, search_invariant_on_gpu

    side, walks = request.tile.n, search_invariant_on_gpu if on_gpu else search_invariant
    if request.tile != TileFormat(side, side, side):
        raise InvalidInput(
            "tile", expected="<n,n,n>, whose three sides can be rotated", got=str(request.tile),
            hint="use the method flips-modulo-2",
        )  # fmt: skip
    return _lifted(
        request,
        walks(side, target_rank=request.goal, seed=request.seed, numbers=request.numbers()),
        lambda found: (
            found.algorithm(f"cyclic flip graph walks modulo 2, seed {request.seed}"),
            found.ties(),
        ),
    )


def _lifted(
    request: _Request,
    attempts: Iterator[Descent[T]],
    unpacked: Callable[[T], tuple[BilinearAlgorithm, NDArray[np.int64] | None]],
) -> Iterator[Step]:
    """Steps of walks modulo 2; what is better than all that was lifted before is lifted if it can be."""
    from stl_algebra.exact.hensel import lift

    least = request.table(request.tile).rank
    in_vain: Counter[int] = Counter()
    for attempt in attempts:
        found = None
        rank = attempt.outcome.rank
        # Lifting takes longer than a walk: on the way down a few try it, once each; at the goal all do.
        on_the_way = rank > request.goal
        if rank < least and not (on_the_way and in_vain[rank] >= _LIFTS):
            algorithm, ties = unpacked(attempt.outcome)
            tries = {"tries": 1, "more": 0} if on_the_way else {}
            lifted = lift(algorithm, seed=request.seed, ties=ties, **tries)
            if lifted is None:
                in_vain[rank] += 1
            else:
                least = lifted.rank
                found = _from(lifted, "flip-graph", request)
        yield Step(attempt.number, f"rank {attempt.lowest} modulo 2, {least} lifted", found)
        if least <= request.goal:
            return


def _least_squares(request: _Request) -> Iterator[Step]:
    order = request.goal * (request.tile.x_size + request.tile.w_size + request.tile.y_size)
    if order > LARGEST_ORDER:
        raise TooLarge(
            f"least squares for {request.tile} rank {request.goal} factorises matrices of order {order} "
            f"({8e-9 * order**2:.1f} GB each), the limit is {LARGEST_ORDER}; use the method flips"
        )
    return _from_starts(request)


def _from_starts(request: _Request) -> Iterator[Step]:
    from stl_algebra.exact.discretise import discretise
    from stl_algebra.exact.random_starts import solve_from_random_starts

    solved = 0
    starts = solve_from_random_starts(
        request.tile, request.goal, 10**6, request.seed, first=request.first, stride=request.stride
    )
    for start in starts:
        found = floats = None
        if start.solved:
            solved += 1
            exact = discretise(start.algorithm, tries=_TRIES, seed=request.seed, most_solves=_SOLVES)
            if exact is None:
                floats = _from(start.algorithm, "random-start", request)
            else:
                found = _from(exact, "random-start", request)
        yield Step(start.number, f"{solved} solved in floats", found, floats)


#: Name -> (one line, the search); each yields for ever or until the goal is met.
METHODS: dict[str, tuple[str, Callable[[_Request], Iterator[Step]]]] = {
    "flips": (
        "random walks in the flip graph over {-1, 0, 1}, from all that is known of the format",
        _flips,
    ),
    "flips-modulo-2": ("such walks over GF(2), many times shorter, then Hensel lifting", _flips_modulo_2),
    "cyclic-flips-modulo-2": (
        "for <n,n,n>: walks over GF(2) among what rotating the three sides leaves as it is, then lifting",
        _cyclic_flips,
    ),
    "cyclic-flips-gpu": (
        "the same on a CUDA GPU, tens of thousands of walks at a time",
        partial(_cyclic_flips, on_gpu=True),
    ),
    "least-squares": (
        "Levenberg-Marquardt from random starts, then rounded to integers or rationals",
        _least_squares,
    ),
}


def named_from(algorithm: BilinearAlgorithm, family: str, seed: int) -> BilinearAlgorithm:
    """With its name and where it comes from."""
    origin = replace(algorithm.provenance, family=family, seed=seed, version=__version__)
    return algorithm.renamed(f"{algorithm.tile.slug}-r{algorithm.rank}", origin)


def _from(algorithm: BilinearAlgorithm, family: str, request: _Request) -> BilinearAlgorithm:
    return named_from(algorithm, family, request.seed)


def search(
    tile: TileFormat | str,
    rank: int | None = None,
    *,
    method: str = "flips",
    budget: float = 60.0,
    seed: int = 0,
    start: BilinearAlgorithm | str = "package",
    first: int = 0,
    jobs: int = 1,
) -> Iterator[Step]:
    """Search for an exact algorithm of a format; yields after every walk or start, ends at rank or budget.

    Everything that can be wrong is looked at before the first step. What is yielded in `Step.found` is exact
    (the last one of the lowest rank); nothing is written.

    Args:
        tile: the format; vectors of at most 31 entries.
        rank: stop here. Default: one below the best that the package has.
        method: one of `METHODS`.
        budget: seconds after which no further walk or start begins.
        seed: of the search; the same seed gives the same steps, as far as time allows.
        start: what walks begin with: "package", all that is known; "definition", nothing that the package has
            (which then is not returned either); "larger", all but what it has of this format; or an exact
            algorithm of the format.
        first: number of the first walk or start, for a search that was stopped; on a GPU descents begin anew.
        jobs: processes; call it from a file whose own code stands under `if __name__ == "__main__":`.

    Raises:
        InvalidInput: an argument is out of range.
        TooLarge: one start of the method would take minutes.
    """
    tile = as_tile(tile)
    goal = rank_to_reach(tile, rank)
    if method not in METHODS:
        raise InvalidInput("method", expected=f"one of {', '.join(METHODS)}", got=repr(method))
    for name, value, least in (("seed", seed, 0), ("first", first, 0), ("jobs", jobs, 1)):
        if value < least:
            raise InvalidInput(name, expected=f"a number of at least {least}", got=value)
    named = start in ("package", "definition", "larger")
    if not named and not (
        isinstance(start, BilinearAlgorithm) and start.tile == tile and verify(start).exact
    ):
        raise InvalidInput(
            "start",
            expected=f'"package", "definition", "larger" or an exact algorithm for {tile}',
            got=repr(start),
        )
    request = _Request(tile, goal, seed, start, first)
    known = exact_algorithm(tile)
    if start == "package" and method != "least-squares" and known.rank <= goal:
        # The package has it already; a walk would only repeat it.
        return iter([Step(first, "in the package", _from(known, known.provenance.family, request))])
    deadline = time.monotonic() + budget
    # Also the checks of a method come before the first step, and before any process starts.
    steps = METHODS[method][1](request)
    if jobs > 1:
        steps = _falling(in_parallel(jobs, partial(_share, method, request)))
    return until(steps, goal, deadline)


def rank_to_reach(tile: TileFormat, rank: int | None = None) -> int:
    """The rank at which a search ends: `rank`, or one below the best that the package has.

    Raises:
        InvalidInput: the tile is too large for a search, or it has no such rank.
    """
    if max(tile.x_size, tile.w_size, tile.y_size) > LARGEST_TILE:
        raise InvalidInput("tile", expected=f"n*k, k*m and n*m of at most {LARGEST_TILE}", got=str(tile))
    goal = rank_of_exact(tile) - 1 if rank is None else rank
    if not 1 <= goal <= tile.products:
        raise InvalidInput("rank", expected=f"from 1 to {tile.products} for {tile}", got=goal)
    return goal


def _share(method: str, request: _Request, first: int, stride: int) -> Iterator[Step]:
    """One process's part of a search."""
    return METHODS[method][1](replace(request, first=request.first + first, stride=stride))


def _falling(steps: Iterator[Step]) -> Iterator[Step]:
    """Of what several processes find only what is lower than all before."""
    least: float = math.inf
    for step in steps:
        rank = math.inf if step.found is None else step.found.rank
        yield step if rank < least else replace(step, found=None)
        least = min(least, rank)


def until(steps: Iterator[Step], goal: int, deadline: float) -> Iterator[Step]:
    """The steps up to one that finds the goal, or that ends after the deadline."""
    for step in steps:
        yield step
        if (step.found is not None and step.found.rank <= goal) or time.monotonic() > deadline:
            return
