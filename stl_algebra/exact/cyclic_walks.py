"""Search for algorithms of <n,n,n> modulo 2 by walks that keep a rotation of the three sides.

What does not belong here: the walk itself (`cyclic_graph`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.cyclic_graph import LARGEST_VECTOR, Invariant, walk

#: Steps without success after which an orbit is added; one of these per walk.
_PATIENCE = (1_000, 5_000, 20_000, 100_000)
#: How many orbits above the best a walk may go.
_SLACK = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class CyclicAttempt:
    """One walk of a search: its number, and the best of the search so far."""

    number: int
    best: Invariant


def search_invariant(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 30_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[CyclicAttempt]:
    """Walk after walk, from the definition or the best so far; yields after each one, ends at the target.

    Args:
        side: n of <n,n,n>.
        target_rank: stop at this rank.
        steps: flips per walk.
        seed: of the search.
        numbers: of the walks, which seed them; 0, 1, ... when None.

    Raises:
        InvalidInput: the side is below 2, or its matrices have more than 62 entries.
    """
    if side < 2 or side * side > LARGEST_VECTOR:
        raise InvalidInput("tile", expected="<n,n,n> with n from 2 to 7", got=f"n = {side}")
    first = best = Invariant.definition(side)
    # Flips change the rank by threes: what has another remainder is another part of the graph.
    lanes = {first.rank % 3: first}
    for number in count() if numbers is None else numbers:
        if best.rank <= target_rank:
            return
        rng = np.random.default_rng([seed, number])
        places = sorted(lanes)
        chosen = lanes[places[rng.integers(len(places))]]
        outcome = walk(
            # Now and then from the beginning.
            first if rng.random() < 0.2 else chosen,
            target_rank=target_rank,
            steps=steps,
            plus_after=int(rng.choice(_PATIENCE)),
            slack=int(rng.choice(_SLACK)),
            seed=int(rng.integers(2**31)),
        )
        # An equal rank is taken too: the next walk then begins elsewhere.
        lane = outcome.rank % 3
        if lane not in lanes or outcome.rank <= lanes[lane].rank:
            lanes[lane] = outcome
        best = min(lanes.values(), key=lambda one: one.rank)
        yield CyclicAttempt(number, best)
