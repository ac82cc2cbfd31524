"""Which formats a finite group realises exactly: triples of subgroups, triples of subsets, and bounds.

A group realises <n, k, m> when it has a triple of subsets of these sizes with the triple product property
(TPP). With Q(S) = S S^-1 it says: q_s q_t q_u = 1 with q_s in Q(S), q_t in Q(T), q_u in Q(U) only for
q_s = q_t = q_u = 1. It does not change when the subsets are exchanged, translated on the right one by one,
or mapped by one automorphism all together, and the search uses all three.

What does not belong here: the collision score and annealing (`triple_product`), algorithms (`fourier`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import NoCandidate, TooLarge
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.subgroups import subgroups
from stl_algebra.triples.property import Triple, find_triple

#: Nodes of the enumeration of subsets by default: some seconds.
DEFAULT_NODES = 200_000
#: Subgroups that are looked at.
_MOST_SUBGROUPS = 20_000


@dataclass(frozen=True)
class Realisation:
    """What a search for a triple with the TPP found.

    Attributes:
        triple: one with the TPP when `realised`; else the one with the fewest collisions that was seen, or
            None where none was looked for.
        proven: the answer is a theorem: a triple was found, a bound excludes it, or all were enumerated.
        method: "bound", "subgroups", "subsets" or "annealing": what decided.
        reason: one line for people.
    """

    triple: Triple | None
    proven: bool
    method: str
    reason: str

    @property
    def realised(self) -> bool:
        """A triple with the TPP was found."""
        return self.method != "bound" and self.triple is not None and self.triple.collisions() == 0


def bound(group: FiniteGroup, tile: TileFormat) -> str | None:
    """Why no triple can have the TPP, in words; None when these bounds allow one.

    n (k + m - 1) <= |G| for each choice of the first side, because (s, t) -> s^-1 t and (s, u) -> s^-1 u are
    injective and meet only in (s, 1) when 1 is in T and U (Neumann 2011); nkm <= |G| for abelian groups,
    because (s, t, u) -> s t u is injective there: they never beat the definition (Cohn and Umans 2003).
    """
    sides = list(tile.ascending)
    if group.is_abelian and tile.products > group.order:
        return f"an abelian group of order {group.order} is smaller than nkm = {tile.products}"
    most = max(a * (b + c - 1) for a, b, c in permutations(sides))
    if most > group.order:
        return f"the order {group.order} is below n (k + m - 1) = {most} with the sides in some order"
    return None


def realises(
    group: FiniteGroup,
    tile: TileFormat,
    *,
    nodes: int = DEFAULT_NODES,
    seed: int = 0,
    use_bounds: bool = True,
) -> Realisation:
    """Whether a group realises a format: bounds, subgroups, annealing, then all subsets within `nodes`.

    Complete enumeration is feasible up to order 24 at <3,3,3> and about 16 at larger formats; when the nodes
    run out, the answer is the best triple that annealing found, and not proven.

    Args:
        group: any group.
        tile: the format.
        nodes: most nodes of the enumeration; 0 for none.
        seed: of the annealing.
        use_bounds: refuse at once what `bound` excludes; without it the enumeration has to.
    """
    excluded = bound(group, tile) if use_bounds else None
    if excluded:
        return Realisation(None, True, "bound", excluded)
    try:
        found = subgroup_triple(group, tile)
    except TooLarge:
        found = None
    if found is not None:
        return Realisation(found, True, "subgroups", "three subgroups have the triple product property")
    try:
        best = find_triple(group, tile, seed)
    except NoCandidate as error:
        return Realisation(None, True, "bound", str(error))
    if best.collisions() == 0:
        return Realisation(best, True, "annealing", "annealing found three subsets with the property")
    try:
        found = subset_triple(group, tile, nodes)
    except TooLarge as error:
        return Realisation(best, False, "annealing", f"nothing found; {error}")
    if found is not None:
        return Realisation(found, True, "subsets", "the enumeration of subsets found three with the property")
    return Realisation(best, True, "subsets", "all triples of subsets were enumerated: none has the property")


def _in_roles(group: FiniteGroup, tile: TileFormat, subsets: Sequence[IntArray]) -> Triple:
    """A triple with the sizes of the format from three subsets; exchanging them keeps their collisions."""
    left = list(subsets)
    chosen = []
    for side in (tile.n, tile.k, tile.m):
        position = next(i for i, subset in enumerate(left) if len(subset) == side)
        chosen.append(left.pop(position))
    return Triple(group, *chosen)


def subgroup_triple(group: FiniteGroup, tile: TileFormat) -> Triple | None:
    """Three subgroups of the sizes of the format with the TPP, or None when there are none.

    For subgroups the TPP says: S and T meet in 1, and S T meets U in 1.

    Raises:
        TooLarge: the group has too many subgroups.
    """
    sides = list(tile.ascending)
    if any(group.order % side for side in sides):
        return None
    by_order: dict[int, list[IntArray]] = {side: [] for side in sides}
    for members in subgroups(group, _MOST_SUBGROUPS, sides):
        if len(members) in by_order:
            by_order[len(members)].append(members)
    thirds = by_order[sides[2]]
    if not thirds:
        return None
    masks = np.zeros((len(thirds), group.order), dtype=np.int64)
    for mask, members in zip(masks, thirds, strict=True):
        mask[members] = 1
    for s in by_order[sides[0]]:
        for t in by_order[sides[1]]:
            if len(np.intersect1d(s, t)) > 1:
                continue
            inside = np.zeros(group.order, dtype=np.int64)
            inside[group.table[np.ix_(s, t)]] = 1
            free = np.flatnonzero(masks @ inside == 1)
            if free.size:
                return _in_roles(group, tile, (s, t, thirds[int(free[0])]))
    return None


def subset_triple(group: FiniteGroup, tile: TileFormat, nodes: int = DEFAULT_NODES) -> Triple | None:
    """Three subsets with the TPP by branch and bound, or None when there provably are none.

    The smallest subset runs through all subsets that contain 1, one of each class under right translation and
    conjugation; the second grows element by element as long as enough elements are left for the third; the
    third is a clique of the Cayley graph whose connection set is what Q(S) Q(T) and Q(T) Q(S) leave free.

    Raises:
        TooLarge: more than `nodes` nodes.
    """
    search = _SubsetSearch(group, tile, nodes)
    for first in search.first_subsets():
        found = search.with_first(first)
        if found is not None:
            triple = _in_roles(group, tile, found)
            assert triple.collisions() == 0
            return triple
    return None


def fewest_collisions(group: FiniteGroup, tile: TileFormat, nodes: int = DEFAULT_NODES) -> Triple:
    """A triple of subsets with provably the fewest collisions: the best approximate TPP of the group.

    Branch and bound from the best annealed triple. For two subsets let c(g) count the quadruples with
    s's^-1 t't^-1 = g; then a third subset has m c(1) + sum over u != u' of c(u'u^-1) - nkm collisions, a sum
    over its pairs that only grows with the subset. Under a second up to order 16 at <3,3,3>.

    Raises:
        TooLarge: more than `nodes` nodes.
        NoCandidate: the group has fewer elements than a side of the tile.
    """
    best = find_triple(group, tile, 0)
    fewest = best.collisions()
    search = _SubsetSearch(group, tile, nodes)
    sizes = search.sizes
    for first in search.first_subsets():
        for rest in combinations(range(1, group.order), sizes[1] - 1):
            if fewest == 0:
                return best
            second = (0, *rest)
            found = search.cheapest_third(first, second, fewest)
            if found is not None:
                best = _in_roles(group, tile, (np.array(first), np.array(second), found))
                fewest = best.collisions()
    return best


class _SubsetSearch:
    """The enumeration; sets of elements are boolean arrays, cliques are grown on integer bit masks."""

    def __init__(self, group: FiniteGroup, tile: TileFormat, nodes: int) -> None:
        self.group, self.limit, self.spent = group, nodes, 0
        self.sizes = list(tile.ascending)
        self.quotient = group.table[:, group.inverse]

    def _spend(self) -> None:
        self.spent += 1
        if self.spent > self.limit:
            raise TooLarge(f"the enumeration of subsets was stopped after {self.limit} nodes")

    def quotients(self, subset: Sequence[int]) -> IntArray:
        """Q(S), as sorted elements."""
        return np.unique(self.quotient[np.ix_(subset, subset)])

    def first_subsets(self) -> Iterator[tuple[int, ...]]:
        """Subsets of the smallest size that contain 1, up to right translation and conjugation."""
        everyone = np.arange(self.group.order)
        seen: set[bytes] = set()
        for rest in combinations(range(1, self.group.order), self.sizes[0] - 1):
            self._spend()
            subset = np.array((0, *rest))
            translates = self.quotient[subset[None, :], subset[:, None]].reshape(-1)
            conjugates = self.group.table[
                self.group.table[everyone[:, None], translates[None, :]], self.group.inverse[:, None]
            ].reshape(-1, len(subset))
            conjugates.sort(axis=1)
            least = conjugates[np.lexsort(conjugates.T[::-1])[0]].tobytes()
            if least not in seen:
                seen.add(least)
                yield (0, *rest)

    def with_first(self, first: tuple[int, ...]) -> tuple[IntArray, IntArray, IntArray] | None:
        """The second and third subset for a first one."""
        own = self.quotients(first)
        free = np.ones(self.group.order, dtype=bool)
        free[own] = False
        if self.sizes[1] == 1:
            third = self._clique(free, self.sizes[2])
            return None if third is None else (np.array(first), np.array([0]), third)
        neighbours = self._neighbours(free)
        stack: list[tuple[tuple[int, ...], int, NDArray[np.bool_]]] = [((0,), neighbours[0], free)]
        while stack:
            second, candidates, open_ = stack.pop()
            while candidates:
                low = candidates & -candidates
                candidates ^= low
                new = low.bit_length() - 1
                if new < second[-1]:
                    continue
                self._spend()
                larger = (*second, new)
                quotients = np.unique(
                    np.concatenate([self.quotient[list(second), new], self.quotient[new, list(second)]])
                )
                left = open_.copy()
                left[self.group.table[np.ix_(own, quotients)]] = False
                left[self.group.table[np.ix_(quotients, own)]] = False
                if np.count_nonzero(left) < self.sizes[2] - 1:
                    continue
                if len(larger) < self.sizes[1]:
                    stack.append((larger, candidates & neighbours[new], left))
                    continue
                third = self._clique(left, self.sizes[2])
                if third is not None:
                    return np.array(first), np.array(larger), third
        return None

    def cheapest_third(self, first: tuple[int, ...], second: tuple[int, ...], fewest: int) -> IntArray | None:
        """The third subset with the fewest collisions, None when it does not go below `fewest`."""
        self._spend()
        order, size = self.group.order, self.sizes[2]
        left, right = (self.quotient[np.ix_(x, x)].ravel() for x in (first, second))
        counts = np.bincount(self.group.table[np.ix_(left, right)].ravel(), minlength=order)
        pairs = counts[self.quotient] + counts[self.quotient.T]
        # All elements may be translated so that 1 is among them; the true products are not collisions.
        start = size * int(counts[0] - len(first) * len(second))
        best: IntArray | None = None
        stack: list[tuple[tuple[int, ...], int, IntArray]] = [((0,), start, pairs[0])]
        while stack:
            chosen, cost, added = stack.pop()
            if cost >= fewest:
                continue
            if len(chosen) == size:
                best, fewest = np.array(chosen), cost
                continue
            for new in range(order - 1, chosen[-1], -1):
                if cost + added[new] < fewest:
                    self._spend()
                    stack.append(((*chosen, new), cost + int(added[new]), added + pairs[new]))
        return best

    def _neighbours(self, free: NDArray[np.bool_]) -> list[int]:
        """For each x the bit mask of the y with y x^-1 in the set."""
        rows = np.packbits(free[self.quotient.T], axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in rows]

    def _clique(self, free: NDArray[np.bool_], size: int) -> IntArray | None:
        """A set with 1 of that size all of whose quotients lie in `free` (which is closed under inverses)."""
        if size == 1:
            return np.array([0])
        neighbours = self._neighbours(free)
        stack: list[tuple[tuple[int, ...], int]] = [((0,), neighbours[0])]
        while stack:
            chosen, candidates = stack.pop()
            if len(chosen) + candidates.bit_count() < size:
                continue
            self._spend()
            low = candidates & -candidates
            new = low.bit_length() - 1
            larger = (*chosen, new)
            if len(larger) == size:
                return np.array(larger)
            stack.append((chosen, candidates ^ low))
            stack.append((larger, (candidates ^ low) & neighbours[new]))
        return None
