"""Random walks in the flip graph, over the integers with entries -1, 0, 1 or modulo 2: exact at every step.

Two products that share a vector can be rewritten, with s = 1 or -1,

    a (x) b (x) c + a (x) b' (x) c' = a (x) (b + s b') (x) c + a (x) b' (x) (c' - s c)

and when a vector becomes zero the rank has fallen by one (Kauers & Moosbauer, "Flip graphs for
matrix multiplication", 2022). A walk that finds nothing for long is moved on by a plus transition, which
adds a product (Arai, Ichikawa & Hukushima, "Adaptive flip graph algorithm for matrix multiplication", 2024).
Over the integers entries are kept in {-1, 0, 1} and the result is final; modulo 2 every flip is allowed,
walks are many times shorter, and the result has to be lifted (`hensel`).

What does not belong here: the inner loop modulo 2 (`parity_graph`), floats, which start to take for a format,
and the proof of exactness, which is `verify.verify` and does not trust this file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.equal_pairs import all_pairs, draw_flip, renew
from stl_algebra.exact.parity_graph import walk_masks

#: A vector is two bit masks of 31 bits: the format's largest side product.
LARGEST_VECTOR = 31

Masks = NDArray[np.int64]


@dataclass(frozen=True)
class Walk:
    """Outcome of `walk`.

    Attributes:
        algorithm: of the lowest rank that was met; entries in {-1, 0, 1}, or {0, 1} modulo 2.
        steps: flips that were tried.
        plus_transitions: products that were added on purpose.
    """

    algorithm: BilinearAlgorithm
    steps: int
    plus_transitions: int


def walk(
    algorithm: BilinearAlgorithm,
    *,
    target_rank: int = 0,
    steps: int = 10_000_000,
    plus_after: int = 50_000,
    slack: int = 2,
    seed: int = 0,
    modulo_2: bool = False,
) -> Walk:
    """Walk from `algorithm` towards lower rank; the same arguments give the same walk.

    Costs some tenths of a microsecond per step, and some seconds once for compilation.

    Args:
        algorithm: with entries in {-1, 0, 1}; what tensor it computes does not matter and never changes.
        target_rank: stop as soon as the rank is at most this.
        steps: flips to try.
        plus_after: steps without a lower rank after which a product is added.
        slack: how far above the lowest rank met so far the walk may go by adding products.
        seed: of the walk.
        modulo_2: walk modulo 2; then any integers are allowed, and of them only parities matter.

    Raises:
        InvalidInput: an entry is not in {-1, 0, 1} (modulo 2: no integer), a vector has more than 31
            entries, or a number is negative.
    """
    for name, value, least in (
        ("steps", steps, 0),
        ("plus_after", plus_after, 1),
        ("slack", slack, 0),
        ("seed", seed, 0),
    ):
        if value < least:
            raise InvalidInput(name, expected=f"at least {least}", got=value)
    vectors = [algorithm.encode_x, algorithm.encode_w, algorithm.decode.T]
    for name, factor in zip(("encode_x", "encode_w", "decode"), vectors, strict=True):
        if not (np.array_equal(factor, np.rint(factor)) and (modulo_2 or np.abs(factor).max() <= 1)):
            expected = "integers" if modulo_2 else "entries -1, 0 and 1"
            raise InvalidInput(name, expected=expected, got="others")
        if factor.shape[1] > LARGEST_VECTOR:
            raise InvalidInput(
                name, expected=f"at most {LARGEST_VECTOR} entries per product", got=factor.shape[1]
            )
    if modulo_2:
        vectors = [np.mod(factor, 2.0) for factor in vectors]
    alive = np.all([factor.any(axis=1) for factor in vectors], axis=0)
    vectors = [factor[alive] for factor in vectors]
    rank = int(alive.sum())
    masks = np.zeros((2, 3, rank + slack + 1), dtype=np.int64)
    for mode, factor in enumerate(vectors):
        weights = 1 << np.arange(factor.shape[1], dtype=np.int64)
        masks[0, mode, :rank] = (factor > 0) @ weights
        masks[1, mode, :rank] = (factor < 0) @ weights
    rng = np.random.default_rng(seed)
    if modulo_2:
        narrow = masks[0].astype(np.int32)
        found, best_rank, used, pluses = walk_masks(narrow, rank, target_rank, steps, plus_after, slack, rng)
        best = np.stack([found.astype(np.int64), np.zeros_like(masks[1])])
    else:
        best, best_rank, used, pluses = _walk(masks, rank, target_rank, steps, plus_after, slack, rng)
    unpacked = [
        unpack(best[0, mode, :best_rank], width) - unpack(best[1, mode, :best_rank], width)
        for mode, width in enumerate(factor.shape[1] for factor in vectors)
    ]
    steps_made = f"flip graph walk{' modulo 2' * modulo_2}, seed {seed}"
    found_algorithm = algorithm.with_factors(unpacked[0], unpacked[1], unpacked[2].T, steps_made)
    return Walk(found_algorithm, int(used), int(pluses))


def unpack(masks: Masks, width: int) -> NDArray[np.float64]:
    """Masks to rows of `width` entries 0 and 1, lowest bit first."""
    bits: NDArray[np.float64] = ((masks[:, None] >> np.arange(width)) & 1).astype(np.float64)
    return bits


@numba.njit(cache=True)
def _key(positive: int, negative: int) -> int:
    """The same number for a vector and its negative; 0 for the zero vector."""
    support = positive | negative
    lowest = support & -support
    if positive & lowest:
        return positive | (negative << 31)
    return negative | (positive << 31)


@numba.njit(cache=True)
def _rebuild(masks: Masks, keys: Masks, pairs: NDArray[np.int32], counts: Masks, rank: int) -> None:
    for mode in range(3):
        for row in range(rank):
            keys[mode, row] = _key(masks[0, mode, row], masks[1, mode, row])
        counts[mode] = all_pairs(keys[mode], rank, pairs[mode], 1)


@numba.njit(cache=True)
def _negate(masks: Masks, mode: int, row: int) -> None:
    positive = masks[0, mode, row]
    masks[0, mode, row] = masks[1, mode, row]
    masks[1, mode, row] = positive


@numba.njit(cache=True)
def _remove_zeros(masks: Masks, rank: int) -> int:
    """Move the last product into the place of each product with a zero vector; the new rank."""
    row = 0
    while row < rank:
        zero = False
        for mode in range(3):
            zero |= (masks[0, mode, row] | masks[1, mode, row]) == 0
        if zero:
            rank -= 1
            masks[:, :, row] = masks[:, :, rank]
        else:
            row += 1
    return rank


@numba.njit(cache=True)
def _sum(masks: Masks, mode: int, first: int, second: int, negative: bool) -> tuple[int, int, bool]:
    """Masks of v_first + v_second, or their difference; False when an entry leaves {-1, 0, 1}."""
    ip, im = masks[0, mode, first], masks[1, mode, first]
    jp, jm = masks[0, mode, second], masks[1, mode, second]
    if negative:
        jp, jm = jm, jp
    fits = ((ip & jp) | (im & jm)) == 0
    return (ip | jp) & ~(im | jm), (im | jm) & ~(ip | jp), fits


@numba.njit(cache=True)
def _plus(masks: Masks, rank: int, rng: np.random.Generator) -> bool:
    """a1 b1 c1 + a2 b2 c2 = a1 (b1 + b2) c1 + a1 b2 (c2 - c1) + (a2 - a1) b2 c2, in random order of modes."""
    for _ in range(1000):
        i, j = int(rng.integers(0, rank)), int(rng.integers(0, rank))
        if i == j:
            continue
        a = int(rng.integers(0, 3))
        b = (a + 1 + int(rng.integers(0, 2))) % 3
        c = 3 - a - b
        sums = (_sum(masks, b, i, j, False), _sum(masks, c, j, i, True), _sum(masks, a, j, i, True))
        usable = True
        for s in range(3):
            usable &= sums[s][2] and (sums[s][0] | sums[s][1]) != 0
        if not usable:
            continue
        masks[:, a, rank] = masks[:, a, i]
        masks[:, b, rank] = masks[:, b, j]
        masks[0, c, rank], masks[1, c, rank] = sums[1][0], sums[1][1]
        masks[0, b, i], masks[1, b, i] = sums[0][0], sums[0][1]
        masks[0, a, j], masks[1, a, j] = sums[2][0], sums[2][1]
        return True
    return False


@numba.njit(cache=True)
def _walk(
    masks: Masks,
    rank: int,
    target_rank: int,
    steps: int,
    plus_after: int,
    slack: int,
    rng: np.random.Generator,
) -> tuple[Masks, int, int, int]:
    capacity = masks.shape[2]
    keys = np.zeros((3, capacity), dtype=np.int64)
    pairs = np.zeros((3, capacity * capacity // 2, 2), dtype=np.int32)
    counts = np.zeros(3, dtype=np.int64)
    _rebuild(masks, keys, pairs, counts, rank)
    best, best_rank = masks.copy(), rank
    last_change, pluses, step = 0, 0, 0
    while step < steps and best_rank > target_rank:
        step += 1
        if counts.sum() == 0 or step - last_change > plus_after:
            last_change = step
            if rank >= best_rank + slack:
                # Too far up for too long: begin again at the best.
                masks[:] = best
                rank = best_rank
            if _plus(masks, rank, rng):
                rank += 1
                pluses += 1
            _rebuild(masks, keys, pairs, counts, rank)
            continue
        a, b, c, i, j = draw_flip(pairs, counts, rng)
        if masks[0, a, i] != masks[0, a, j]:
            _negate(masks, a, j)
            _negate(masks, c, j)
        # b_i + s b_j and c_j - s c_i; s = -1 when s = 1 leaves {-1, 0, 1}.
        bp, bm, fits_b = _sum(masks, b, i, j, False)
        cp, cm, fits_c = _sum(masks, c, j, i, True)
        if not (fits_b and fits_c):
            bp, bm, fits_b = _sum(masks, b, i, j, True)
            cp, cm, fits_c = _sum(masks, c, j, i, False)
            if not (fits_b and fits_c):
                continue
        masks[0, b, i], masks[1, b, i] = bp, bm
        masks[0, c, j], masks[1, c, j] = cp, cm
        keys[b, i] = _key(masks[0, b, i], masks[1, b, i])
        keys[c, j] = _key(masks[0, c, j], masks[1, c, j])
        if keys[b, i] == 0 or keys[c, j] == 0:
            rank = _remove_zeros(masks, rank)
            _rebuild(masks, keys, pairs, counts, rank)
            last_change = step
            if rank < best_rank:
                best, best_rank = masks.copy(), rank
        else:
            counts[b] = renew(keys[b], rank, pairs[b], counts[b], i, 1)
            counts[c] = renew(keys[c], rank, pairs[c], counts[c], j, 1)
    return best, best_rank, step, pluses
