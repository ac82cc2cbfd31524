"""Searches modulo 2 by descents: each begins anew and walks on for as long as its rank falls now and then.

A walk is long and hardly ever goes back to its best: it adds a product where it is, goes down again
elsewhere, and so drifts through all that has about the lowest rank it has met (Moosbauer and Poole, "Flip
graphs with symmetry and new matrix multiplication schemes", 2025, whose numbers of steps these are). Walks
that return to their best, or are shorter, stay where they are: of some 220 descents to <5,5,5>, of seven
seconds each, three ended at 93, which 4e11 draws of walks that ended at every reduction did not meet.

What does not belong here: what walks (`flip_graph`, `cyclic_graph`), where descents begin (`parity_walks`,
`cyclic_walks`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Generic, Protocol, TypeVar

import numpy as np

#: How many products (or orbits) above its best a walk may go; so many that it hardly ever goes back.
SLACK = 8


class Ranked(Protocol):
    """What descents go through."""

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
class Descent(Generic[T]):
    """One descent of a search.

    Attributes:
        number: of the descent.
        outcome: what it ended with.
        lowest: the lowest rank of the search so far.
    """

    number: int
    outcome: T
    lowest: int


def search_by_descents(
    starts: Sequence[Callable[[np.random.Generator], T]],
    walk: Walk[T],
    *,
    target_rank: int,
    steps: int,
    plus_after: Sequence[int],
    seed: int,
    numbers: Iterable[int] | None = None,
) -> Iterator[Descent[T]]:
    """Descent after descent; goes on for ever.

    Not only to the target: what is found there modulo 2 may not lift. A descent depends on the seed and on
    its number alone.

    Args:
        starts: kinds of starts, of which one is drawn for each descent.
        walk: walks from an algorithm.
        target_rank: nothing lower is looked for.
        steps: flips without a lower rank after which a descent with the largest `plus_after` ends, in
            proportion fewer for others.
        plus_after: flips without a reduction after which a product or an orbit is added, one of these for
            each descent.
        seed: of the search.
        numbers: of the descents; 0, 1, ... when None.
    """
    lowest: int | None = None
    for number in count() if numbers is None else numbers:
        rng = np.random.default_rng([seed, number])
        reached = starts[int(rng.integers(len(starts)))](rng)
        patience = plus_after[int(rng.integers(len(plus_after)))]
        rank = reached.rank + 1
        while target_rank < reached.rank < rank:
            rank = reached.rank
            reached = walk(
                reached,
                target_rank=max(rank - 1, target_rank),
                steps=steps * patience // max(plus_after),
                plus_after=patience,
                slack=SLACK,
                seed=int(rng.integers(2**31)),
            )
        lowest = reached.rank if lowest is None else min(lowest, reached.rank)
        yield Descent(number, reached, lowest)
