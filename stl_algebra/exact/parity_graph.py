"""Random walks in the flip graph modulo 2, on bit masks: the inner loop, several million flips a second.

Modulo 2 two products that share a vector are a (x) b (x) c + a (x) b' (x) c' =
a (x) (b + b') (x) c + a (x) b' (x) (c' + c), every flip is allowed, and a vector is one mask. The list of
pairs of equal masks, from which flips are drawn, serves `cyclic_graph` too. What does not belong here:
algorithms, arguments and what a walk means (`flip_graph`), walks with a symmetry (`cyclic_graph`).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

#: (3, capacity) masks of the three vectors of each product, one row a mode.
Vectors = NDArray[np.int32]
#: int32 or int64, one a vector.
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
def _remove_zeros(vectors: Vectors, rank: int) -> int:
    """Move the last product into the place of each product with a zero vector; the new rank."""
    row = 0
    while row < rank:
        if vectors[0, row] == 0 or vectors[1, row] == 0 or vectors[2, row] == 0:
            rank -= 1
            vectors[:, row] = vectors[:, rank]
        else:
            row += 1
    return rank


@numba.njit(cache=True)
def _plus(vectors: Vectors, rank: int, rng: np.random.Generator) -> bool:
    """a b c + a' b' c' = a (b + b') c + a b' (c + c') + (a + a') b' c' modulo 2, in random order of modes."""
    for _ in range(1000):
        i, j = int(rank * rng.random()), int(rank * rng.random())
        if i == j:
            continue
        a = int(3 * rng.random())
        b = (a + 1 + int(2 * rng.random())) % 3
        c = 3 - a - b
        if vectors[a, i] == vectors[a, j] or vectors[b, i] == vectors[b, j] or vectors[c, i] == vectors[c, j]:
            continue
        vectors[a, rank] = vectors[a, i]
        vectors[b, rank] = vectors[b, j]
        vectors[c, rank] = vectors[c, i] ^ vectors[c, j]
        vectors[b, i] ^= vectors[b, j]
        vectors[a, j] ^= vectors[a, i]
        return True
    return False


@numba.njit(cache=True)
def walk_masks(
    vectors: Vectors,
    rank: int,
    target_rank: int,
    steps: int,
    plus_after: int,
    slack: int,
    rng: np.random.Generator,
) -> tuple[Vectors, int, int, int]:
    """A walk from the first `rank` products, as `flip_graph.walk` describes it.

    Returns:
        The products of lowest rank that were met, the last such ones; the rank, the steps that were tried,
        the products that were added.
    """
    capacity = vectors.shape[1]
    pairs = np.zeros((3, capacity * capacity // 2, 2), dtype=np.int32)
    counts = np.zeros(3, dtype=np.int64)
    for mode in range(3):
        counts[mode] = all_pairs(vectors[mode], rank, pairs[mode], 1)
    best, best_rank = vectors.copy(), rank
    last_change, pluses, step = 0, 0, 0
    while step < steps and best_rank > target_rank:
        step += 1
        total = counts[0] + counts[1] + counts[2]
        if total == 0 or step - last_change > plus_after:
            last_change = step
            if rank >= best_rank + slack:
                # Too far up for too long: begin again at the best.
                vectors[:] = best
                rank = best_rank
            if _plus(vectors, rank, rng):
                rank += 1
                pluses += 1
            for mode in range(3):
                counts[mode] = all_pairs(vectors[mode], rank, pairs[mode], 1)
            continue
        chosen = int(4 * total * rng.random())
        coin, chosen = chosen & 3, chosen >> 2
        a = 0
        while chosen >= counts[a]:
            chosen -= counts[a]
            a += 1
        i, j = pairs[a, chosen, 0], pairs[a, chosen, 1]
        if coin & 1:
            i, j = j, i
        b = (a + 1 + (coin >> 1)) % 3
        c = 3 - a - b
        vectors[b, i] ^= vectors[b, j]
        vectors[c, j] ^= vectors[c, i]
        if vectors[b, i] == 0 or vectors[c, j] == 0:
            rank = _remove_zeros(vectors, rank)
            for mode in range(3):
                counts[mode] = all_pairs(vectors[mode], rank, pairs[mode], 1)
            last_change = step
            if rank <= best_rank:
                best[:], best_rank = vectors, rank
        else:
            counts[b] = renew(vectors[b], rank, pairs[b], counts[b], i, 1)
            counts[c] = renew(vectors[c], rank, pairs[c], counts[c], j, 1)
    return best, best_rank, step, pluses
