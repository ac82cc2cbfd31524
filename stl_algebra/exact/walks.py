"""Search for exact algorithms of one format by walks over the integers: their starts, how they are tuned.

Starts come from what is there already: the best algorithm of the format, the definition, direct sums and
Kronecker products of smaller formats, restrictions of larger ones. What does not belong here: the walk itself
(`flip_graph`), searches modulo 2 (`parity_walks`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import restrict
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.exact.compositions import longer, products, splits
from stl_algebra.exact.flip_graph import LARGEST_VECTOR, walk

#: Steps without success after which a walk adds a product; one of these per walk.
_PATIENCE = (3_000, 10_000, 30_000, 100_000)
_SLACK = (1, 2, 3)
#: How far above the lowest rank a start may be and still be taken often.
_NEAR = 6

Table = Callable[[TileFormat], BilinearAlgorithm]


@dataclass(frozen=True)
class Attempt:
    """One walk of a search.

    Attributes:
        number: of the walk within the search.
        start_rank: where it began.
        rank: the lowest rank that it met.
        best: the best algorithm of the search so far.
        steps: flips that were tried.
    """

    number: int
    start_rank: int
    rank: int
    best: BilinearAlgorithm
    steps: int


def possible_starts(tile: TileFormat, best: BilinearAlgorithm, table: Table) -> list[BilinearAlgorithm]:
    """Algorithms of the format with entries in {-1, 0, 1}, which a walk can start from, `best` first."""
    found = [best, definition(tile), *compositions(tile, table)]
    for axis in "nkm":
        larger = longer(tile, axis)
        if max(larger.x_size, larger.w_size, larger.y_size) <= LARGEST_VECTOR:
            found.append(restrict(table(larger), tile))
    return [a for a in found if _can_walk(a)]


def compositions(tile: TileFormat, table: Table) -> list[BilinearAlgorithm]:
    """The direct sums and Kronecker products of smaller formats that make the format."""
    return [way.apply(*map(table, way.parts)) for way in (*splits(tile), *products(tile))]


def _can_walk(algorithm: BilinearAlgorithm) -> bool:
    return all(np.isin(f, (-1.0, 0.0, 1.0)).all() for f in algorithm.factors)


def search_format(
    tile: TileFormat,
    *,
    target_rank: int = 0,
    walks: int | None = None,
    steps: int = 30_000_000,
    seed: int = 0,
    table: Table = exact_algorithm,
    numbers: Iterable[int] | None = None,
) -> Iterator[Attempt]:
    """Walk after walk, each from a start drawn at random; yields after each one.

    Ends when the target is met or the walks are spent. The same arguments give the same attempts. A walk
    of 30 million steps takes some seconds.

    Args:
        tile: the format; vectors of at most 31 entries.
        target_rank: stop at this rank.
        walks: at most so many; None for no limit.
        steps: flips per walk.
        seed: of the search.
        table: the best algorithm known so far of any format.
        numbers: of the walks, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the format is too large or a number is out of range.
    """
    if max(tile.x_size, tile.w_size, tile.y_size) > LARGEST_VECTOR:
        raise InvalidInput("tile", expected=f"n*k, k*m and n*m of at most {LARGEST_VECTOR}", got=str(tile))
    if walks is not None and walks < 1:
        raise InvalidInput("walks", expected="at least 1, or None", got=walks)
    best = table(tile)
    if not _can_walk(best):
        # With halves among its entries it is no start; the best of the others is.
        best = min(possible_starts(tile, definition(tile), table), key=lambda start: start.rank)
    starts = possible_starts(tile, best, table)
    for count, number in enumerate(itertools.count() if numbers is None else numbers):
        if best.rank <= target_rank or (walks is not None and count >= walks):
            return
        rng = np.random.default_rng([seed, number])
        starts[0] = best
        near = [a for a in starts if a.rank <= best.rank + _NEAR]
        # Mostly from what is nearly as good; now and then from afar, for another part of the graph.
        pool = near if rng.random() < 0.8 else starts
        start = best if rng.random() < 0.3 else pool[rng.integers(len(pool))]
        outcome = walk(
            start,
            target_rank=target_rank,
            steps=steps,
            plus_after=int(rng.choice(_PATIENCE)),
            slack=int(rng.choice(_SLACK)),
            seed=int(rng.integers(2**31)),
        )
        found = outcome.algorithm
        # An equal rank is taken too: the next walk then begins elsewhere.
        if found.rank <= best.rank:
            best = found
        yield Attempt(number, start.rank, found.rank, best, outcome.steps)
