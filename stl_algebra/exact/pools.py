"""Pools of algorithms by rank, from which a search modulo 2 goes down a rank at a time.

A walk that is let run until it is stuck is stuck in a small corner of the flip graph. So a search keeps many
algorithms of every rank; each walk begins at one of them and ends at its first reduction, and a pool is
filled before most of the work goes to it. What does not belong here: what walks (`parity_walks`,
`cyclic_walks`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np

#: Steps without a reduction after which a product or an orbit is added, and how many above its start a walk
#: may go; one of each per walk. Of <5,5,5;97> a walk with 100 to 1,000 steps and 2 to 4 orbits meets ten
#: times as many algorithms as one with 10,000 steps.
_PATIENCE = (300, 1_000, 5_000, 20_000)
_SLACK = (1, 2, 3)
#: Steps that a walk from a new start may take, in those of a later one.
_FIRST = 5


class Ranked(Protocol):
    """What is kept in a pool."""

    @property
    def rank(self) -> int:
        """Products."""


T = TypeVar("T", bound=Ranked)


class Walk(Protocol[T]):
    """Walks from an algorithm; the arguments are those of `flip_graph.walk`."""

    def __call__(
        self, start: T, /, *, target_rank: int, steps: int, plus_after: int, slack: int, seed: int
    ) -> T:
        """What the walk ends with."""


@dataclass(frozen=True, eq=False)
class PoolAttempt(Generic[T]):
    """One walk of a search.

    Attributes:
        number: of the walk.
        outcome: what it ended with.
        lowest: the lowest rank of the search so far.
    """

    number: int
    outcome: T
    lowest: int


@dataclass(frozen=True, eq=False)
class Draw(Generic[T]):
    """Where a walk begins and how it goes.

    Attributes:
        start: where it begins.
        goal: the rank at which it ends.
        later: whether it is not the first from a new start.
        plus_after, slack, seed: as `flip_graph.walk` takes them.
        place: of the start in the pool of its rank.
    """

    start: T
    goal: int
    later: bool
    plus_after: int
    slack: int
    seed: int
    place: int


@dataclass(eq=False)
class Pools(Generic[T]):
    """The pools of one kind of starts.

    Attributes:
        fresh: makes a new start, and says down to which rank the first walk from it goes.
        size: algorithms of a rank that are kept.
        ripe: algorithms of a rank before most walks begin there.
    """

    fresh: Callable[[np.random.Generator], tuple[T, int]]
    size: int = 60
    ripe: int = 60
    _pools: dict[int, list[T]] = field(default_factory=dict)

    def draw(self, target_rank: int, rng: np.random.Generator) -> Draw[T]:
        """The next walk; nothing below `target_rank` is looked for."""
        rank = self._rank(rng)
        pool = [] if rank is None else self._pools[rank]
        place = int(rng.integers(len(pool))) if pool else 0
        start, goal = (pool[place], pool[place].rank - 1) if pool else self.fresh(rng)
        return Draw(
            start,
            max(goal, target_rank),
            bool(pool),
            _PATIENCE[int(rng.integers(len(_PATIENCE)))],
            _SLACK[int(rng.integers(len(_SLACK)))],
            int(rng.integers(2**31)),
            place,
        )

    def keep(self, drawn: Draw[T], outcome: T, rng: np.random.Generator) -> None:
        """Put what a walk ended with into its pool."""
        into = self._pools.setdefault(outcome.rank, [])
        if drawn.later and outcome.rank == drawn.start.rank:
            # The next walk from here begins elsewhere.
            into[drawn.place] = outcome
        elif len(into) < self.size:
            into.append(outcome)
        else:
            into[int(rng.integers(self.size))] = outcome

    def _rank(self, rng: np.random.Generator) -> int | None:
        """Where a walk begins; None for a new start."""
        ripe = sorted(rank for rank, pool in self._pools.items() if len(pool) >= self.ripe)
        if not ripe:
            return None
        draw = rng.random()
        if draw < 0.6:
            return ripe[0]
        if draw < 0.8:
            return min(self._pools)
        # New blood for every pool.
        return [*ripe, None][int(rng.integers(len(ripe) + 1))]


def search_pools(
    pools: Sequence[Pools[T]],
    walk: Walk[T],
    target_rank: int,
    steps: int,
    seed: int,
    numbers: Iterable[int] | None = None,
) -> Iterator[PoolAttempt[T]]:
    """Walk after walk, each in one of the sets of pools; goes on for ever.

    Not at the target either: what is found there modulo 2 may not lift.

    Args:
        pools: of different kinds of starts; they are filled.
        walk: walks from an algorithm.
        target_rank: nothing lower is looked for.
        steps: flips per walk.
        seed: of the search.
        numbers: of the walks, which seed them; 0, 1, ... when None.
    """
    lowest: int | None = None
    for number in count() if numbers is None else numbers:
        rng = np.random.default_rng([seed, number])
        kind = pools[int(rng.integers(len(pools)))]
        drawn = kind.draw(target_rank, rng)
        outcome = walk(
            drawn.start,
            target_rank=drawn.goal,
            steps=steps if drawn.later else steps * _FIRST,
            plus_after=drawn.plus_after,
            slack=drawn.slack,
            seed=drawn.seed,
        )
        kind.keep(drawn, outcome, rng)
        lowest = outcome.rank if lowest is None else min(lowest, outcome.rank)
        yield PoolAttempt(number, outcome, lowest)
