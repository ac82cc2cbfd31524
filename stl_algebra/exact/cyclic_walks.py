"""Search for algorithms of <n,n,n> modulo 2 by walks that keep a rotation of the three sides.

What does not belong here: the walks themselves (`cyclic_graph`, `cuda_walks`), where they begin (`pools`),
lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import count

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.cyclic_graph import LARGEST_VECTOR, Invariant, walk
from stl_algebra.exact.pools import PoolAttempt, Pools, search_pools

#: Numbers of fixed products, one of each remainder modulo 3: flips change the rank by threes.
_FIXED = (1, 2, 3)
#: Share of the n^3 products down to which the first walk from a new start goes.
_TOP = 0.9
#: Walks of a batch on a GPU: 384 for each multiprocessor of an H100, whose first caches they fill. As many on
#: any GPU, so that a search finds the same.
_MANY = 50_688
#: Of the walks of a batch, how many a pool keeps, and after how many most walks begin there.
_KEPT, _RIPE = 12, 800
#: Shares of the walks of a batch that fall: below the first the next one is longer, above the other shorter.
_LONGER, _SHORTER = 0.3, 0.6
#: Of the best of a batch, how many are given.
_SHOWN = 20


def search_invariant(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 4_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[PoolAttempt[Invariant]]:
    """Walk after walk, each until its rank falls; for ever, see `pools.search_pools`.

    Args:
        side: n of <n,n,n>.
        target_rank: nothing lower is looked for.
        steps: flips per walk.
        seed: of the search.
        numbers: of the walks, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the side is below 2, or its matrices have more than 62 entries.
    """
    pools = [Pools(start) for start in _starts(side, target_rank)]
    return search_pools(pools, walk, target_rank, steps, seed, numbers)


def search_invariant_on_gpu(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 2_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[PoolAttempt[Invariant]]:
    """The same search on a CUDA GPU, many walks at once; for ever.

    A batch lasts as long as its longest walk: walks are made longer when few fall, and shorter when most do.

    Args:
        side: n of <n,n,n>.
        target_rank: nothing lower is looked for.
        steps: draws of a vector per walk, at most.
        seed: of the search.
        numbers: of the batches, which seed them; 0, 1, ... when None.

    Returns:
        Some of the lowest rank of each batch, under its number.

    Raises:
        InvalidInput: as `search_invariant`.
        Unavailable: there is no GPU that numba can use.
    """
    from stl_algebra.exact.cuda_walks import check_device

    check_device()
    starts = _starts(side, target_rank)
    kinds = [Pools(start, -(-_MANY // _KEPT), -(-_MANY // _RIPE)) for start in starts]
    return _batches(kinds, target_rank, steps, seed, numbers)


def _batches(
    kinds: list[Pools[Invariant]],
    target_rank: int,
    steps: int,
    seed: int,
    numbers: Iterable[int] | None,
) -> Iterator[PoolAttempt[Invariant]]:
    from stl_algebra.exact.cuda_walks import walk_on_gpu

    taken = steps // 16
    lowest: int | None = None
    for number in count() if numbers is None else numbers:
        rng = np.random.default_rng([seed, number])
        chosen = [kinds[kind] for kind in rng.integers(len(kinds), size=_MANY)]
        drawn = [kind.draw(target_rank, rng) for kind in chosen]
        outcomes = walk_on_gpu(drawn, taken)
        for kind, draw, outcome in zip(chosen, drawn, outcomes, strict=True):
            kind.keep(draw, outcome, rng)
        fell = sum(outcome.rank <= draw.goal for draw, outcome in zip(drawn, outcomes, strict=True)) / _MANY
        if fell < _LONGER:
            taken = min(2 * taken, steps)
        elif fell > _SHORTER:
            taken = max(taken // 2, 1)
        best = min(outcome.rank for outcome in outcomes)
        lowest = best if lowest is None else min(lowest, best)
        for outcome in [outcome for outcome in outcomes if outcome.rank == best][:_SHOWN]:
            yield PoolAttempt(number, outcome, lowest)


def _starts(side: int, target_rank: int) -> list[Callable[[np.random.Generator], tuple[Invariant, int]]]:
    """Kinds of starts, by the number of fixed products: those that lead to the target, where one is given.

    Almost all flips change the rank by threes.
    """
    if side < 2 or side * side > LARGEST_VECTOR:
        raise InvalidInput("tile", expected="<n,n,n> with n from 2 to 7", got=f"n = {side}")
    # For n = 2 no three different vectors on the diagonal add up to the identity.
    kinds = [fixed for fixed in _FIXED if fixed < 2**side - 1]
    leading = [fixed for fixed in kinds if (target_rank - fixed) % 3 == 0]
    return [partial(_fresh, side, fixed) for fixed in (leading if target_rank and leading else kinds)]


def _fresh(side: int, fixed: int, rng: np.random.Generator) -> tuple[Invariant, int]:
    """Diagonal vectors stay fixed, so many that add up to the identity."""
    places = 1 << (np.arange(side) * (side + 1))
    while True:
        chosen = rng.integers(2, size=(fixed, side))
        chosen[-1] = (1 + chosen[:-1].sum(axis=0)) % 2
        vectors = [int(v) for v in chosen @ places]
        if all(vectors) and len(set(vectors)) == fixed:
            return _with_fixed(side, *vectors), int(_TOP * side**3)


@lru_cache(maxsize=1024)
def _with_fixed(side: int, *vectors: int) -> Invariant:
    return Invariant.with_fixed(side, vectors)
