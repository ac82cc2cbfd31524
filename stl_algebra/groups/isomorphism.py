"""Isomorphism of finite groups: invariants, explicit isomorphisms, and the standard names of a group.

Two groups are told apart by colours of their elements, refined until they are stable (Weisfeiler and Leman's
method on the Cayley table); where the colours agree, a search over images of a small generating set decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from math import gcd, isqrt

import numpy as np
from sympy import factorint, isprime

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.names import parse_group
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


def isomorphism(first: FiniteGroup, second: FiniteGroup) -> IntArray | None:
    """An isomorphism as an array, element g of the first to element array[g] of the second; None if none.

    Milliseconds where colours decide; the search over images of generators is exponential in their number at
    worst, but bounded by the automorphisms' orbits: seconds for the worst groups of order 64 or 128.
    """
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


def isomorphic(first: FiniteGroup, second: FiniteGroup) -> bool:
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


#: Groups that are neither in a family nor direct products: with them every group of order below 32 is named.
_SPORADIC = {
    16: ("(C4xC2):C2(a->ab)", "(C4xC2):C2(b->a^2b)"),
    18: ("C3^2:C2(a->a^-1,b->b^-1)",),
    24: ("C3:D4(a->a^-1;)",),
}


@lru_cache(maxsize=1024)
def standard_names(group: FiniteGroup) -> tuple[str, ...]:
    """Names from the grammar for the group, whatever it is called itself, the most usual first.

    Families first (C6, S3, D3, PSL(2,5), C7:C3), then a product of smaller named groups. Empty when nothing
    fits: that says nothing about the group.
    """
    if group.is_abelian:
        return _abelian_names(group)
    names = [name for name in _family_names(group.order) if isomorphic(parse_group(name), group)]
    product = _product_name(group)
    if product:
        names.append(product)
    if not names:
        names += _cyclic_extensions(group)
    names += [n for n in _SPORADIC.get(group.order, ()) if isomorphic(parse_group(n), group)]
    return tuple(dict.fromkeys(names))


def _power_product(parts: Sequence[str]) -> str:
    """ "C4xC2^2" from C4, C2, C2."""
    shown = []
    for part in dict.fromkeys(parts):
        count = list(parts).count(part)
        shown.append(part if count == 1 else f"{_in_power(part)}^{count}")
    return "x".join(shown)


def _in_power(name: str) -> str:
    return f"({name})" if set(name) & set(":x^") else name


def _abelian_names(group: FiniteGroup) -> tuple[str, ...]:
    """Invariant factors, and prime powers where they differ: C6, C2xC3."""
    parts: dict[int, list[int]] = {}
    for p, top in factorint(group.order).items():
        # |{x : x^(p^k) = 1}| = p^(sum of min(k, e_i)): its logarithms count the parts of each exponent.
        counts = [0]
        for k in range(1, top + 2):
            inside = np.count_nonzero(p**k % group.element_orders == 0)
            counts.append(round(float(np.log(inside) / np.log(p))))
        exponents = [
            k
            for k in range(top, 0, -1)
            for _ in range((counts[k] - counts[k - 1]) - (counts[k + 1] - counts[k]))
        ]
        parts[int(p)] = [int(p) ** e for e in exponents]
    length = max((len(x) for x in parts.values()), default=0)
    invariant = [int(np.prod([x[i] for x in parts.values() if i < len(x)])) for i in range(length)]
    elementary = [f"C{q}" for p in sorted(parts) for q in parts[p]]
    names = [_power_product([f"C{n}" for n in invariant]) or "C1", _power_product(elementary) or "C1"]
    return tuple(dict.fromkeys(names))


@lru_cache(maxsize=256)
def _family_names(order: int) -> tuple[str, ...]:
    """Non-abelian members of the grammar's families of this order, the most usual names first."""
    names = []
    factorial, n = 2, 2
    while factorial <= 2 * order:
        n += 1
        factorial *= n
        names += [f"S{n}"] if factorial == order else []
        names += [f"A{n}"] if factorial == 2 * order and n > 3 else []
    if order >= 8 and order & (order - 1) == 0:
        names.append(f"Q{order}")
    names += [f"D{order // 2}"] if order % 2 == 0 and order > 4 else []
    names += [f"Dic{order // 4}"] if order % 4 == 0 and order > 4 else []
    for p in (q for q in range(2, isqrt(order) + 1) if isprime(q)):
        special = p * (p * p - 1)
        names += [f"PSL(2,{p})"] if special // gcd(2, p - 1) == order else []
        names += [f"SL(2,{p})"] if special == order else []
        names += [f"GL(2,{p})"] if special * (p - 1) == order else []
        names += [f"He({p})"] if p**3 == order else []
    for p in sorted((int(q) for q in factorint(order)), reverse=True):
        if order // p > 1 and (p - 1) % (order // p) == 0:
            names += [f"F{order}", f"C{p}:C{order // p}"]
            break
    q = isqrt(order) + 1
    names += [f"AGL(1,{q})"] if q * (q - 1) == order and len(factorint(q)) == 1 else []
    return tuple(names)


def _cyclic_extensions(group: FiniteGroup) -> list[str]:
    """["C8:C2(3)"] when a normal cyclic subgroup has a cyclic complement; largest first, least multiplier."""
    best: tuple[int, int, str] | None = None
    for x in (c[0] for c in group.classes):
        n = int(group.element_orders[x])
        h = group.order // n
        if n * h != group.order or n < 3 or h < 2 or (best and n < -best[0]):
            continue
        powers = [0]
        for _ in range(n - 1):
            powers.append(int(group.table[powers[-1], x]))
        exponent = {element: e for e, element in enumerate(powers)}
        if any(int(v) not in exponent for v in group.conjugates[:, x]):
            continue
        for y in np.flatnonzero(group.element_orders == h).tolist():
            power, meets = y, False
            while power and not meets:
                meets = power in exponent
                power = int(group.table[power, y])
            u = exponent[int(group.conjugates[y, x])]
            if not meets and (best is None or (-n, u) < best[:2]):
                best = (-n, u, f"C{n}:C{h}({u})")
    return [best[2]] if best and best[1] != 1 else []


def _product_name(group: FiniteGroup) -> str:
    """A direct decomposition into named groups, "" when there is none or a factor has no name."""
    factors = direct_factors(group)
    parts = [standard_names(factor) for factor in factors] if len(factors) > 1 else []
    if not parts or not all(parts):
        return ""
    ranked = sorted(
        (factor.is_abelian, -factor.order, p[0]) for factor, p in zip(factors, parts, strict=True)
    )
    firsts = [name for _, _, name in ranked]
    return _power_product(firsts)


def direct_factors(group: FiniteGroup) -> list[FiniteGroup]:
    """Non-abelian indecomposable factors and one abelian factor (left out when trivial) of a decomposition.

    Two complementary normal subgroups are looked for among all normal subgroups, smallest first.
    """
    if group.is_abelian:
        return [group] if group.order > 1 else []
    normal = normal_subgroups(group)
    masks = {members.tobytes(): members for members in normal}
    for small in normal:
        if 1 < len(small) <= isqrt(group.order):
            for large in masks.values():
                if len(small) * len(large) == group.order and len(np.intersect1d(small, large)) == 1:
                    parts = [
                        factor
                        for members in (large, small)
                        for factor in direct_factors(group.subgroup(members))
                    ]
                    return _abelian_together(parts)
    return [group]


def _abelian_together(parts: list[FiniteGroup]) -> list[FiniteGroup]:
    abelian = [p for p in parts if p.is_abelian]
    others = [p for p in parts if not p.is_abelian]
    if not abelian:
        return others
    joined = parse_group("x".join(_abelian_names(p)[0] for p in abelian))
    return [*others, joined]


def normal_subgroups(group: FiniteGroup, limit: int = 2000) -> list[IntArray]:
    """Normal subgroups as sorted elements, by order: all joins of normal closures of classes.

    At most `limit` of them, the first that joining finds: abelian groups have very many.
    """
    closures = {c.tobytes(): c for c in (group.generated(list(c)) for c in group.classes)}
    found = dict(closures)
    queue = list(closures.values())
    for members in queue:
        for closure in closures.values():
            # The join of two normal subgroups is their product set.
            joined = np.unique(group.table[np.ix_(members, closure)])
            if joined.tobytes() not in found and len(found) < limit:
                found[joined.tobytes()] = joined
                queue.append(joined)
    return sorted(found.values(), key=lambda m: (len(m), m.tolist()))
