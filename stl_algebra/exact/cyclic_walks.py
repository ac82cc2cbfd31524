"""Search for algorithms of <n,n,n> modulo 2 by walks that keep a rotation of the three sides.

A walk that is let run until it is stuck is stuck in a small corner of the graph, so a search goes down a rank
at a time: of every rank it keeps a pool, each walk begins at a member and ends at the first reduction, and
the next pool is filled before most of the work goes there. What does not belong here: the walk itself
(`cyclic_graph`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.exact.cyclic_graph import LARGEST_VECTOR, Invariant, walk

#: Steps without a reduction after which an orbit is added, and how many orbits above its start a walk may
#: go; one of each per walk. Of <5,5,5;97> a walk with (100 to 1,000; 2 to 4) meets ten times as many as one
#: with 10,000 steps.
_PATIENCE = (300, 1_000, 5_000)
_SLACK = (1, 2, 3)
#: Algorithms of a rank before most walks begin there, which is also how many are kept.
_POOL = 60
#: Numbers of fixed products, one of each remainder modulo 3: flips change the rank by threes.
_FIXED = (1, 2, 3)
#: Share of the n^3 products at which the first pool is filled, and steps that a walk down to it may take, in
#: those of a later one.
_TOP, _FIRST = 0.9, 5


@dataclass(frozen=True, eq=False)
class CyclicAttempt:
    """One walk of a search: its number, and the best of the search so far."""

    number: int
    best: Invariant


@dataclass(eq=False)
class _Lane:
    """The pools of what began with so many fixed products, by rank."""

    side: int
    fixed: int
    pools: dict[int, list[Invariant]] = field(default_factory=dict)

    def attempt(self, target_rank: int, steps: int, rng: np.random.Generator) -> Invariant:
        """One walk; its outcome is put into its pool."""
        rank = self._rank(rng)
        if rank is None:
            start = Invariant.with_fixed(self.side, self._vectors(rng))
            goal = max(target_rank, int(_TOP * self.side**3))
        else:
            pool = self.pools[rank]
            place = int(rng.integers(len(pool)))
            start, goal = pool[place], max(target_rank, rank - 1)
        outcome = walk(
            start,
            target_rank=goal,
            steps=steps * (_FIRST if rank is None else 1),
            plus_after=int(rng.choice(_PATIENCE)),
            slack=int(rng.choice(_SLACK)),
            seed=int(rng.integers(2**31)),
        )
        if outcome.rank == rank:
            # The next walk from here begins elsewhere.
            pool[place] = outcome
            return outcome
        into = self.pools.setdefault(outcome.rank, [])
        if len(into) < _POOL:
            into.append(outcome)
        else:
            into[rng.integers(_POOL)] = outcome
        return outcome

    def _rank(self, rng: np.random.Generator) -> int | None:
        """Where a walk begins; None for the beginning."""
        full = sorted(rank for rank, pool in self.pools.items() if len(pool) == _POOL)
        if not full:
            return None
        lowest, draw = min(self.pools), rng.random()
        if draw < 0.6:
            return full[0]
        if draw < 0.8:
            return lowest
        # New blood for every pool.
        return [*full, None][rng.integers(len(full) + 1)]

    def _vectors(self, rng: np.random.Generator) -> list[int]:
        """Diagonal masks, as many as there are fixed products, that add up to the identity."""
        places = 1 << (np.arange(self.side) * (self.side + 1))
        while True:
            chosen = rng.integers(2, size=(self.fixed, self.side))
            chosen[-1] = (1 + chosen[:-1].sum(axis=0)) % 2
            vectors = [int(v) for v in chosen @ places]
            if all(vectors) and len(set(vectors)) == self.fixed:
                return vectors


def search_invariant(
    side: int,
    *,
    target_rank: int = 0,
    steps: int = 4_000_000,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
) -> Iterator[CyclicAttempt]:
    """Walk after walk, each until its rank falls; yields after each one, ends at the target.

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
    best = Invariant.definition(side)
    # For n = 2 no three different vectors on the diagonal add up to the identity.
    lanes = [_Lane(side, fixed) for fixed in _FIXED if fixed < 2**side - 1]
    for number in count() if numbers is None else numbers:
        if best.rank <= target_rank:
            return
        rng = np.random.default_rng([seed, number])
        outcome = lanes[rng.integers(len(lanes))].attempt(target_rank, steps, rng)
        if outcome.rank < best.rank:
            best = outcome
        yield CyclicAttempt(number, best)
