"""The real Fourier basis of a group algebra: an orthogonal matrix whose rows come in blocks M_s(D).

Coordinates of f in R[G] are `matrix @ f`, f = matrix.T @ coordinates, and the convolution
(f * h)(g) = sum over ab = g of f(a) h(b) becomes, block by block, a product in M_s(D):

    entries(f * h) = sqrt(scale) * entries(f) @ entries(h)

with D the reals, the complex numbers or the quaternions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.names import cached_by_group
from stl_algebra.representations.irreps import RealType
from stl_algebra.representations.real import RealIrrep, real_irreps


@dataclass(frozen=True)
class FourierBlock:
    """Rows start..stop of the basis: a block M_s(D).

    The row of unit u (of D: 1; or 1, i; or 1, i, j, k) and entry (p, q) is start + (u * s + p) * s + q.

    Attributes:
        start, stop: the rows.
        size: s.
        real_type: D.
        scale: |G| / d for real type, |G| / (2 d) else, d the complex degree: see the module's formula.
        name: for example "M_2(C)".
    """

    start: int
    stop: int
    size: int
    real_type: RealType
    scale: float
    name: str

    @property
    def units(self) -> int:
        """Real dimension of D, which is 1, 2 or 4."""
        return {RealType.REAL: 1, RealType.COMPLEX: 2, RealType.QUATERNIONIC: 4}[self.real_type]


@dataclass(frozen=True, eq=False)
class FourierBasis:
    """An orthogonal (|G|, |G|) matrix and its blocks; column g belongs to element g."""

    matrix: Array
    blocks: tuple[FourierBlock, ...]


@cached_by_group(maxsize=64)
def fourier_basis(group: FiniteGroup) -> FourierBasis:
    """The real Fourier basis of R[G], from the matrix coefficients of the real irreps (Peter-Weyl)."""
    rows: list[Array] = []
    blocks: list[FourierBlock] = []
    start = 0
    for irrep in real_irreps(group):
        part = _coefficients(irrep) * np.sqrt(_multiplicity(irrep) / group.order)
        part = part.reshape(group.order, -1).T
        stop = start + part.shape[0]
        scale = group.order / _multiplicity(irrep)
        blocks.append(FourierBlock(start, stop, irrep.size, irrep.real_type, scale, irrep.block_name))
        rows.append(part)
        start = stop
    matrix = np.concatenate(rows)
    matrix.setflags(write=False)
    return FourierBasis(matrix, tuple(blocks))


def _multiplicity(irrep: RealIrrep) -> int:
    """d or 2d: |G| over it is the squared norm of a coefficient function, by Schur orthogonality."""
    return irrep.degree * (1 if irrep.real_type is RealType.REAL else 2)


def _coefficients(irrep: RealIrrep) -> Array:
    """(|G|, units, s, s) real coordinates of the block entries."""
    m, s = irrep.adapted, irrep.size
    if irrep.real_type is RealType.REAL:
        return m.real[:, None]
    if irrep.real_type is RealType.COMPLEX:
        return np.stack([m.real, m.imag], axis=1)
    # [[a, -b*], [b, a*]] is the quaternion q = a + j b: its units 1, i, j, k below match i j = k.
    a, b = m[:, :s, :s], m[:, s:, :s]
    return np.stack([a.real, a.imag, b.real, -b.imag], axis=1)
