"""Search for algorithms of one format modulo 2 by walks: what they start from.

Starts come from what is there: restrictions of the next larger formats, each time in other bases, and so
always others; direct sums and Kronecker products of smaller formats; the best algorithm of the format. What
does not belong here: the walk itself (`flip_graph`), how a search is made of walks (`descents`), lifting
(`hensel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import restrict, sandwich
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import is_composed
from stl_algebra.exact.compositions import longer
from stl_algebra.exact.descents import Descent, search_by_descents
from stl_algebra.exact.flip_graph import LARGEST_VECTOR, walk
from stl_algebra.exact.walks import Table, compositions

#: Bases that are drawn for a restriction; the one that leaves fewest products is taken.
_DRAWS = 16
#: Flips without a reduction after which a product is added, so that each takes as much time. <3,4,5;47> was
#: met with the first only, <3,5,5;58> with the second only, <4,5,5;76> with both.
_PLUS_AFTER = 10 * (5_000,) + (50_000,)
#: How far above the lowest of them a start may be and still be taken.
_NEAR = 6


def search_modulo_2(
    tile: TileFormat,
    *,
    table: Table,
    target_rank: int = 0,
    steps: int = 20_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[Descent[BilinearAlgorithm]]:
    """Descent after descent over GF(2); for ever, see `descents.search_by_descents`.

    What is found has entries 0 and 1 and is exact modulo 2 (`hensel` lifts it).

    Args:
        tile: the format; vectors of at most 31 entries.
        table: the best algorithm known so far of any format.
        target_rank: nothing lower is looked for.
        steps: flips without a lower rank after which a descent ends, at most.
        seed: of the search.
        numbers: of the descents, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the format is too large.
    """
    if max(tile.x_size, tile.w_size, tile.y_size) > LARGEST_VECTOR:
        raise InvalidInput("tile", expected=f"n*k, k*m and n*m of at most {LARGEST_VECTOR}", got=str(tile))
    own = _integers([table(tile), definition(tile), *compositions(tile, table)])
    starts = [partial(_own, own), *(partial(_restriction, tile, larger) for larger in _larger(tile, table))]
    return search_by_descents(
        starts,
        _walked,
        target_rank=target_rank,
        steps=steps,
        plus_after=_PLUS_AFTER,
        seed=seed,
        numbers=numbers,
    )


def _larger(tile: TileFormat, table: Table) -> list[BilinearAlgorithm]:
    """Algorithms of the next larger formats; what is composed of smaller ones restricts to what is known."""
    formats = [f for f in {longer(tile, axis): None for axis in "nkm"} if not is_composed(f)]
    return _integers([table(f) for f in formats if max(f.x_size, f.w_size, f.y_size) <= LARGEST_VECTOR])


def _integers(algorithms: list[BilinearAlgorithm]) -> list[BilinearAlgorithm]:
    """Those with a meaning modulo 2."""
    return [a for a in algorithms if all(np.array_equal(f, np.rint(f)) for f in a.factors)]


def _own(known: list[BilinearAlgorithm], rng: np.random.Generator) -> BilinearAlgorithm:
    """One of the best."""
    least = min(a.rank for a in known)
    near = [a for a in known if a.rank <= least + _NEAR]
    return near[int(rng.integers(len(near)))]


def _restriction(tile: TileFormat, larger: BilinearAlgorithm, rng: np.random.Generator) -> BilinearAlgorithm:
    """A restriction in other bases each time."""
    sides = (larger.tile.n, larger.tile.k, larger.tile.m)
    drawn = []
    for _ in range(_DRAWS):
        bases = [_change_of_basis(side, rng) for side in sides]
        drawn.append(restrict(_parities(sandwich(larger, *bases)), tile))
    return min(drawn, key=lambda a: a.rank)


def _change_of_basis(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Integers with determinant 1 or -1; a permutation, or triangular matrices around one."""
    permutation = np.eye(side)[rng.permutation(side)]
    if rng.random() < 0.5:
        return permutation
    lower, upper = (np.tril(rng.integers(2, size=(side, side)), -1) + np.eye(side) for _ in range(2))
    product: NDArray[np.float64] = lower @ permutation @ upper.T
    return product


def _parities(algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
    # Inverses of integer matrices are integers up to rounding.
    x, w, y = (np.mod(np.rint(factor), 2.0) for factor in algorithm.factors)
    return algorithm.with_factors(x, w, y.T, "modulo 2")


def _walked(start: BilinearAlgorithm, **tuning: int) -> BilinearAlgorithm:
    return walk(start, modulo_2=True, **tuning).algorithm
