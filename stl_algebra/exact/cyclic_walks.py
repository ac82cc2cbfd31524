"""Search for algorithms of <n,n,n> modulo 2 by walks that keep a rotation of the three sides.

What does not belong here: the walk itself (`cyclic_graph`), where one begins (`pools`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.cyclic_graph import LARGEST_VECTOR, Invariant, walk
from stl_algebra.exact.pools import PoolAttempt, Pools, search_pools

#: Numbers of fixed products, one of each remainder modulo 3: flips change the rank by threes.
_FIXED = (1, 2, 3)
#: Share of the n^3 products down to which the first walk from a new start goes.
_TOP = 0.9


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
    if side < 2 or side * side > LARGEST_VECTOR:
        raise InvalidInput("tile", expected="<n,n,n> with n from 2 to 7", got=f"n = {side}")
    # For n = 2 no three different vectors on the diagonal add up to the identity.
    pools = [Pools(partial(_fresh, side, fixed), walk) for fixed in _FIXED if fixed < 2**side - 1]
    return search_pools(pools, target_rank, steps, seed, numbers)


def _fresh(side: int, fixed: int, rng: np.random.Generator) -> tuple[Invariant, int]:
    """Diagonal vectors stay fixed, so many that add up to the identity."""
    places = 1 << (np.arange(side) * (side + 1))
    while True:
        chosen = rng.integers(2, size=(fixed, side))
        chosen[-1] = (1 + chosen[:-1].sum(axis=0)) % 2
        vectors = [int(v) for v in chosen @ places]
        if all(vectors) and len(set(vectors)) == fixed:
            return Invariant.with_fixed(side, vectors), int(_TOP * side**3)
