"""Search for an exact algorithm with a given symmetry, from Gaussian starts: what `find --symmetry` runs.

A start draws orbit types whose sizes add up to the rank and Gaussian representatives, and Levenberg-Marquardt
runs inside the invariant space. A solution is made rational in bases in which the group is, or in frames of
its own lines (`exact.frames`), or by pinning (`exact.discretise`) where it is small. What does not belong
here: which symmetry (`named`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stl_algebra.algorithms.balance import Gauge, inverse_gauge
from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.discretise import SOLVED, discretise
from stl_algebra.exact.frames import rational_by_frames
from stl_algebra.exact.parallel import in_parallel
from stl_algebra.exact.search import LARGEST_ORDER, Step, named_from, rank_to_reach, until
from stl_algebra.families.orbits.generated import GeneratedSymmetry
from stl_algebra.families.orbits.invariant import algorithms_of, refine_invariant
from stl_algebra.families.orbits.multisets import count_multisets, draw_early
from stl_algebra.families.orbits.named import symmetry_of
from stl_algebra.families.orbits.orbit_types import OrbitType, orbit_types
from stl_algebra.families.orbits.symmetry import Symmetry

#: Stages (pull, iterations) before the last, and those of the last, for starts that came near.
_PULLS = ((1e-2, 60), (1e-3, 60))
_FINISH = 120
#: Squared residual after the pulls, relative to the tensor's, from which no start is known to recover.
_HOPELESS = 0.05
_TOGETHER = 2
_SOLVES = 400


@dataclass(frozen=True)
class _Request:
    symmetry: Symmetry | GeneratedSymmetry
    rank: int
    sizes: tuple[int, ...]
    seed: int
    first: int = 0
    stride: int = 1


def search_with_symmetry(
    tile: TileFormat | str,
    rank: int | None,
    symmetry: Symmetry | GeneratedSymmetry | str,
    *,
    orbit_sizes: Sequence[int] = (),
    budget: float = 60.0,
    seed: int = 0,
    first: int = 0,
    jobs: int = 1,
) -> Iterator[Step]:
    """Search for an exact algorithm whose products a group permutes; yields after every start, ends when
    found.

    Nothing that the package has is used. A start is two sets of Gaussian representatives of one draw of
    orbits.

    Args:
        tile: the format, which must be the symmetry's.
        rank: products. Default: that of a named symmetry, else one below the best that the package has.
        symmetry: a value, or a text that `symmetry_of` reads.
        orbit_sizes: sizes of the orbits, adding up to the rank. Default: those of a named symmetry at its
            own rank, else drawn for every start, large orbits more often.
        budget: seconds after which no further start begins.
        seed: of the search; the same seed gives the same starts.
        first: number of the first start; a search that was stopped goes on where it was.
        jobs: processes, as of `exact.search`.

    Raises:
        InvalidInput: an argument is out of range, or no orbits of the symmetry have the rank or the sizes.
        TooLarge: the symmetry has too many elements.
    """
    tile = as_tile(tile)
    sizes = tuple(int(s) for s in orbit_sizes)
    if isinstance(symmetry, str):
        symmetry, known = symmetry_of(symmetry)
        if known is not None and rank in (None, known.rank):
            rank, sizes = known.rank, sizes or known.orbit_sizes
    if symmetry.tile != tile:
        raise InvalidInput("symmetry", expected=f"one of {tile}", got=f"one of {symmetry.tile}")
    goal = rank_to_reach(tile, rank)
    for name, value, least in (("seed", seed, 0), ("first", first, 0), ("jobs", jobs, 1)):
        if value < least:
            raise InvalidInput(name, expected=f"a number of at least {least}", got=value)
    if sizes and sum(sizes) != goal:
        raise InvalidInput(
            "orbit_sizes", expected=f"sizes that add up to {goal}", got="+".join(map(str, sizes))
        )
    there = [o.size for o in orbit_types(symmetry)]
    if not set(sizes) <= set(there) or not count_multisets(there, goal):
        raise InvalidInput(
            "orbit_sizes" if sizes else "rank",
            expected=f"orbits of sizes {', '.join(map(str, sorted(set(there), reverse=True)))}",
            got="+".join(map(str, sizes)) or goal,
        )
    request = _Request(symmetry, goal, sizes, seed, first)
    deadline = time.monotonic() + budget
    steps = in_parallel(jobs, partial(_share, request)) if jobs > 1 else _starts(request)
    return until(steps, goal, deadline)


def _share(request: _Request, first: int, stride: int) -> Iterator[Step]:
    """One process's part of a search."""
    return _starts(replace(request, first=request.first + first, stride=stride))


def _starts(request: _Request) -> Iterator[Step]:
    types = orbit_types(request.symmetry)
    solved = 0
    for number in itertools.count(request.first, request.stride):
        rng = np.random.default_rng([request.seed, number])
        chosen = _drawn(types, request, rng)
        floats = _solve(request.symmetry, chosen, int(rng.integers(2**31)))
        found = None
        if floats is not None:
            solved += 1
            origin = replace(floats.provenance, parameters={**floats.provenance.parameters, "start": number})
            floats = named_from(floats.renamed("", origin), "orbits", request.seed)
            exact = _rational(floats, request)
            found = None if exact is None else named_from(exact, "orbits", request.seed)
        sizes = "+".join(str(o.size) for o in chosen)
        yield Step(number, f"orbits {sizes}, {solved} solved in floats", found, None if found else floats)


def _drawn(types: Sequence[OrbitType], request: _Request, rng: np.random.Generator) -> list[OrbitType]:
    """One orbit type of each size asked for, or a multiset of types; those with most freedom more often."""
    if request.sizes:
        by_size = [[o for o in types if o.size == size] for size in request.sizes]
        # Log-uniform: types come with most free parameters first.
        return [same[int(len(same) ** rng.random()) - 1] for same in by_size]
    drawn = draw_early([o.size for o in types], request.rank, rng)
    assert drawn is not None
    return [types[i] for i in drawn]


def _solve(
    symmetry: Symmetry | GeneratedSymmetry, chosen: list[OrbitType], seed: int
) -> BilinearAlgorithm | None:
    """An algorithm with these orbits that is exact in floats, or None."""
    fit = refine_invariant(symmetry, chosen, starts=_TOGETHER, seed=seed, schedule=_PULLS)
    scale = float(symmetry.tile.products)
    near = [i for i, loss in enumerate(fit.loss.tolist()) if loss < _HOPELESS * scale]
    if not near:
        return None
    factors = [f[near] for f in fit.factors]
    fit = refine_invariant(symmetry, chosen, schedule=((0.0, _FINISH),), factors=factors)
    best = algorithms_of(fit, symmetry, chosen)[0]
    return best if nmse(best) < SOLVED else None


def _rational(floats: BilinearAlgorithm, request: _Request) -> BilinearAlgorithm | None:
    symmetry, tile = request.symmetry, floats.tile
    bases: list[Gauge] = []
    if isinstance(symmetry, GeneratedSymmetry):
        bases.append(inverse_gauge(symmetry.bases))
    found = rational_by_frames(floats, *bases)
    if found is None and floats.rank * (tile.x_size + tile.w_size + tile.y_size) <= LARGEST_ORDER:
        found = discretise(floats, tries=1, seed=request.seed, most_solves=_SOLVES)
    return found
