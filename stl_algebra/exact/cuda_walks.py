"""Walks of `cyclic_graph` on a CUDA GPU, one in each thread, tens of thousands at once.

A thread keeps its algorithm in local memory, where entries of the same place in all threads of a warp lie
side by side. It keeps no list of equal vectors, which differ in length: it draws a vector, reads all others,
as all threads do at the same time, and flips where one was equal. A step here is such a draw, of which about
half find no equal vector. The same arguments give the same walks on any GPU.

What does not belong here: what a flip is (`cyclic_graph`), the search made of walks and where they begin
(`cyclic_walks`).
"""

# numba.cuda has no types that mypy would know.
# mypy: disable-error-code="attr-defined,no-untyped-call,no-untyped-def,arg-type"
from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import cuda
from numpy.typing import NDArray

from stl_algebra.errors import TooLarge, Unavailable
from stl_algebra.exact.cyclic_graph import NARROW, Invariant, collapsed, flip, make_three, tidy

_THREADS = 128
#: Sizes of a thread's memory are multiples of it.
_GRAIN = 16
#: Vectors of an algorithm: a place is drawn in the lowest bits of a key, 8 of them where they do.
_FEW, _MOST = 256, 1024


def walk_on_gpu(
    starts: Sequence[Invariant],
    *,
    target_rank: int,
    steps: int,
    plus_after: int,
    slack: int,
    seeds: Sequence[int] | NDArray[np.int64],
) -> list[Invariant]:
    """What a walk from each of these ends with: as `cyclic_graph.walk`, by other random numbers.

    Args:
        starts: of one side.
        target_rank: a walk stops as soon as its rank is at most this.
        steps: draws of a vector in each.
        plus_after: draws without a lower rank after which an orbit is added.
        slack: how many orbits above its best one a walk may go.
        seeds: of the walks.

    Raises:
        Unavailable: there is no GPU that numba can use.
        TooLarge: an algorithm of more than 1024 vectors.
    """
    check_device()
    side = starts[0].side
    capacity = _ample(max(start.rank for start in starts) // 3 + slack + 2)
    if 3 * capacity > _MOST:
        raise TooLarge(f"walks on a GPU hold {_MOST} vectors, one of these needs {3 * capacity}")
    dtype = np.int32 if side * side <= NARROW else np.int64
    flat = np.zeros((len(starts), 3 * capacity), dtype)
    most_fixed = _ample(capacity + max(start.fixed.size for start in starts))
    fixed = np.zeros((len(starts), most_fixed), dtype)
    sizes = np.zeros((len(starts), 2), np.int64)
    for row, start in enumerate(starts):
        flat[row, : start.orbits.size] = start.orbits.T.ravel()
        fixed[row, : start.fixed.size] = start.fixed
        sizes[row] = start.orbits.shape[1], start.fixed.size
    states = np.array([_state(int(seed)) for seed in seeds], np.int64)
    kept = [cuda.to_device(array) for array in (flat, fixed, sizes)]
    kernel = _kernel(flat.shape[1], fixed.shape[1], numba.from_dtype(np.dtype(dtype)))
    tuning = (target_rank, np.int32(plus_after), slack)
    kernel[-(-len(starts) // _THREADS), _THREADS](*kept, cuda.to_device(states), *tuning, steps)
    flat, fixed, sizes = (array.copy_to_host() for array in kept)
    return [
        Invariant(
            side,
            np.ascontiguousarray(flat[row, : 3 * many].reshape(-1, 3).T.astype(np.int64)),
            fixed[row, :f].astype(np.int64),
        )
        for row, (many, f) in enumerate(sizes.tolist())
    ]


def _ample(size: int) -> int:
    """At least as much: kernels are compiled for sizes, and few should differ."""
    return -(-size // _GRAIN) * _GRAIN


def _state(seed: int) -> int:
    """Where xorshift begins: not 0, where it would stay, and far apart for neighbouring seeds."""
    return (2 * seed + 1) * 0x9E3779B97F4A7C15 % 2**63


def check_device() -> None:
    """Raises Unavailable where there is no GPU that numba can use."""
    if not cuda.is_available():
        raise Unavailable("walks on a GPU need a CUDA device and its toolkit (the package numba-cuda)")


@cache
def _kernel(vectors: int, most_fixed: int, dtype: Any) -> Any:
    """The kernel for algorithms of so many vectors and fixed products."""
    low = (_FEW if vectors <= _FEW else _MOST) - 1

    @cuda.jit
    def walks(best, best_fixed, best_sizes, states, target, plus_after, slack, steps):
        walk = cuda.grid(1)
        if walk >= best.shape[0]:
            return
        flat = cuda.local.array(vectors, dtype)
        fixed = cuda.local.array(most_fixed, dtype)
        sizes = cuda.local.array(2, numba.int64)
        _copy(best[walk], flat, vectors)
        _copy(best_fixed[walk], fixed, most_fixed)
        _copy(best_sizes[walk], sizes, 2)
        state = np.uint64(states[walk])
        best_rank, quiet, size = 3 * sizes[0] + sizes[1], np.int32(0), np.int32(3 * sizes[0])
        for _ in range(steps):
            if best_rank <= target:
                break
            state = _next(state)
            quiet += np.int32(1)
            if quiet > plus_after:
                quiet = np.int32(0)
                if 3 * sizes[0] + sizes[1] >= best_rank + 3 * slack:
                    # Too far up for too long: begin again at the best.
                    _copy(best[walk], flat, vectors)
                    _copy(best_fixed[walk], fixed, most_fixed)
                    _copy(best_sizes[walk], sizes, 2)
                i, j = (
                    _below(state, sizes[0]),
                    np.int64((state & np.uint64(0x7FFFFFFF)) % np.uint64(sizes[0])),
                )
                state = _next(state)
                p, q = _below(state, 3), np.int64((state & np.uint64(0x7FFFFFFF)) % np.uint64(3))
                if i != j and make_three(flat, sizes[0], i, j, p, q):
                    sizes[0] += 1
                tidy(flat, fixed, sizes)
                size = np.int32(3 * sizes[0])
                continue
            one = _below(state, size)
            other = _equal(flat, size, one, state, low)
            if other < 0:
                continue
            flip(flat, one, other, np.int64(1 + ((state >> np.uint64(32)) & np.uint64(1))))
            if collapsed(flat, one // 3) or collapsed(flat, other // 3):
                tidy(flat, fixed, sizes)
                size = np.int32(3 * sizes[0])
                quiet = np.int32(0)
                rank = 3 * sizes[0] + sizes[1]
                if rank <= best_rank:
                    _copy(flat, best[walk], vectors)
                    _copy(fixed, best_fixed[walk], most_fixed)
                    _copy(sizes, best_sizes[walk], 2)
                    best_rank = rank

    return walks


@cuda.jit(device=True)
def _copy(source, target, size):
    for place in range(size):
        target[place] = source[place]


@cuda.jit(device=True)
def _next(state):
    """Marsaglia's xorshift of 64 bits."""
    state ^= state << np.uint64(13)
    state ^= state >> np.uint64(7)
    return state ^ (state << np.uint64(17))


@cuda.jit(device=True)
def _below(state, bound):
    """A number below `bound`, from the highest 31 bits."""
    return np.int64(((state >> np.uint64(33)) * np.uint64(bound)) >> np.uint64(31))


@cuda.jit(device=True)
def _equal(flat, size, one, state, low):
    """A place in another orbit with the vector at `one`, uniformly; -1 where there is none.

    Of the equal ones that with the largest key is taken, so that there is no branch.
    """
    value, first = flat[one], 3 * (one // 3)
    a, b, c = flat[first], flat[first + 1], flat[first + 2]
    # No vector is zero: those of its own orbit are out of the way.
    flat[first], flat[first + 1], flat[first + 2] = 0, 0, 0
    odd = (state & np.uint64(0x7FFFFFFF)) | np.uint64(1)
    largest, high = np.uint32(0), np.uint64(0x7FFFFFFF - low)
    # Unsigned numbers of this width index without a look whether they are negative.
    place, end = np.uint64(0), np.uint64(size)
    while place < end:
        key = np.uint32(((place * odd) & high) | place | np.uint64(0x80000000))
        largest = max(largest, key if flat[place] == value else np.uint32(0))
        place += np.uint64(1)
    flat[first], flat[first + 1], flat[first + 2] = a, b, c
    return np.int64(largest & np.uint32(low)) if largest > 0 else np.int64(-1)
