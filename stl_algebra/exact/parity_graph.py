"""Random walks in the flip graph modulo 2, on bit masks: the inner loop, several million flips a second.

Modulo 2 two products that share a vector are a (x) b (x) c + a (x) b' (x) c' =
a (x) (b + b') (x) c + a (x) b' (x) (c' + c), every flip is allowed, and a vector is one mask. What does not
belong here: algorithms, arguments and what a walk means (`flip_graph`), the list that flips are drawn from
(`equal_pairs`), walks with a symmetry (`cyclic_graph`).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from stl_algebra.exact.equal_pairs import all_pairs, draw_flip, renew

#: (3, capacity) masks of the three vectors of each product, one row a mode.
Vectors = NDArray[np.int32]


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
        if counts.sum() == 0 or step - last_change > plus_after:
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
        _, b, c, i, j = draw_flip(pairs, counts, rng)
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
