"""The subgroups of a finite group, all of them and up to conjugacy.

Cyclic extension: every soluble subgroup other than 1 has a normal subgroup of prime index, so layer by layer
the subgroups of prime index over a known H are the subgroups of prime order in N(H)/H (Neubueser 1960). In
insoluble groups joins of H with cyclic subgroups are added, which reach every subgroup, perfect ones too. One
subgroup of each conjugacy class is extended; its conjugates are entered as bit masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from sympy import primefactors

from stl_algebra.cache import Arrays, cached_arrays
from stl_algebra.errors import TooLarge
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.names import as_group

#: Subgroups that a search may find before it gives up: about a minute's work.
MOST_SUBGROUPS = 50_000

#: Version of the algorithm for the cache: raise it when results or their order change.
_VERSION = 1

#: Lattices of smaller groups are found faster than a file is read.
_SMALLEST_CACHED = 48


@dataclass(frozen=True, eq=False)
class SubgroupClass:
    """A conjugacy class of subgroups.

    Attributes:
        group: the whole group.
        members: (order,) elements of a representative, sorted.
        length: number of conjugates, |G : N(H)|.
    """

    group: FiniteGroup
    members: IntArray
    length: int

    @property
    def order(self) -> int:
        """|H|."""
        return len(self.members)

    @property
    def index(self) -> int:
        """Number of cosets, |G| / |H|."""
        return self.group.order // self.order

    @property
    def is_normal(self) -> bool:
        """H is its only conjugate."""
        return self.length == 1

    @cached_property
    def generators(self) -> tuple[int, ...]:
        """Few elements that generate the representative, large orders first; of a whole group its own."""
        if self.order == self.group.order:
            return self.group.generators
        by_order = np.argsort(-self.group.element_orders[self.members], kind="stable")
        return self.group.greedy_generators(self.members[by_order], len(self.members))

    def as_group(self) -> FiniteGroup:
        """The representative as a group of its own."""
        return self.group.subgroup(self.members)

    def conjugates(self) -> list[IntArray]:
        """The subgroups of the class, each as its sorted elements; the representative first."""
        transversal = _transversal(self.group, normaliser(self.group, self.members))
        return [np.sort(self.group.conjugates[g, self.members]) for g in transversal]


def subgroup_classes(group: FiniteGroup | str, limit: int = MOST_SUBGROUPS) -> tuple[SubgroupClass, ...]:
    """The conjugacy classes of subgroups, by order, then length, then first elements.

    Roughly a millisecond per class and 20 microseconds per subgroup at order 100.

    Args:
        group: any group, or its spelling.
        limit: most subgroups, not classes.

    Raises:
        InvalidInput: the spelling names no group.
        TooLarge: there are more subgroups than `limit`.
    """
    group = as_group(group)
    if limit < MOST_SUBGROUPS and group.order >= _SMALLEST_CACHED:
        # A bounded look must not cost an unbounded search, and what it stops at is not worth keeping.
        found = _find(group, limit)
    else:
        found = _complete(group)
    if sum(c.length for c in found) > limit:
        raise _too_many(group, limit)
    return found


def subgroups(
    group: FiniteGroup | str, limit: int = MOST_SUBGROUPS, dividing: Sequence[int] | None = None
) -> list[IntArray]:
    """All subgroups, each as its sorted elements, by order; conjugates beside each other.

    Args:
        group: any group, or its spelling.
        limit: most subgroups.
        dividing: only subgroups whose order divides one of these; the others are never built, so that few
            small ones are found in groups with very many subgroups.

    Raises:
        InvalidInput: the spelling names no group.
        TooLarge: there are more than `limit`.
    """
    group = as_group(group)
    found = subgroup_classes(group, limit) if dividing is None else _find(group, limit, dividing)
    return [members for c in found for members in c.conjugates()]


def _too_many(group: FiniteGroup, limit: int) -> TooLarge:
    return TooLarge(f"group {group.name}: it has more than the limit of {limit} subgroups")


@lru_cache(maxsize=64)
def _complete(group: FiniteGroup) -> tuple[SubgroupClass, ...]:
    if group.order < _SMALLEST_CACHED:
        return _find(group, MOST_SUBGROUPS)

    def compute() -> Arrays:
        found = _find(group, MOST_SUBGROUPS)
        masks = np.zeros((len(found), group.order), dtype=bool)
        for row, c in zip(masks, found, strict=True):
            row[c.members] = True
        return {"masks": masks, "lengths": np.array([c.length for c in found])}

    stored = cached_arrays("subgroups", _VERSION, group.digest, compute)
    return tuple(
        SubgroupClass(group, np.flatnonzero(mask), int(length))
        for mask, length in zip(stored["masks"], stored["lengths"], strict=True)
    )


def normaliser(group: FiniteGroup, generators: IntArray) -> IntArray:
    """The elements g with g H g^-1 = H, sorted; H the subgroup that the generators generate."""
    inside = np.zeros(group.order, dtype=bool)
    inside[group.generated([int(g) for g in generators])] = True
    return np.flatnonzero(inside[group.conjugates[:, generators]].all(axis=1))


def _transversal(group: FiniteGroup, members: IntArray) -> IntArray:
    """The least element of every left coset g H, sorted: 0 first."""
    if len(members) == group.order:
        return np.array([0])
    return np.unique(group.table[:, members].min(axis=1))


def is_soluble(group: FiniteGroup) -> bool:
    """The derived series ends at 1."""
    members = np.arange(group.order)
    while len(members) > 1:
        # x y x^-1 y^-1 for all pairs.
        conjugated = group.conjugates[np.ix_(members, members)]
        commutators = np.unique(group.table[conjugated, group.inverse[members]])
        derived = group.generated([int(x) for x in commutators])
        if len(derived) == len(members):
            return False
        members = derived
    return True


class _Search:
    """The subgroups found so far; `extend` adds those that lie just above one of them."""

    def __init__(self, group: FiniteGroup, limit: int, dividing: Sequence[int]) -> None:
        self.group, self.limit, self.dividing = group, limit, dividing
        self.found: list[SubgroupClass] = []
        self.generators: list[tuple[int, ...]] = []
        self.normalisers: list[IntArray] = []
        self.known: set[bytes] = set()
        everyone = np.arange(group.order)
        self.powers: dict[int, IntArray] = {}
        for p in primefactors(group.order):
            power = everyone
            for _ in range(p - 1):
                power = group.table[power, everyone]
            self.powers[int(p)] = power
        # Joins with cyclic subgroups of prime power order, one generator each, are for insoluble groups.
        self.cyclic = np.full(group.order, -1, dtype=np.int64)
        if not is_soluble(group):
            for x in everyone[1:]:
                if self.cyclic[x] < 0 and len(primefactors(int(group.element_orders[x]))) == 1:
                    members = group.generated([int(x)])
                    same = members[group.element_orders[members] == group.element_orders[x]]
                    self.cyclic[same] = x

    def enter(self, members: IntArray, generators: tuple[int, ...]) -> None:
        """Add a subgroup and its conjugates unless it is known or its order is not asked for.

        A subgroup is reached through subgroups of its own, whose orders divide its order.
        """
        if all(wanted % len(members) for wanted in self.dividing):
            return
        order = self.group.order
        mask = np.zeros(order, dtype=bool)
        mask[members] = True
        if np.packbits(mask).tobytes() in self.known:
            return
        conjugates = self.group.conjugates
        normal = np.flatnonzero(mask[conjugates[:, list(generators)]].all(axis=1))
        transversal = _transversal(self.group, normal)
        if len(self.known) + len(transversal) > self.limit:
            raise _too_many(self.group, self.limit)
        masks = np.zeros((len(transversal), order), dtype=bool)
        np.put_along_axis(masks, conjugates[np.ix_(transversal, members)], True, axis=1)
        self.known.update(row.tobytes() for row in np.packbits(masks, axis=1))
        self.found.append(SubgroupClass(self.group, np.sort(members), len(transversal)))
        self.generators.append(generators)
        self.normalisers.append(normal)

    def extend(self, number: int) -> None:
        """Enter the subgroups in which the given one has prime index and is normal; joins if insoluble."""
        table = self.group.table
        members, generators = self.found[number].members, self.generators[number]
        normal = self.normalisers[number]
        inside = np.zeros(self.group.order, dtype=bool)
        inside[members] = True
        cosets = np.full(self.group.order, -1, dtype=np.int64)
        cosets[normal] = table[np.ix_(normal, members)].min(axis=1)
        representatives = np.unique(cosets[normal])[1:]
        for p, power in self.powers.items():
            done: set[int] = set()
            for x in representatives[inside[power[representatives]]].tolist():
                if x in done:
                    continue
                chain = [0]
                for _ in range(p - 1):
                    chain.append(int(table[chain[-1], x]))
                done.update(cosets[chain].tolist())
                self.enter(table[np.array(chain)[:, None], members].ravel(), (*generators, x))
        seen = inside.copy()
        for z in np.unique(self.cyclic[self.cyclic >= 0]).tolist():
            if not seen[z]:
                seen[self.cyclic[self.group.conjugates[normal, z]]] = True
                joined = (*generators, z)
                self.enter(self.group.generated(joined), joined)


def _find(group: FiniteGroup, limit: int, dividing: Sequence[int] | None = None) -> tuple[SubgroupClass, ...]:
    search = _Search(group, limit, [group.order] if dividing is None else dividing)
    search.enter(np.array([0]), ())
    number = 0
    while number < len(search.found):
        search.extend(number)
        number += 1
    return tuple(sorted(search.found, key=lambda c: (c.order, c.length, c.members.tolist())))
