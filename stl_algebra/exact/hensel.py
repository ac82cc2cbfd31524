"""Hensel lifting: from an algorithm that is exact modulo 2 to one over the rationals.

If sum_r u_r (x) v_r (x) w_r = T modulo 2^k, corrections 2^k (du, dv, dw) make it hold modulo 2^(k+1) when
J (du, dv, dw) = (T - T^) / 2^k modulo 2, with the Jacobian J of the products modulo 2, the same each time.
After enough steps entries are read as rationals (Kauers & Moosbauer, "Flip graphs for matrix
multiplication", 2022, section 4). Not every algorithm lifts: <4,4,4> has rank 47 modulo 2 only.

An algorithm with a symmetry of odd order has a lift with it wherever it has one: the mean of a solution's
images is a solution. Unknowns that the symmetry makes equal are then one unknown, and equations that it
makes equal one equation, which is 27 times less work for the rotation of the three sides.

What does not belong here: how the algorithm modulo 2 was found (`flip_graph`).
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.verify import plainness, verify
from stl_algebra.errors import InvalidInput

#: Steps; integer arithmetic wraps modulo 2^64 and is exact below that.
_BITS = 40

Integers = NDArray[np.int64]
Bits = NDArray[np.uint8]


def lift(
    algorithm: BilinearAlgorithm,
    tries: int = 4,
    seed: int = 0,
    more: int = 36,
    ties: NDArray[np.int64] | None = None,
) -> BilinearAlgorithm | None:
    """An exact algorithm over the rationals that agrees with `algorithm` modulo 2, or None.

    Costs one elimination modulo 2 of nk km nm equations in r (nk + km + nm) unknowns per try; J has that
    many bytes.

    Args:
        algorithm: integer entries, exact modulo 2 (`verify.verify` says so in `gf2`).
        tries: each leaves other entries free, which stay 0 or 1; the plainest result is taken, entries
            in {-1, 0, 1} at once.
        seed: of that choice.
        more: further tries while what was found has fractions; one in a few lifts is over the integers.
        ties: (r (nk + km + nm),) for each entry of encode_x, encode_w and decode.T, flattened, which unknown
            it is, from 0 without gaps; entries of one are equal and stay so. None: all are unknowns.

    Raises:
        InvalidInput: an entry is no integer, or the algorithm is not exact modulo 2.
    """
    factors = [algorithm.encode_x, algorithm.encode_w, algorithm.decode.T]
    for name, factor in zip(("encode_x", "encode_w", "decode"), factors, strict=True):
        if not np.array_equal(factor, np.rint(factor)) or np.abs(factor).max() > 2**31:
            raise InvalidInput(name, expected="integers", got="other numbers")
    parities = [np.rint(f).astype(np.int64) & 1 for f in factors]
    target = matmul_tensor(algorithm.tile).astype(np.int64)
    if np.any((target - _tensor(parities)) & 1):
        raise InvalidInput("algorithm", expected="one that is exact modulo 2", got="another")
    system = _System(parities, ties)
    best: tuple[tuple[int, float], BilinearAlgorithm] | None = None
    for attempt in range(tries + more):
        if attempt >= tries and (best is None or best[0][0] == 0):
            break
        system.eliminate(np.random.default_rng([seed, attempt]))
        if not system.solvable(target):
            # Whatever is left free.
            return None
        lifted = _lift(parities, target, system)
        if lifted is None:
            continue
        exact = algorithm.with_factors(lifted[0], lifted[1], lifted[2].T, "lifted from GF(2)")
        outcome = verify(exact)
        if not outcome.exact:
            continue
        merit = plainness(exact, outcome)
        if best is None or merit < best[0]:
            best = merit, exact
        if merit == (0, 1.0):
            break
    return best[1] if best else None


def _tensor(factors: list[Integers]) -> Integers:
    """sum_r u_r (x) v_r (x) w_r modulo 2^64."""
    u, v, w = factors
    pairs = (u[:, :, None] * v[:, None, :]).reshape(u.shape[0], -1)
    return (pairs.T @ w).reshape(u.shape[1], v.shape[1], w.shape[1])


def _jacobian(parities: list[Integers]) -> Bits:
    """d T^ / d (u, v, w) modulo 2, (equations, unknowns); unknowns in the order of the flattened factors."""
    u, v, w = (p.astype(np.uint8) for p in parities)
    rank, sides = u.shape[0], (u.shape[1], v.shape[1], w.shape[1])
    blocks = (
        np.einsum("rb,rc,ai->abcri", v, w, np.eye(sides[0], dtype=np.uint8)),
        np.einsum("ra,rc,bi->abcri", u, w, np.eye(sides[1], dtype=np.uint8)),
        np.einsum("ra,rb,ci->abcri", u, v, np.eye(sides[2], dtype=np.uint8)),
    )
    return np.concatenate([b.reshape(np.prod(sides), rank * b.shape[4]) for b in blocks], axis=1)


class _Elimination:
    """Gauss-Jordan modulo 2, done once; solves for any right-hand side afterwards."""

    def __init__(self, matrix: Bits, order: NDArray[np.intp]) -> None:
        self.unknowns = matrix.shape[1]
        packed = np.packbits(matrix[:, order], axis=1)
        used = np.zeros(matrix.shape[0], dtype=bool)
        self.pivots: list[tuple[int, int, NDArray[np.intp]]] = []
        for position, column in enumerate(order):
            bits = (packed[:, position >> 3] >> (7 - (position & 7))) & 1
            free = np.flatnonzero((bits == 1) & ~used)
            if free.size == 0:
                continue
            row = int(free[0])
            bits[row] = 0
            others = np.flatnonzero(bits)
            packed[others] ^= packed[row]
            used[row] = True
            self.pivots.append((row, int(column), others))

    def solve(self, right: Bits) -> Bits | None:
        """A solution whose unknowns without a pivot are 0, or None when there is none."""
        b = right.copy()
        for row, _, others in self.pivots:
            if b[row]:
                b[others] ^= 1
        out = np.zeros(self.unknowns, dtype=np.uint8)
        for row, column, _ in self.pivots:
            out[column] = b[row]
            b[row] = 0
        return None if b.any() else out


class _System:
    """The equations for one bit of the corrections."""

    def __init__(self, parities: list[Integers], ties: NDArray[np.int64] | None) -> None:
        self._parities = parities
        jacobian = _jacobian(parities)
        self._ties = np.arange(jacobian.shape[1]) if ties is None else ties
        self._rows = self._same = np.arange(jacobian.shape[0])
        if ties is not None:
            order = np.argsort(ties, kind="stable")
            starts = np.searchsorted(ties[order], np.arange(ties.max() + 1))
            jacobian = np.bitwise_xor.reduceat(jacobian[:, order], starts, axis=1)
            packed = np.packbits(jacobian, axis=1)
            _, self._rows, self._same = np.unique(packed, axis=0, return_index=True, return_inverse=True)
            jacobian = jacobian[self._rows]
        self._jacobian = jacobian
        self._eliminated: _Elimination | None = None

    def eliminate(self, rng: np.random.Generator) -> None:
        """Choose which unknowns stay free."""
        self._eliminated = _Elimination(self._jacobian, rng.permutation(self._jacobian.shape[1]))

    def solvable(self, target: Integers) -> bool:
        """Whether there is a correction of the first bit, which does not depend on what is free."""
        return self.solve(target - _tensor(self._parities), 1) is not None

    def solve(self, residual: Integers, bit: int) -> Bits | None:
        """Corrections of all entries at this bit, or None."""
        assert self._eliminated is not None
        bits = ((residual.ravel() >> bit) & 1).astype(np.uint8)
        right = bits[self._rows]
        if np.any(right[self._same.ravel()] != bits):
            # Two equations with one left-hand side contradict each other.
            return None
        step = self._eliminated.solve(right)
        return None if step is None else step[self._ties]


def _lift(parities: list[Integers], target: Integers, system: _System) -> list[NDArray[np.float64]] | None:
    factors = [p.copy() for p in parities]
    ends = np.cumsum([f.size for f in factors])[:-1]
    for bit in range(1, _BITS):
        residual = target - _tensor(factors)
        if not residual.any():
            break
        step = system.solve(residual, bit)
        if step is None:
            return None
        for factor, part in zip(factors, np.split(step.astype(np.int64), ends), strict=True):
            factor += part.reshape(factor.shape) << bit
    out = []
    for factor in factors:
        values, places = np.unique(factor, return_inverse=True)
        rationals = [_rational(int(v), 1 << _BITS) for v in values]
        if any(r is None for r in rationals):
            return None
        out.append(np.array([float(r) for r in rationals if r is not None])[places].reshape(factor.shape))
    return out


def _rational(value: int, modulus: int) -> Fraction | None:
    """p/q = value modulo `modulus`, p^2 and q^2 below modulus / 2, by Euclid's algorithm; None if none."""
    previous, current = modulus, value % modulus
    before, factor = 0, 1
    while 2 * current * current >= modulus:
        quotient = previous // current
        previous, current = current, previous - quotient * current
        before, factor = factor, before - quotient * factor
    if 2 * factor * factor >= modulus or factor % 2 == 0:
        return None
    return Fraction(current, factor)
