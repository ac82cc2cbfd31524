"""Search for algorithms of one format modulo 2 by walks: what they start from.

Starts come from what is there: restrictions of the next larger formats, each time in other bases, and so
always others; direct sums and Kronecker products of smaller formats; the best algorithm of the format. What
does not belong here: the walk itself (`flip_graph`), where a walk begins (`pools`), lifting (`hensel`).
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
from stl_algebra.exact.compositions import longer
from stl_algebra.exact.flip_graph import LARGEST_VECTOR, walk
from stl_algebra.exact.pools import PoolAttempt, Pools, search_pools
from stl_algebra.exact.walks import Table, compositions

#: Bases that are drawn for a restriction; the one that leaves fewest products is taken.
_DRAWS = 16
#: Algorithms of a rank before most walks begin there: restrictions go down by the same way in many bases.
_RIPE = 10
#: How far above the lowest of them a start may be and still be taken.
_NEAR = 6


def search_modulo_2(
    tile: TileFormat,
    *,
    table: Table,
    target_rank: int = 0,
    steps: int = 4_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[PoolAttempt[BilinearAlgorithm]]:
    """Walk after walk over GF(2), each until its rank falls; for ever, see `pools.search_pools`.

    What is found has entries 0 and 1 and is exact modulo 2 (`hensel` lifts it).

    Args:
        tile: the format; vectors of at most 31 entries.
        table: the best algorithm known so far of any format.
        target_rank: nothing lower is looked for.
        steps: flips per walk.
        seed: of the search.
        numbers: of the walks, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the format is too large.
    """
    if max(tile.x_size, tile.w_size, tile.y_size) > LARGEST_VECTOR:
        raise InvalidInput("tile", expected=f"n*k, k*m and n*m of at most {LARGEST_VECTOR}", got=str(tile))
    own, larger = _known(tile, table)
    # Pools of their own: what begins low, and leads no lower, would crowd out the others.
    starts = [partial(_own, own), *(partial(_restriction, tile, a) for a in larger)]
    kinds = [Pools(start, ripe=_RIPE) for start in starts]
    return search_pools(kinds, _walked, target_rank, steps, seed, numbers)


def _known(tile: TileFormat, table: Table) -> tuple[list[BilinearAlgorithm], list[BilinearAlgorithm]]:
    """Algorithms of the format, and of the next larger ones; modulo 2, those with integer entries."""
    formats = [longer(tile, axis) for axis in "nkm"]
    larger = [table(f) for f in formats if max(f.x_size, f.w_size, f.y_size) <= LARGEST_VECTOR]
    own = [table(tile), definition(tile), *compositions(tile, table)]
    integers = [
        [a for a in some if all(np.array_equal(f, np.rint(f)) for f in a.factors)] for some in (own, larger)
    ]
    return integers[0], integers[1]


def _own(known: list[BilinearAlgorithm], rng: np.random.Generator) -> tuple[BilinearAlgorithm, int]:
    """One of the best, and one product less, where the first walk from it ends."""
    least = min(a.rank for a in known)
    near = [a for a in known if a.rank <= least + _NEAR]
    start = near[int(rng.integers(len(near)))]
    return start, start.rank - 1


def _restriction(
    tile: TileFormat, larger: BilinearAlgorithm, rng: np.random.Generator
) -> tuple[BilinearAlgorithm, int]:
    """A restriction in other bases each time, and one product less."""
    sides = (larger.tile.n, larger.tile.k, larger.tile.m)
    drawn = []
    for _ in range(_DRAWS):
        bases = [_change_of_basis(side, rng) for side in sides]
        drawn.append(restrict(_parities(sandwich(larger, *bases)), tile))
    start = min(drawn, key=lambda a: a.rank)
    return start, start.rank - 1


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
