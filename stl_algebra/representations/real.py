"""Irreducible orthogonal representations over the real numbers.

A complex irrep of real type is conjugate to real matrices; one of complex type and its conjugate make one
real irrep of twice the degree; one of quaternionic type is brought to the form [[a, -b*], [b, a*]] and
read as quaternion matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.names import cached_by_group
from stl_algebra.representations.irreps import ComplexArray, Irrep, RealType, complex_irreps


@dataclass(frozen=True, eq=False)
class RealIrrep:
    """A real irrep and the block M_s(D) of the group algebra that it spans.

    Attributes:
        real_type: D is the reals, the complex numbers or the quaternions.
        size: s, so that the block has s^2 entries in D: d for real and complex type, d/2 for quaternionic.
        adapted: (|G|, d, d) the complex irrep in adapted form: real matrices for real type, as it is for
            complex type, [[a, -conj(b)], [b, conj(a)]] with s x s blocks for quaternionic type.
        matrices: (|G|, dim, dim) orthogonal, dim = d, 2d, 2d.
    """

    real_type: RealType
    size: int
    adapted: ComplexArray
    matrices: Array

    @property
    def degree(self) -> int:
        """Degree d of the complex irrep it contains."""
        return int(self.adapted.shape[1])

    @property
    def dimension(self) -> int:
        """Dimension over the reals."""
        return int(self.matrices.shape[1])

    @property
    def block_dimension(self) -> int:
        """Real dimension of its block in the group algebra, d^2, 2 d^2 or d^2."""
        return self.degree**2 * (2 if self.real_type is RealType.COMPLEX else 1)

    @property
    def block_name(self) -> str:
        """The block, for example "M_2(C)"."""
        field = {"real": "R", "complex": "C", "quaternionic": "H"}[self.real_type.value]
        return f"M_{self.size}({field})" if self.size > 1 else field


@cached_by_group(maxsize=64)
def real_irreps(group: FiniteGroup) -> tuple[RealIrrep, ...]:
    """All real irreps, in the order of `complex_irreps`; one of each pair of complex conjugates.

    The block dimensions sum to |G|.
    """
    found: list[RealIrrep] = []
    used: list[ComplexArray] = []
    for irrep in complex_irreps(group):
        if irrep.real_type is RealType.REAL:
            adapted = np.real(_in_real_basis(group, irrep)).astype(np.complex128)
            found.append(RealIrrep(RealType.REAL, irrep.degree, adapted, np.ascontiguousarray(adapted.real)))
        elif irrep.real_type is RealType.QUATERNIONIC:
            adapted = _in_symplectic_basis(group, irrep)
            found.append(RealIrrep(RealType.QUATERNIONIC, irrep.degree // 2, adapted, _realified(adapted)))
        else:
            conjugate = irrep.character.conj()
            if any(abs(np.vdot(conjugate, c)) > 0.5 * group.order for c in used):
                continue
            used.append(irrep.character)
            found.append(
                RealIrrep(RealType.COMPLEX, irrep.degree, irrep.matrices, _realified(irrep.matrices))
            )
    assert sum(i.block_dimension for i in found) == group.order
    return tuple(found)


def _realified(matrices: ComplexArray) -> Array:
    """Complex d x d matrices as real 2d x 2d ones, [[Re, -Im], [Im, Re]]."""
    out: Array = np.block([[matrices.real, -matrices.imag], [matrices.imag, matrices.real]])
    return out


def _conjugation(group: FiniteGroup, irrep: Irrep) -> ComplexArray:
    """The unitary J with rho(g) J = J conj(rho(g)): the average of rho(g) M rho(g)^T for a generic M."""
    d = irrep.degree
    rng = np.random.default_rng(d)
    generic = rng.normal(size=(d, d)) + 1j * rng.normal(size=(d, d))
    average = np.einsum("gij,jk,glk->il", irrep.matrices, generic, irrep.matrices, optimize=True)
    average = average / np.sqrt(np.trace(average @ average.conj().T).real / d)
    out: ComplexArray = average
    return out


def _in_real_basis(group: FiniteGroup, irrep: Irrep) -> ComplexArray:
    """A^-1 rho A, real: J is symmetric and unitary, so J = A A^T with A unitary (Takagi)."""
    if irrep.degree == 1 or np.abs(irrep.matrices.imag).max() < 1e-13:
        return irrep.matrices
    j = _conjugation(group, irrep)
    rng = np.random.default_rng(0)
    for _ in range(20):
        # Re J and Im J commute; a generic combination has their common eigenvectors.
        angle = rng.uniform(0, np.pi)
        mixed = np.cos(angle) * j.real + np.sin(angle) * j.imag
        _, basis = np.linalg.eigh((mixed + mixed.T) / 2)
        phases = np.einsum("ia,ij,ja->a", basis, j, basis)
        a = basis * np.sqrt(phases)
        adapted: ComplexArray = a.conj().T @ irrep.matrices @ a
        if np.abs(adapted.imag).max() < 1e-10:
            return adapted
    raise AssertionError("no real basis found for an irrep of real type")


def _in_symplectic_basis(group: FiniteGroup, irrep: Irrep) -> ComplexArray:
    """A^-1 rho A = [[a, -conj(b)], [b, conj(a)]] in a basis v_1..v_s, jv_1..jv_s, where jv = J conj(v)."""
    j = _conjugation(group, irrep)
    d = irrep.degree
    firsts: list[ComplexArray] = []
    seconds: list[ComplexArray] = []
    for axis in np.eye(d, dtype=np.complex128):
        v = axis.copy()
        for known in (*firsts, *seconds, *firsts, *seconds):
            v = v - known * np.vdot(known, v)
        length = np.linalg.norm(v)
        if length < 0.1 / d:
            continue
        v = v / length
        firsts.append(v)
        seconds.append(j @ v.conj())
        if len(firsts) == d // 2:
            break
    a = np.stack([*firsts, *seconds], axis=1)
    adapted: ComplexArray = a.conj().T @ irrep.matrices @ a
    return adapted
