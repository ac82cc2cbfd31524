"""The names of a group: from its Cayley table to spellings of the grammar.

Families are tried member by member, direct products taken apart into normal subgroups, and cyclic extensions
found by their kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt

import numpy as np
from sympy import factorint

from stl_algebra.groups.families import FAMILIES
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.isomorphism import isomorphic
from stl_algebra.groups.names import cached_by_group, parse_group
from stl_algebra.groups.small_groups import known_numbers

#: Groups that are neither in a family nor direct products: with them every group of order below 32 is
#: named, and
#: the extraspecial groups 2^{1+4}_+ and 2^{1+4}_-.
_SPORADIC = {
    16: ("(C4xC2):C2(a->ab)", "(C4xC2):C2(b->a^2b)"),
    18: ("C3^2:C2(a->a^-1,b->b^-1)",),
    24: ("C3:D4(a->a^-1;)",),
    32: ("(D4xC2):C2(c->a^2c)", "(Q8xC2):C2(c->a^2c)"),
}


@cached_by_group(maxsize=1024)
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


@cached_by_group(maxsize=1024)
def small_group_number(group: FiniteGroup) -> tuple[int, int] | None:
    """(order, number) in GAP's small groups library, None where the number is not known here.

    Raises:
        InvalidInput, TooLarge: a spelling names no group, as `parse_group`.
    """
    for number, name in known_numbers(group.order).items():
        if isomorphic(parse_group(name), group):
            return group.order, number
    return None


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
    """Names from the families for non-abelian groups of this order, the most usual ones first."""
    names: list[str] = []
    for family in FAMILIES:
        for parameters in family.of_order(order):
            names += [family.spelling(*parameters), *family.other_names(*parameters)]
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
