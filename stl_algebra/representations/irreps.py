"""Irreducible unitary representations over the complex numbers.

Abelian groups have their characters in closed form, direct products take Kronecker products of the
factors' irreps, small groups go through spgrep's decomposition of the regular representation, and larger
ones through a generic element of its commutant, which needs |G|^2 memory instead of |G|^3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from spgrep.rep.enumerate import enumerate_unitary_irreps_from_regular_representation

from stl_algebra.cache import Arrays, cached_arrays
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.groups.names import as_group, cached_by_group

ComplexArray = NDArray[np.complex128]

#: spgrep holds |G|^3 complex numbers at once: 43 MB at this order.
_LARGEST_ORDER_FOR_SPGREP = 140

#: Irreps of smaller groups are found about as fast as a file is read.
_SMALLEST_CACHED = 48

#: Version of the algorithms for the cache: raise it when results change.
_VERSION = 1


class RealType(Enum):
    """What the real irrep that contains a complex irrep has as its commutant (Frobenius-Schur)."""

    REAL = "real"
    COMPLEX = "complex"
    QUATERNIONIC = "quaternionic"


@dataclass(frozen=True, eq=False)
class Irrep:
    """A complex irrep.

    Attributes:
        matrices: (|G|, d, d) unitary; matrices[g] @ matrices[h] = matrices[table[g, h]].
        character: (|G|,) traces.
        real_type: real, complex or quaternionic, by the Frobenius-Schur indicator mean(character(g^2)).
    """

    matrices: ComplexArray
    character: ComplexArray
    real_type: RealType

    @property
    def degree(self) -> int:
        """Dimension d over the complex numbers."""
        return int(self.matrices.shape[1])


def _irrep(group: FiniteGroup, matrices: ComplexArray) -> Irrep:
    character = np.trace(matrices, axis1=1, axis2=2)
    squares = group.table[np.arange(group.order), np.arange(group.order)]
    indicator = round(float(np.real(character[squares].mean())))
    kinds = {1: RealType.REAL, 0: RealType.COMPLEX, -1: RealType.QUATERNIONIC}
    matrices.setflags(write=False)
    return Irrep(matrices, character, kinds[indicator])


@cached_by_group(maxsize=64)
def complex_irreps(group: FiniteGroup) -> tuple[Irrep, ...]:
    """All irreps of a group, one of each equivalence class.

    Ordered by degree, then by the character on the conjugacy classes with the trivial irrep first.
    sum of degree^2 = |G|; the number of irreps is the number of classes.
    """
    irreps = [_irrep(group, m) for m in _irrep_matrices(group)]
    firsts = [c[0] for c in group.classes]

    def key(irrep: Irrep) -> tuple[object, ...]:
        values = np.round(irrep.character[firsts], 6)
        return (irrep.degree, tuple((-float(v.real), -float(v.imag)) for v in values))

    irreps.sort(key=key)
    assert sum(i.degree**2 for i in irreps) == group.order
    return tuple(irreps)


def _irrep_matrices(group: FiniteGroup) -> list[ComplexArray]:
    if group.factors:
        matrices = [np.ones((1, 1, 1), dtype=np.complex128)]
        for factor in group.factors:
            inner = [i.matrices for i in complex_irreps(factor)]
            matrices = [
                np.einsum("gab,hcd->ghacbd", a, b).reshape(
                    a.shape[0] * b.shape[0], a.shape[1] * b.shape[1], a.shape[2] * b.shape[2]
                )
                for a in matrices
                for b in inner
            ]
        return matrices
    if group.is_abelian:
        return _abelian_characters(group)
    if group.order < _SMALLEST_CACHED:
        return _decomposed(group)

    def compute() -> Arrays:
        return {f"{number:05d}": matrices for number, matrices in enumerate(_decomposed(group))}

    stored = cached_arrays("irreps", _VERSION, group.digest, compute)
    return [stored[name] for name in sorted(stored)]


def _decomposed(group: FiniteGroup) -> list[ComplexArray]:
    """The regular representation taken apart: for groups without more structure."""
    if group.order <= _LARGEST_ORDER_FOR_SPGREP:
        regular = np.zeros((group.order,) * 3, dtype=np.complex128)
        g, h = np.ogrid[: group.order, : group.order]
        regular[g, group.table, h] = 1.0
        return list(enumerate_unitary_irreps_from_regular_representation(regular))
    return irreps_from_commutant(group)


def _abelian_characters(group: FiniteGroup) -> list[ComplexArray]:
    """Characters of an abelian group, built up one generator at a time.

    A character of the subgroup H extends to <H, g> by choosing chi(g) as a root of chi(g^e), where g^e is
    the first power of g in H: exactly e extensions.
    """
    order = group.order
    members = np.array([0])
    # Characters as exponents: chi(h) = exp(2 pi i * phase[h]); rational phases keep full accuracy.
    phases = [np.zeros(1)]
    for g in group.generators:
        inside = np.zeros(order, dtype=bool)
        inside[members] = True
        powers = [0]
        while True:
            reached = int(group.table[powers[-1], g])
            if inside[reached]:
                break
            powers.append(reached)
        exponent = len(powers)
        position = int(np.flatnonzero(members == reached)[0])
        extended = []
        for phase in phases:
            for root in range(exponent):
                step = (phase[position] + root) / exponent
                extended.append(np.concatenate([phase + step * e for e in range(exponent)]) % 1.0)
        members = np.concatenate([group.table[members, p] for p in powers])
        phases = extended
    characters = []
    for phase in phases:
        values = np.empty(order, dtype=np.complex128)
        # Phases are multiples of 1/exponent(G): rounding to that grid removes the accumulated error.
        grid = int(group.element_orders.max())
        values[members] = np.exp(2j * np.pi * np.round(phase * grid) / grid)
        characters.append(values.reshape(-1, 1, 1))
    return characters


def irreps_from_commutant(group: FiniteGroup, seed: int = 0) -> list[ComplexArray]:
    """Irreps from the eigenspaces of a generic Hermitian element of the right regular representation.

    Left translations commute with it, so each eigenspace is invariant, and for a generic element
    irreducible; every irrep of degree d appears d times and is kept once. O(|G|^3) time, O(|G|^2) memory
    beside the result.
    """
    for attempt in range(5):
        found = _eigenspaces(group, np.random.default_rng([seed, attempt]))
        if sum(m.shape[1] ** 2 for m in found) == group.order:
            return found
    raise AssertionError("five random elements of the commutant were not generic")


def _eigenspaces(group: FiniteGroup, rng: np.random.Generator) -> list[ComplexArray]:
    """One eigenspace for each character; reducible where eigenvalues of two of them happen to be close."""
    order = group.order
    coefficients = rng.normal(size=order) + 1j * rng.normal(size=order)
    coefficients = coefficients + np.conj(coefficients[group.inverse])
    # H[a, b] = c(a^-1 b) commutes with left translation: c((ga)^-1 gb) = c(a^-1 b).
    hermitian = coefficients[group.table[group.inverse]]
    values, vectors = np.linalg.eigh(hermitian)
    gaps = np.flatnonzero(np.diff(values) > 1e-9 * np.abs(values).max())
    bounds = [0, *(int(i) + 1 for i in gaps), order]
    # (L_g v)(a) = v(g^-1 a); the traces on the classes decide whether an irrep is new.
    shifted = group.table[group.inverse]
    firsts = [c[0] for c in group.classes]
    sizes = np.array([len(c) for c in group.classes])
    kept: list[ComplexArray] = []
    characters: list[ComplexArray] = []
    for start, stop in pairwise(bounds):
        space = vectors[:, start:stop]
        character = np.array([np.vdot(space, space[shifted[g]]) for g in firsts])
        if any(abs(np.vdot(character * sizes, known)) > 0.5 * order for known in characters):
            continue
        characters.append(character)
        dual = space.conj().T
        kept.append(np.stack([dual @ space[row] for row in shifted]))
    return kept


def character_table(group: FiniteGroup | str) -> ComplexArray:
    """(number of irreps, number of classes): character of each irrep on each class of `group.classes`.

    Raises:
        InvalidInput, TooLarge: a spelling names no group, as `parse_group`.
    """
    group = as_group(group)
    firsts = [c[0] for c in group.classes]
    return np.array([i.character[firsts] for i in complex_irreps(group)])
