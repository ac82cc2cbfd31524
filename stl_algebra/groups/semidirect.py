"""Semidirect products N : H by an explicit action, which is checked to be one.

Element x y of N : H, with x in N and y in H, has the number x + |N| y, and the product is
(x, y)(x', y') = (x A_y(x'), y y') where A_y is the automorphism y x y^-1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import gcd

import numpy as np
from sympy import factorint

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.constructions import check_order, cyclic
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.words import element, letters, words


def homomorphism(group: FiniteGroup, target: FiniteGroup, images: Sequence[int]) -> IntArray:
    """The homomorphism that takes `group.generators` to `images`, as an array over the elements.

    O(|G| generators).

    Raises:
        InvalidInput: there is none; names an element and a generator at which products disagree.
    """
    extended = np.full(group.order, -1, dtype=np.int64)
    extended[0] = 0
    queue = [0]
    for x in queue:
        for g, image in zip(group.generators, images, strict=True):
            reached = int(group.table[x, g])
            if extended[reached] < 0:
                extended[reached] = target.table[extended[x], image]
                queue.append(reached)
    # phi(x g) = phi(x) phi(g) for all x and all generators g makes phi a homomorphism.
    for letter, g, image in zip(letters(group), group.generators, images, strict=True):
        wrong = np.flatnonzero(extended[group.table[:, g]] != target.table[extended, image])
        if wrong.size:
            named, imaged = words(group), words(target)
            x = int(wrong[0])
            product = int(group.table[x, g])
            raise InvalidInput(
                "images",
                expected="a homomorphism",
                got=f"{named[x]} * {letter} = {named[product]}, but their images have "
                f"{imaged[extended[x]]} * {imaged[image]} = {imaged[target.table[extended[x], image]]} "
                f"and not {imaged[extended[product]]}",
            )
    return extended


def automorphism(group: FiniteGroup, images: Mapping[str, str]) -> IntArray:
    """The automorphism that takes generators (letters) to words; those left out stay where they are.

    Raises:
        InvalidInput: a letter or word is none, or the map is no automorphism; says at which element.
    """
    names = letters(group)
    for letter in images:
        if letter not in names:
            raise InvalidInput(
                "action", expected=f"generators of {group.name}: {', '.join(names)}", got=letter
            )
    targets = [
        element(group, images[letter]) if letter in images else g
        for letter, g in zip(names, group.generators, strict=True)
    ]
    try:
        extended = homomorphism(group, group, targets)
    except InvalidInput as error:
        raise InvalidInput("action", expected=f"an automorphism of {group.name}", got=error.got) from error
    kernel = np.flatnonzero(extended == 0)
    if len(kernel) > 1:
        raise InvalidInput(
            "action",
            expected=f"an automorphism of {group.name}",
            got=f"a map that is not one to one: it takes {words(group)[kernel[1]]} to 1",
        )
    return extended


def semidirect_product(
    normal: FiniteGroup, acting: FiniteGroup, actions: Sequence[IntArray], name: str
) -> FiniteGroup:
    """N : H in which the i-th generator of H acts on N by the automorphism `actions[i]`.

    Args:
        normal: N.
        acting: H.
        actions: one array over the elements of N per generator of H, as `automorphism` returns them.
        name: of the result.

    Raises:
        InvalidInput: the number of actions is not the number of H's generators, or they satisfy no
            homomorphism H -> Aut(N); says at which element.
        TooLarge: |N| |H| is above the limit.
    """
    check_order(normal.order * acting.order, name)
    if len(actions) != len(acting.generators):
        raise InvalidInput(
            f"semidirect product {name}",
            expected=f"one automorphism for each of the {len(acting.generators)} generators of {acting.name}",
            got=len(actions),
        )
    by_element = np.full((acting.order, normal.order), -1, dtype=np.int64)
    by_element[0] = np.arange(normal.order)
    queue = [0]
    for y in queue:
        for h, action in zip(acting.generators, actions, strict=True):
            reached = int(acting.table[y, h])
            if by_element[reached, 0] < 0:
                by_element[reached] = by_element[y][action]
                queue.append(reached)
    for letter, h, action in zip(letters(acting), acting.generators, actions, strict=True):
        wrong = np.argwhere(by_element[acting.table[:, h]] != by_element[:, action])
        if wrong.size:
            y, x = int(wrong[0, 0]), int(wrong[0, 1])
            named, moved = words(acting), words(normal)
            product = int(acting.table[y, h])
            raise InvalidInput(
                f"semidirect product {name}",
                expected=f"an action that is a homomorphism from {acting.name} to Aut({normal.name})",
                got=f"{named[y]} * {letter} = {named[product]} in {acting.name}, but acting in turn takes "
                f"{moved[x]} to {moved[by_element[y][action[x]]]} and {named[product]} takes it to "
                f"{moved[by_element[product, x]]}",
            )
    low = np.arange(normal.order * acting.order) % normal.order
    high = np.arange(normal.order * acting.order) // normal.order
    moved_low = by_element[high[:, None], low]
    table = normal.table[low[:, None], moved_low] + normal.order * acting.table[high[:, None], high]
    generators = [*normal.generators, *(normal.order * h for h in acting.generators)]
    return FiniteGroup(table, name, generators=generators, check=False)


def _multiplicative_order(unit: int, modulus: int) -> int:
    order, power = 1, unit % modulus
    while power != 1 % modulus:
        order, power = order + 1, power * unit % modulus
    return order


def _only_multiplier(n: int, h: int, name: str) -> int:
    """The least multiplier of the action that C_n:C_h means; see `semidirect_cyclic`."""
    # Two actions differ by an automorphism of C_h when their images in the units are one subgroup.
    least: dict[frozenset[int], int] = {}
    for u in range(1, n + 1):
        if gcd(u, n) == 1 and pow(u, h, n) == 1 % n and (u > 1 or h == 1):
            image = frozenset(pow(u, k, n) for k in range(_multiplicative_order(u, n)))
            least.setdefault(image, u)
    faithful = [u for image, u in least.items() if len(image) == h]
    possible = faithful or list(least.values())
    if len(possible) == 1:
        return possible[0]
    if not possible:
        raise InvalidInput(
            f"semidirect product {name}",
            expected=f"a unit other than 1 modulo {n} whose order divides {h}, for an action",
            got="none",
            hint=f"the direct product is C{n}xC{h}",
        )
    named = {n // 2 - 1: f" = SD{2 * n}", n // 2 + 1: f" = M{2 * n}, which GAP prints so", n - 1: f" = D{n}"}
    in_families = h == 2 and n >= 8 and n & (n - 1) == 0
    shown = [f"C{n}:C{h}({u})" + (named[u] if in_families else "") for u in possible[:6]]
    shown += ["..."] * (len(possible) > 6)
    raise InvalidInput(
        f"semidirect product {name}",
        expected="an action, since several are possible",
        got="none",
        hint=f"choose the u of x -> x^u among {', '.join(shown)}",
    )


def semidirect_cyclic(n: int, h: int, multiplier: int | None = None, name: str = "") -> FiniteGroup:
    """C_n : C_h in which the generator y of C_h acts on x in C_n by y x y^-1 = x^multiplier.

    Without a multiplier the action is the faithful one, or the non-trivial one where none is faithful, if
    there is only one up to automorphisms of C_h; its least multiplier is taken.

    Raises:
        InvalidInput: the multiplier is no unit modulo n or its h-th power is not 1, so the action is no
            homomorphism; or none is given and there are no actions or several.
    """
    name = name or f"C{n}:C{h}" + (f"({multiplier})" if multiplier is not None else "")
    check_order(n * h, name)
    if multiplier is None:
        multiplier = _only_multiplier(n, h, name)
    elif gcd(multiplier, n) != 1 or pow(multiplier, h, n) != 1 % n:
        raise InvalidInput(
            f"semidirect product {name}",
            expected=f"a unit u modulo {n} with u^{h} = 1, so that the action is a homomorphism",
            got=f"u = {multiplier}, u^{h} = {pow(multiplier, h, n)} modulo {n}",
        )
    action = np.arange(n) * multiplier % n
    acting = cyclic(h)
    return semidirect_product(cyclic(n), acting, [action] * len(acting.generators), name)


def frobenius_parameters(order: int) -> tuple[int, int] | None:
    """(p, q), p the largest prime with order = p q and q > 1 a divisor of p - 1; None if there is none."""
    for p in sorted(factorint(order), reverse=True) if order > 1 else ():
        q = order // p
        if q > 1 and (p - 1) % q == 0:
            return int(p), int(q)
    return None


def frobenius(order: int) -> FiniteGroup:
    """F_(p q) = C_p : C_q with a faithful action; see `frobenius_parameters`.

    Raises:
        InvalidInput: no p and q have this product.
        TooLarge: above the limit.
    """
    check_order(order, f"F{order}")
    parameters = frobenius_parameters(order)
    if parameters is None:
        raise InvalidInput(
            f"group F{order}", expected="an order p q with p prime and q > 1 dividing p - 1", got=order
        )
    return semidirect_cyclic(*parameters, name=f"F{order}")


def semidihedral(order: int) -> FiniteGroup:
    """SD_(2m) = C_m : C_2 with x -> x^(m/2 - 1), m a power of two.

    Raises:
        InvalidInput: the order is no power of two or less than 16.
        TooLarge: above the limit.
    """
    if order < 16 or order & (order - 1):
        raise InvalidInput(
            f"group SD{order}", expected="an order 16, 32, 64, ... for a semidihedral group", got=order
        )
    return semidirect_cyclic(order // 2, 2, order // 4 - 1, f"SD{order}")


def modular_parameters(order: int) -> tuple[int, int] | None:
    """(p, m) with order = p m and m a power of p, where M_(p m) is neither abelian nor D4; None elsewhere."""
    factors = factorint(order)
    ((p, exponent),) = factors.items() if len(factors) == 1 else ((0, 0),)
    return (int(p), order // int(p)) if exponent >= (4 if p == 2 else 3) else None


def modular(order: int) -> FiniteGroup:
    """M_(p m) = C_m : C_p with x -> x^(1 + m/p), m a power of p: every two subgroups of it permute.

    Raises:
        InvalidInput: the order is no such power of a prime.
        TooLarge: above the limit.
    """
    parameters = modular_parameters(order) if order > 1 else None
    if parameters is None:
        mathieu = order in (11, 12, 22, 23, 24)
        raise InvalidInput(
            f"group M{order}",
            expected="an order 2^n of at least 16 or p^n with n of at least 3, for a modular group",
            got=order,
            hint="the order of the Mathieu groups is above the limit" if mathieu else "",
        )
    p, m = parameters
    return semidirect_cyclic(m, p, 1 + m // p, f"M{order}")


def semidirect_by_text(
    normal: FiniteGroup, acting: FiniteGroup, name: str, action: str | None
) -> FiniteGroup:
    """N:H with its action as text.

    Args:
        normal, acting: N and H.
        name: canonical, without the action.
        action: a multiplier "3", images "a->b,b->ab" per generator of H with ";" between, or None for the
            only action of cyclic groups that may be meant (`semidirect_cyclic`).

    Raises:
        InvalidInput: the action is none, or is missing where there are several.
        TooLarge: |N| |H| is above the limit.
    """
    both_cyclic = all(len(g.generators) <= 1 for g in (normal, acting))
    if both_cyclic and (action is None or action.isdigit()):
        multiplier = None if action is None else int(action[:7])
        full = name if action is None else f"{name}({multiplier})"
        return semidirect_cyclic(normal.order, acting.order, multiplier, full)
    if action is None and normal.order == 1:
        raise InvalidInput(f"semidirect product {name}", expected="more than 1 on the left", got=normal.name)
    if action is None:
        first = letters(normal)[0]
        raise InvalidInput(
            f"semidirect product {name}",
            expected=f"an action in parentheses: the images of {', '.join(letters(normal))} of {normal.name}",
            got="none",
            hint=f"for instance {name}({first}->{first}^-1), or put parentheses around what belongs together",
        )
    parts = re.sub(r"\s+", "", action).split(";")
    full = f"{name}({';'.join(parts)})"
    maps = [_images(part, full) for part in parts]
    try:
        actions = [automorphism(normal, images) for images in maps]
    except InvalidInput as error:
        raise InvalidInput(f"semidirect product {full}", expected=error.expected, got=error.got) from error
    return semidirect_product(normal, acting, actions, full)


def _images(text: str, name: str) -> dict[str, str]:
    """{"a": "b", "b": "ab"} from "a->b,b->ab"; nothing from ""."""
    images: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        letter, arrow, word = part.partition("->")
        if not arrow or not re.fullmatch("[a-z]", letter) or not word or letter in images:
            raise InvalidInput(
                f"semidirect product {name}",
                expected="an action such as a->b,b->ab with every generator at most once",
                got=repr(part),
            )
        images[letter] = word
    return images
