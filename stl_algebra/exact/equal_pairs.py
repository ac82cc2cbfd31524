"""The list of pairs of equal vectors, from which walks in flip graphs draw their flips, kept up to date.

What does not belong here: what a flip does to the vectors (`flip_graph`, `parity_graph`, `cyclic_graph`).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

#: One number a vector, of 32 or 64 bits; equal vectors have equal ones.
Masks = NDArray[np.signedinteger]
Pairs = NDArray[np.int32]


@numba.njit(cache=True)
def _equal_to(masks: Masks, size: int, value: int) -> int:
    """How many of the first `size` masks are this one; without a branch, so that it is vectorised."""
    count = np.int32(0)
    for place in range(size):
        count += np.int32(masks[place] == value)
    return int(count)


@numba.njit(cache=True)
def all_pairs(masks: Masks, size: int, pairs: Pairs, group: int) -> int:
    """Write the pairs of equal masks; how many there are.

    Args:
        masks: of which the first `size` count.
        pairs: (capacity, 2), places of equal masks.
        group: masks in groups of so many are not compared with each other.
    """
    count = 0
    for one in range(size):
        for other in range(group * (one // group)):
            if masks[one] == masks[other]:
                pairs[count, 0] = one
                pairs[count, 1] = other
                count += 1
    return count


@numba.njit(cache=True)
def renew(masks: Masks, size: int, pairs: Pairs, count: int, place: int, group: int) -> int:
    """Bring the first `count` pairs up to date after one mask has changed; how many there are then."""
    p = 0
    while p < count:
        if pairs[p, 0] == place or pairs[p, 1] == place:
            count -= 1
            pairs[p, 0] = pairs[count, 0]
            pairs[p, 1] = pairs[count, 1]
        else:
            p += 1
    value = masks[place]
    # Most masks have no equal; to count first takes a few vector instructions.
    if _equal_to(masks, size, value) > 1:
        for other in range(size):
            if masks[other] == value and other // group != place // group:
                pairs[count, 0] = place
                pairs[count, 1] = other
                count += 1
    return count


@numba.njit(cache=True)
def draw_flip(
    pairs: NDArray[np.int32], counts: NDArray[np.int64], rng: np.random.Generator
) -> tuple[int, int, int, int, int]:
    """A pair of all modes' and what to do with it, uniformly.

    Args:
        pairs: (3, capacity, 2), a list for each mode.
        counts: (3,), how long they are; not all zero.
        rng: one number of it is used.

    Returns:
        (a, b, c, i, j): products i and j have equal vectors of mode a; the flip adds that of j to that of i
        in mode b, and changes j in mode c.
    """
    chosen = int(4 * counts.sum() * rng.random())
    coin, chosen = chosen & 3, chosen >> 2
    a = 0
    while chosen >= counts[a]:
        chosen -= counts[a]
        a += 1
    i, j = pairs[a, chosen, 0], pairs[a, chosen, 1]
    if coin & 1:
        i, j = j, i
    b = (a + 1 + (coin >> 1)) % 3
    return a, b, 3 - a - b, i, j
