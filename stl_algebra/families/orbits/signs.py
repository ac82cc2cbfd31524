"""Signs of a permutation of products, as a linear system over GF(2).

A symmetry takes (A_i, B_i, C_i) to (a_i A_p(i), b_i B_p(i), c_i C_p(i)) with signs of product 1, and keeps
tr(A_i B_j C_k): wherever that is not zero, a_i b_j c_k is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.groups.group import IntArray

#: Equations drawn at random before all are looked at.
_SAMPLE = 4000


@dataclass(frozen=True, eq=False)
class SignSystem:
    """a_i + b_j + c_k = known for some (i, j, k), and a_i + b_i + c_i = 0, modulo 2.

    Attributes:
        rank: number of products r.
        where: (e, 3) the (i, j, k) of independent equations.
    """

    rank: int
    where: IntArray

    @classmethod
    def of(cls, nonzero: NDArray[np.bool_]) -> SignSystem:
        """From the pattern (r, r, r) of trilinear values that do not vanish."""
        rank = len(nonzero)
        everywhere = np.argwhere(nonzero)
        shuffled = np.random.default_rng(0).permutation(len(everywhere))
        echelon: dict[int, int] = {}
        for i in range(rank):
            _insert(echelon, _equation(rank, (i, i, i)))
        kept = []
        # Flipping A and B of all products, or B and C, solves the system without a right-hand side.
        for count, number in enumerate(shuffled.tolist()):
            triple = everywhere[number]
            if _insert(echelon, _equation(rank, triple.tolist())):
                kept.append(triple)
            if count > _SAMPLE and len(echelon) == 3 * rank - 2:
                break
        return cls(rank, np.array(kept, dtype=np.int64).reshape(-1, 3))

    def solve(self, negative: NDArray[np.bool_]) -> Iterator[list[Array]]:
        """Signs (a, b, c), each (r,): one solution, then it times each independent one without right-hand
        side.

        Signs that flip two whole modes are left out. Nothing when there is no solution.

        Args:
            negative: (r, r, r) where the value changes its sign.
        """
        rank, top = self.rank, 3 * self.rank
        echelon: dict[int, int] = {}
        equations = [_equation(rank, (i, i, i)) for i in range(rank)]
        for triple in self.where.tolist():
            equations.append(_equation(rank, triple) | (int(negative[tuple(triple)]) << top))
        for equation in equations:
            _insert(echelon, equation)
        solution = _back(echelon, top, 1 << top)
        flips: dict[int, int] = {}
        yield _signs(solution, rank)
        for flip in ([*range(rank), *range(rank, 2 * rank)], [*range(rank, top)]):
            _reduce_into(flips, sum(1 << i for i in flip))
        for free in (i for i in range(top) if i not in echelon):
            kernel = _back(echelon, top, 1 << free)
            if _reduce_into(flips, kernel):
                yield _signs(solution ^ kernel, rank)


def _equation(rank: int, triple: tuple[int, int, int] | list[int]) -> int:
    i, j, k = triple
    return (1 << i) ^ (1 << (rank + j)) ^ (1 << (2 * rank + k))


def _insert(echelon: dict[int, int], equation: int) -> bool:
    """Reduce by the pivots, lowest bits, and keep what is left; whether it was independent."""
    while equation:
        pivot = (equation & -equation).bit_length() - 1
        if pivot not in echelon:
            echelon[pivot] = equation
            return True
        equation ^= echelon[pivot]
    return False


def _reduce_into(found: dict[int, int], vector: int) -> bool:
    return _insert(found, vector) if vector else False


def _back(echelon: dict[int, int], top: int, given: int) -> int:
    """The bits of the unknowns below `top` that solve the pivots' equations, free ones as in `given`."""
    values = given
    for pivot in range(top - 1, -1, -1):
        if pivot in echelon:
            parity = (echelon[pivot] & values & ~(1 << pivot)).bit_count() & 1
            values = (values & ~(1 << pivot)) | (parity << pivot)
    return values & ((1 << top) - 1)


def _signs(bits: int, rank: int) -> list[Array]:
    flat = np.array([1.0 - 2.0 * ((bits >> i) & 1) for i in range(3 * rank)])
    return [flat[:rank], flat[rank : 2 * rank], flat[2 * rank :]]
