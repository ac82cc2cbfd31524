"""Isomorphism of finite groups: invariants and explicit isomorphisms.

Two groups are told apart by colours of their elements, refined until they are stable (Weisfeiler and Leman's
method on the Cayley table); where the colours agree, a search over images of a small generating set decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

import numpy as np

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.names import as_group, parse_group
from stl_algebra.groups.semidirect import homomorphism


@lru_cache(maxsize=512)
def colours(group: FiniteGroup) -> tuple[IntArray, str]:
    """(colour of every element, digest): isomorphisms keep colours, and isomorphic groups have one digest.

    Colours begin as (element order, class size, colours of powers) and are refined by the multiset over y of
    (colour of y, colour of x y, colour of x y x^-1 y^-1) until their number stays. O(|G|^2 log |G|) a round.
    """
    order = group.order
    class_size = np.empty(order, dtype=np.int64)
    for c in group.classes:
        class_size[list(c)] = len(c)
    everyone = np.arange(order)
    square = group.table[everyone, everyone]
    roots = np.bincount(square, minlength=order)
    start = np.stack([group.element_orders, class_size, roots], axis=1)
    _, colour = np.unique(start, axis=0, return_inverse=True)
    digest = hashlib.sha256(np.sort(start.view([("", start.dtype)] * 3), axis=0).tobytes())
    commutators = group.table[group.conjugates, group.inverse]
    count = int(colour.max()) + 1
    while count < order:
        pairs = (colour[None, :] * count + colour[group.table]) * count + colour[commutators]
        rows = np.concatenate([colour[:, None], colour[square][:, None], np.sort(pairs, axis=1)], axis=1)
        distinct, refined = np.unique(rows, axis=0, return_inverse=True)
        digest.update(distinct.tobytes() + np.bincount(refined).tobytes())
        if len(distinct) == count:
            break
        colour, count = refined, len(distinct)
    return colour.astype(np.int64), digest.hexdigest()


def _quick_invariants(group: FiniteGroup) -> tuple[object, ...]:
    """Cheap enough to compare with every candidate: order, classes, element orders, squares."""
    everyone = np.arange(group.order)
    return (
        group.order,
        group.is_abelian,
        np.bincount(group.element_orders).tolist(),
        np.unique(group.table[everyone, everyone]).size,
        sorted(len(c) for c in group.classes),
    )


def isomorphism(first: FiniteGroup | str, second: FiniteGroup | str) -> IntArray | None:
    """An isomorphism as an array, element g of the first to element array[g] of the second; None if none.

    Milliseconds where colours decide; the search over images of generators is exponential in their number at
    worst, but bounded by the automorphisms' orbits: seconds for the worst groups of order 64 or 128.

    Raises:
        InvalidInput, TooLarge: a spelling names no group, as `parse_group`.
    """
    first, second = as_group(first), as_group(second)
    if _quick_invariants(first) != _quick_invariants(second):
        return None
    if np.array_equal(first.table, second.table):
        return np.arange(first.order)
    (left, left_digest), (right, right_digest) = colours(first), colours(second)
    if left_digest != right_digest:
        return None
    sizes = np.bincount(left)
    # Generators of rare colours first: they have the fewest images.
    rarity = np.lexsort((-first.element_orders, sizes[left]))
    generators = first.greedy_generators(rarity)
    renamed = FiniteGroup(first.table, first.name, generators=generators, check=False)
    for images in _images(first, second, generators, left, right):
        try:
            mapped = homomorphism(renamed, second, images)
        except InvalidInput:
            continue
        if np.count_nonzero(mapped == 0) == 1:
            return mapped
    return None


def _images(
    first: FiniteGroup, second: FiniteGroup, generators: Sequence[int], left: IntArray, right: IntArray
) -> Iterator[tuple[int, ...]]:
    """Images of the generators under which every initial part of them spans isomorphic subgroups.

    The first image need only run over the classes of the second group: conjugation moves it within one.
    """

    def extend(chosen: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        if len(chosen) == len(generators):
            yield chosen
            return
        part = generators[: len(chosen) + 1]
        allowed = np.flatnonzero(right == left[part[-1]])
        if not chosen:
            allowed = np.intersect1d(allowed, [c[0] for c in second.classes])
        for image in allowed.tolist():
            if _spans_alike(first, second, part, (*chosen, image)):
                yield from extend((*chosen, image))

    return extend(())


def _spans_alike(first: FiniteGroup, second: FiniteGroup, part: Sequence[int], images: Sequence[int]) -> bool:
    """The generators' images extend to an isomorphism between the subgroups that they generate."""
    mapped = np.full(first.order, -1, dtype=np.int64)
    mapped[0] = 0
    frontier = np.array([0])
    while frontier.size:
        fresh = []
        for g, image in zip(part, images, strict=True):
            reached, expected = first.table[frontier, g], second.table[mapped[frontier], image]
            new = mapped[reached] < 0
            mapped[reached[new]] = expected[new]
            if not np.array_equal(mapped[reached], expected):
                return False
            fresh.append(reached[new])
        frontier = np.unique(np.concatenate(fresh))
    hit = mapped[mapped >= 0]
    return len(np.unique(hit)) == len(hit)


def isomorphic(first: FiniteGroup | str, second: FiniteGroup | str) -> bool:
    """There is an isomorphism."""
    return isomorphism(first, second) is not None


def one_of_each_type(names: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """(names without those of a group that came before, {left out: its earlier name}); canonical spellings.

    Raises:
        InvalidInput, TooLarge: as `parse_group`.
    """
    kept: list[FiniteGroup] = []
    same: dict[str, str] = {}
    for name in names:
        group = parse_group(name)
        earlier = next((k for k in kept if isomorphic(k, group)), None)
        if earlier is None:
            kept.append(group)
        elif earlier.name != group.name:
            same[group.name] = earlier.name
    return [g.name for g in kept], same
