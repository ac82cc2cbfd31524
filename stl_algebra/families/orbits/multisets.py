"""Multisets of items whose sizes add up to a total: counted, listed and drawn.

Representations of a dimension are multisets of irreps, decompositions of a rank are multisets of orbits.
What does not belong here: what the items are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

Multiset = tuple[int, ...]


def _counts(sizes: Sequence[int], total: int) -> list[list[int]]:
    """counts[i][s]: multisets of the items i, i+1, ... of total size s."""
    counts = [[0] * (total + 1) for _ in range(len(sizes) + 1)]
    counts[-1][0] = 1
    for item in reversed(range(len(sizes))):
        for size in range(total + 1):
            with_item = counts[item][size - sizes[item]] if size >= sizes[item] else 0
            counts[item][size] = counts[item + 1][size] + with_item
    return counts


def count_multisets(sizes: Sequence[int], total: int) -> int:
    """How many multisets of items with these positive sizes have the total; len(sizes) * total steps."""
    return _counts(sizes, total)[0][total]


def multisets(sizes: Sequence[int], total: int) -> Iterator[Multiset]:
    """All of them, each as its sorted item numbers with repetition, in lexicographic order."""
    counts = _counts(sizes, total)

    def continued(item: int, left: int) -> Iterator[Multiset]:
        if left == 0:
            yield ()
            return
        for chosen in range(item, len(sizes)):
            if sizes[chosen] <= left and counts[chosen][left - sizes[chosen]]:
                for rest in continued(chosen, left - sizes[chosen]):
                    yield (chosen, *rest)

    yield from continued(0, total)


def multiset_at(sizes: Sequence[int], total: int, index: int) -> Multiset:
    """The multiset that `multisets` yields at that position, without listing those before it.

    Raises:
        IndexError: there are not so many.
    """
    counts = _counts(sizes, total)
    if not 0 <= index < counts[0][total]:
        raise IndexError(index)
    item, left = 0, total
    chosen: list[int] = []
    while left:
        again = counts[item][left - sizes[item]] if sizes[item] <= left else 0
        if index < again:
            chosen.append(item)
            left -= sizes[item]
        else:
            index -= again
            item += 1
    return tuple(chosen)


def draw_early(sizes: Sequence[int], total: int, rng: np.random.Generator) -> Multiset | None:
    """One of them with log-uniform position, so that early ones are likely; None when there is none."""
    count = count_multisets(sizes, total)
    if not count:
        return None
    # Logarithms, because the count may be too large for a float.
    position = int(math.exp(min(rng.random() * math.log(count), 700.0)))
    return multiset_at(sizes, total, min(position, count) - 1)
