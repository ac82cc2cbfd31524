"""Which groups realise <n,n,n>: a table over orders, each entry with its proof status.

Subsets of a triple give a triple, so a group that does not realise <n,n,n> realises no larger square
format: each group is asked for n = 2, 3, ... until the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.groups import NAME_TABLE, FiniteGroup, parse_group
from stl_algebra.groups.isomorphism import one_of_each_type
from stl_algebra.triples.realises import DEFAULT_NODES, Realisation, realises

#: Every group of an order below this has a name in the list; above, those of the usual families.
COMPLETE_BELOW = 32


@dataclass(frozen=True)
class CensusRow:
    """One group.

    Attributes:
        group: the group.
        answers: n -> the answer for <n,n,n>, up to the first that is not realised.
    """

    group: FiniteGroup
    answers: dict[int, Realisation]

    @property
    def largest(self) -> int:
        """The largest n with <n,n,n> realised; 1 for none above."""
        return max((n for n, answer in self.answers.items() if answer.realised), default=1)

    @property
    def proven(self) -> bool:
        """Whether the first n that was not found is proven impossible."""
        return all(answer.proven for answer in self.answers.values())


def census(least: int, most: int, nodes: int = DEFAULT_NODES, seed: int = 0) -> Iterator[CensusRow]:
    """One row for each type of group among the named ones of these orders, in order of size.

    Args:
        least, most: orders, both included.
        nodes: most nodes of each enumeration of subsets.
        seed: of the annealing.
    """
    named = [(parse_group(name).order, name) for name in NAME_TABLE]
    for order in range(least, most + 1):
        for name in one_of_each_type([n for o, n in named if o == order])[0]:
            group = parse_group(name)
            answers: dict[int, Realisation] = {}
            n = 2
            while n <= 64:
                answers[n] = realises(group, TileFormat(n, n, n), nodes=nodes, seed=seed)
                if not answers[n].realised:
                    break
                n += 1
            yield CensusRow(group, answers)
