"""Exact companions for half precision: nearly least amplification, entries that few bits hold.

The bases of least amplification (`balance`) are irrational, and their entries are rounded in half
precision. Here bases are changed by steps that keep an algorithm exact: a multiple of 1/8 of one row or
column is added to another, or one is doubled or halved, whatever lowers the amplification most, as long as 8
significant bits hold every entry, as many as bfloat16 has. A has one valley, so that ends near its floor.
What does not belong here: the float minimum itself (`balance`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from stl_algebra.algorithms.balance import PARENT, amplification_moments
from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.verify import verify

#: Significant bits of a bfloat16, the leading one included.
BITS = 8
_MULTIPLES = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
#: Steps tried at a time: those along which the amplification falls steepest.
_STEEPEST = 12
_MOST_STEPS = 400
#: Entries of a tile above which the search takes too long; Kronecker products of companions are companions.
_LARGEST_TILE = 64


@lru_cache(maxsize=64)
def companion(algorithm: BilinearAlgorithm, bits: int = BITS) -> BilinearAlgorithm:
    """What floating-point arithmetic should run in an algorithm's place: exact, of low amplification.

    Costs at most a second or two, once. Its provenance names the parent. Algorithms that are not exact,
    with entries of more bits or tiles of more than 64 entries, or that no step improves, come back unchanged.

    Args:
        algorithm: any.
        bits: significant bits that hold every entry of the companion.
    """
    outcome = verify(algorithm)
    t = algorithm.tile
    if not outcome.exact or max(t.x_size, t.w_size, t.y_size) > _LARGEST_TILE:
        return algorithm
    triple = [
        algorithm.encode_x.reshape(-1, t.n, t.k),
        algorithm.encode_w.reshape(-1, t.k, t.m),
        algorithm.decode.T.reshape(-1, t.n, t.m).transpose(0, 2, 1),
    ]
    if not all(_fits(part, bits) for part in triple):
        return algorithm
    value, moments = amplification_moments(triple)
    steps = 0
    while steps < _MOST_STEPS:
        tried = [(amplification_moments(moved), moved) for moved in _steps(triple, moments)]
        tried = [one for one in tried if all(_fits(part, bits) for part in one[1])]
        best = min(tried, key=lambda one: one[0][0], default=None)
        if best is None or best[0][0] >= value * (1 - 1e-9):
            break
        (value, moments), triple = best
        steps += 1
    if not steps:
        return algorithm
    a, b, c = triple
    parent = {"name": algorithm.name, "digest": algorithm.digest, "verified": outcome.message}
    found = BilinearAlgorithm(
        t,
        a.reshape(len(a), -1),
        b.reshape(len(b), -1),
        c.transpose(0, 2, 1).reshape(len(c), -1).T,
        f"{algorithm.name or t.slug}-companion",
        algorithm.provenance.then("changed to dyadic bases of low amplification").with_parameters(
            {PARENT: parent}
        ),
    )
    return found if verify(found).exact else algorithm


def _steps(triple: list[Array], moments: list[Array]) -> Iterator[list[Array]]:
    """The triples after each step that is tried."""
    slopes = []
    for side, moment in enumerate(moments):
        for i, j in zip(*np.nonzero(~np.eye(len(moment), dtype=bool)), strict=True):
            slopes.append((-abs(float(moment[i, j])), side, int(i), int(j)))
    for _, side, i, j in sorted(slopes)[:_STEEPEST]:
        for multiple in _MULTIPLES:
            shear = np.eye(len(moments[side]))
            shear[i, j] = -np.copysign(multiple, moments[side][i, j])
            yield _changed(triple, side, shear)
    for side, moment in enumerate(moments):
        for i in range(len(moment)):
            scaling = np.eye(len(moment))
            scaling[i, i] = 0.5 if moment[i, i] > 0 else 2.0
            yield _changed(triple, side, scaling)


def _changed(triple: list[Array], side: int, matrix: Array) -> list[Array]:
    """The side's basis changed by a matrix whose inverse is dyadic."""
    out = list(triple)
    other = (side + 2) % 3
    out[side] = matrix @ out[side]
    out[other] = out[other] @ np.linalg.inv(matrix)
    return out


def _fits(part: Array, bits: int) -> bool:
    """Every entry is an integer of at most so many bits times a power of two."""
    mantissa = np.frexp(part)[0] * 2.0**bits
    return bool(np.array_equal(mantissa, np.rint(mantissa)))
