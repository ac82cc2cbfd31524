"""Known exact algorithms, written out, and the cheapest way to compose them for a format.

Facts with their sources; every one is verified in exact arithmetic by the tests. Algorithms that a search
found are stored as encoders files, not here.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from stl_algebra.bilinear import BilinearAlgorithm, Provenance, TileFormat
from stl_algebra.matmul_tensor import definition, direct_sum, kronecker, permute_format


def strassen() -> BilinearAlgorithm:
    """Strassen's 7 products for <2,2,2> (V. Strassen, Gaussian elimination is not optimal, 1969)."""
    # Columns: entries 11, 12, 21, 22.
    x = [[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0], [-1, 0, 1, 0], [0, 1, 0, -1]]
    w = [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    d = [[1, 0, 0, 1, -1, 0, 1], [0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 0], [1, -1, 1, 0, 0, 1, 0]]
    return BilinearAlgorithm("2", x, w, d, "strassen", Provenance(family="known"))


def winograd() -> BilinearAlgorithm:
    """Winograd's variant of Strassen's algorithm: 7 products, 15 additions when sums are shared (1971)."""
    x = [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, -1, -1], [0, 0, 0, 1], [0, 0, 1, 1], [-1, 0, 1, 1], [1, 0, -1, 0]]
    w = [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [1, -1, -1, 1],
        [-1, 1, 0, 0],
        [1, -1, 0, 1],
        [0, -1, 0, 1],
    ]
    d = [[1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1, 0], [1, 0, 0, -1, 0, 1, 1], [1, 0, 0, 0, 1, 1, 1]]
    return BilinearAlgorithm("2", x, w, d, "winograd", Provenance(family="known"))


#: Constructors of the algorithms written out above, by name.
NAMED = {"strassen": strassen, "winograd": winograd}

Plan = tuple[int, str, tuple[TileFormat, ...]]


def _seeds() -> dict[TileFormat, BilinearAlgorithm]:
    return {TileFormat(2, 2, 2): strassen()}


@lru_cache(maxsize=4096)
def _plan(tile: TileFormat) -> Plan:
    """(rank, how, parts) of the cheapest composition of the seeds; parts are smaller formats."""
    best: Plan = (tile.products, "definition", ())
    for seed_tile, algorithm in _seeds().items():
        if sorted((seed_tile.n, seed_tile.k, seed_tile.m)) == sorted((tile.n, tile.k, tile.m)):
            best = min(best, (algorithm.rank, "seed", (seed_tile,)), key=lambda p: p[0])
    sides = {"n": tile.n, "k": tile.k, "m": tile.m}
    for axis, side in sides.items():
        for first in range(1, side // 2 + 1):
            parts = tuple(TileFormat(**{**sides, axis: size}) for size in (side - first, first))
            rank = _plan(parts[0])[0] + _plan(parts[1])[0]
            if rank < best[0]:
                best = (rank, f"sum-{axis}", parts)
    divisors = [[d for d in range(1, s + 1) if s % d == 0] for s in sides.values()]
    for outer_sides in product(*divisors):
        outer = TileFormat(*outer_sides)
        inner = TileFormat(tile.n // outer.n, tile.k // outer.k, tile.m // outer.m)
        if 1 < outer.products < tile.products:
            rank = _plan(outer)[0] * _plan(inner)[0]
            if rank < best[0]:
                best = (rank, "kronecker", (outer, inner))
    return best


@lru_cache(maxsize=256)
def exact_algorithm(tile: TileFormat) -> BilinearAlgorithm:
    """The exact algorithm of least rank that the seeds give by permutation, sums and Kronecker products.

    A dynamic programme over formats; its rank is `rank_of_exact(tile)`. Not claimed to be the best known.
    """
    _, how, parts = _plan(tile)
    if how == "definition":
        return definition(tile)
    if how == "seed":
        return permute_format(_seeds()[parts[0]], tile)
    first, second = (exact_algorithm(part) for part in parts)
    if how == "kronecker":
        return kronecker(first, second)
    return direct_sum(first, second, how.removeprefix("sum-"))


def rank_of_exact(tile: TileFormat) -> int:
    """Rank of `exact_algorithm(tile)`, without building it."""
    return _plan(tile)[0]
