"""Words in the generators of a group: a, b, c, ... with powers, as in "a^2b^-1".

The letters name `group.generators` in order; "1" is the identity. Actions of semidirect products, pictures
and listings of subgroups speak of elements this way.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from string import ascii_lowercase

from stl_algebra.errors import InvalidInput
from stl_algebra.groups.group import FiniteGroup


def letters(group: FiniteGroup) -> tuple[str, ...]:
    """One name per generator: letters, and beyond the 26th "g27", "g28", ... which no word can use."""
    return tuple(
        ascii_lowercase[i] if i < len(ascii_lowercase) else f"g{i + 1}" for i in range(len(group.generators))
    )


@lru_cache(maxsize=64)
def words(group: FiniteGroup) -> tuple[str, ...]:
    """A shortest word for every element, in the generators and their inverses; O(|G| generators)."""
    steps: list[tuple[str, int, int]] = []
    for letter, g in zip(letters(group), group.generators, strict=True):
        steps.append((letter, 1, g))
        if group.element_orders[g] > 2:
            steps.append((letter, -1, int(group.inverse[g])))
    spelled: dict[int, tuple[tuple[str, int], ...]] = {0: ()}
    queue = [0]
    for element in queue:
        for letter, sign, g in steps:
            reached = int(group.table[element, g])
            if reached not in spelled:
                spelled[reached] = (*spelled[element], (letter, sign))
                queue.append(reached)
    return tuple(_joined(spelled[element]) for element in range(group.order))


def _joined(steps: tuple[tuple[str, int], ...]) -> str:
    parts = []
    for letter, run in groupby(steps, key=lambda step: step[0]):
        exponent = sum(sign for _, sign in run)
        parts.append(letter if exponent == 1 else f"{letter}^{exponent}")
    return "".join(parts) or "1"


def element(group: FiniteGroup, word: str) -> int:
    """The element that a word spells.

    Raises:
        InvalidInput: not a word, or a letter without a generator.
    """
    names = letters(group)
    shown = ", ".join(names) or "1"
    if not re.fullmatch(r"1|([a-z](\^-?\d{1,6})?)+", word):
        raise InvalidInput(
            "word", expected=f"a product of powers of {shown}, such as a^2b^-1", got=repr(word)
        )
    value = 0
    for letter, power in re.findall(r"([a-z])(?:\^(-?\d+))?", word):
        if letter not in names:
            raise InvalidInput(
                "word", expected=f"generators of {group.name}: {shown}", got=f"{letter} in {word!r}"
            )
        g = group.generators[names.index(letter)]
        for _ in range(int(power or 1) % int(group.element_orders[g])):
            value = int(group.table[value, g])
    return value
