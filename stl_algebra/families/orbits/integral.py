"""Invariant algorithms with integer entries: lattices that the group keeps, rounding in the invariant space.

In a basis of a lattice that the group maps to itself its matrices are integral, and so is a basis of every
space Fix(K); the algorithm, written in that basis, is then rounded by its coordinates, and every rounded one
is invariant. Which lattice is taken matters: <3,3,3;23> with the symmetry Z_4 x Z_3 has entries -1, 0, 1 in
the lattice that four vectors with sum 0 generate, and halves in the sum of the lattices of the irreps.

What does not belong here: the rounding itself (`discretise`), orthogonal coordinates (`invariant`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag
from sympy import QQ
from sympy.polys.matrices import DomainMatrix

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.verify import common_denominator, numerators, verify
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.discretise import discretise
from stl_algebra.families.orbits.invariant import flattened, stacked
from stl_algebra.families.orbits.orbit_types import OrbitType
from stl_algebra.families.orbits.symmetry import Representation, Symmetry, representation_matrices
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.subgroups import subgroup_classes

_TOLERANCE = 1e-8
#: Orders of an orbit in which a basis of its lattice is looked for.
_ORDERS = 20
#: Subgroups of a group whose orbits are looked at.
_MOST_SUBGROUPS = 2000


def lattices(group: FiniteGroup, representation: Representation) -> Iterator[Array]:
    """Bases of lattices that a real representation keeps: the columns of (t, t) matrices.

    First those that one orbit of vectors generates, small orbits first, then the unit vectors where the
    matrices are integral as they are. Nothing for representations that are not rational.

    Raises:
        TooLarge: the group has too many subgroups.
    """
    matrices = representation_matrices(group, representation)
    side = matrices.shape[1]
    generic = np.random.default_rng(0).normal(size=(side, 1))
    for subgroup in reversed(subgroup_classes(group, _MOST_SUBGROUPS)):
        vectors: Array = (matrices @ (matrices[subgroup.members].mean(axis=0) @ generic))[:, :, 0]
        _, firsts = np.unique(np.round(vectors, 6) + 0.0, axis=0, return_index=True)
        orbit = vectors[np.sort(firsts)]
        # An orbit under a smaller group would come again under its stabiliser.
        if len(orbit) == subgroup.index and np.linalg.matrix_rank(orbit, tol=_TOLERANCE) == side:
            basis = _basis_of_lattice(orbit)
            if basis is not None:
                yield basis
    if _is_integral(matrices):
        yield np.eye(side)


def _basis_of_lattice(vectors: Array) -> Array | None:
    """Columns among the vectors of which all others are integer combinations, None when none are found."""
    rng = np.random.default_rng(0)
    side = vectors.shape[1]
    for attempt in range(_ORDERS):
        order = rng.permutation(len(vectors)) if attempt else np.arange(len(vectors))
        chosen = np.zeros((0, side))
        for vector in vectors[order]:
            larger = np.vstack([chosen, vector])
            if np.linalg.matrix_rank(larger, tol=_TOLERANCE) == len(larger):
                chosen = larger
        if _is_integral(np.linalg.inv(chosen.T) @ vectors.T):
            return chosen.T
    return None


def _is_integral(matrices: Array) -> bool:
    return bool(np.abs(matrices - np.rint(matrices)).max() < _TOLERANCE)


@dataclass(frozen=True, eq=False)
class IntegralForm:
    """A symmetry in bases of lattices, where it acts on triples (A, B, C) by integer matrices.

    Attributes:
        symmetry: in orthogonal coordinates.
        change: (d, d) takes a triple to the bases of the lattices.
        maps: (4 * order, d, d) integers: `symmetry.action.maps` in those bases.
    """

    symmetry: Symmetry
    change: Array
    maps: IntArray

    def basis(self, orbit: OrbitType) -> Array:
        """(d, p) integers: a basis of Fix(K) in the bases of the lattices; each row of an identity occurs."""
        identity = np.eye(self.maps.shape[1], dtype=np.int64)
        equations = (self.maps[orbit.stabiliser] - identity).reshape(-1, len(identity))
        equations = np.unique(equations, axis=0)
        rows = [[QQ(int(x)) for x in row] for row in equations]
        solved = DomainMatrix(rows, equations.shape, QQ).nullspace().to_Matrix()
        columns = [row * lcm(*(int(x.q) for x in row)) for row in (solved.row(i) for i in range(solved.rows))]
        return np.array([[float(x) for x in column] for column in columns]).T

    def embedding(self, orbits: Sequence[OrbitType]) -> Array:
        """(P, Q) integers: the factors of all invariant algorithms with these orbits, see `embedding`."""
        return stacked(self.symmetry, [self.maps[o.movers] @ self.basis(o) for o in orbits])

    def transformed(self, algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
        """The algorithm in the bases of the lattices: it multiplies matrices as exactly as before."""
        tile = algorithm.tile
        blocks = _third_as_matrix(algorithm) @ self.change.T
        x, w, z = np.split(blocks, np.cumsum([tile.x_size, tile.w_size]), axis=1)
        decode = z.reshape(-1, tile.m, tile.n).swapaxes(1, 2).reshape(len(z), -1).T
        return algorithm.with_factors(x, w, decode, "basis of a lattice")

    def is_invariant(self, algorithm: BilinearAlgorithm) -> bool:
        """Every element permutes the products of the algorithm, as rank-one tensors, in exact arithmetic.

        Raises:
            InvalidInput: an entry is not rational with a small denominator.
        """
        flat = _third_as_matrix(algorithm)
        denominator = common_denominator(flat)
        if denominator is None:
            raise InvalidInput("algorithm", expected="rational entries", got="others")
        given = numerators(flat, denominator)
        bounds = np.cumsum(self.symmetry.action.sides)[:-1]

        def products(triples: NDArray[Any]) -> list[tuple[int, ...]]:
            a, b, c = np.split(triples, bounds, axis=1)
            terms = a[:, :, None, None] * b[:, None, :, None] * c[:, None, None, :]
            return sorted(tuple(term) for term in terms.reshape(len(terms), -1).tolist())

        small = (
            max(abs(int(x)) for x in given.flat) * self.maps.shape[1] * int(np.abs(self.maps).max()) < 2**20
        )
        integers = given.astype(np.int64 if small else object)
        expected = products(integers)
        # Signs do not change a product: one map of each four is enough.
        return all(products(integers @ matrix.T) == expected for matrix in self.maps[::4])


def _third_as_matrix(algorithm: BilinearAlgorithm) -> Array:
    """The products as flattened triples (A, B, C), (r, nk + km + mn), without any rescaling."""
    t = algorithm.tile
    z = algorithm.decode.T.reshape(-1, t.n, t.m).swapaxes(1, 2).reshape(algorithm.rank, -1)
    return np.concatenate([algorithm.encode_x, algorithm.encode_w, z], axis=1)


def integral_forms(symmetry: Symmetry) -> Iterator[IntegralForm]:
    """The symmetry in the lattices of its representations, as far as it acts there by integer matrices.

    Raises:
        TooLarge: the group has too many subgroups.
    """
    maps = symmetry.action.maps
    different = list(dict.fromkeys(symmetry.representations))
    for chosen in product(*(list(lattices(symmetry.group, r)) for r in different)):
        sides = [chosen[different.index(r)] for r in symmetry.representations]
        # A -> P A Q^-1 with P, Q the inverse bases of its two sides, row by row.
        blocks = [np.kron(np.linalg.inv(sides[a]), sides[b].T) for a, b in ((0, 1), (1, 2), (2, 0))]
        change = block_diag(*blocks)
        images = change @ maps @ np.linalg.inv(change)
        if _is_integral(images):
            yield IntegralForm(symmetry, change, np.rint(images).astype(np.int64))


def discretise_invariant(
    algorithm: BilinearAlgorithm,
    symmetry: Symmetry,
    orbits: Sequence[OrbitType],
    *,
    tries: int = 2,
    seed: int = 0,
) -> tuple[BilinearAlgorithm, IntegralForm] | None:
    """An exact algorithm with the same symmetry and orbits and small integer or rational entries, or None.

    Args:
        algorithm: invariant and exact in floats, its products in the order of `embedding`.
        symmetry: the symmetry.
        orbits: of the algorithm, in the order of its products.
        tries: attempts in each lattice, see `discretise`.
        seed: of the attempts.

    Returns:
        The algorithm in the basis of a lattice, and the form of the symmetry there, for which
        `IntegralForm.is_invariant` holds. The first one over Z, else the last one found.

    Raises:
        InvalidInput: the algorithm is not one of the symmetry and orbits.
        TooLarge: the group has too many subgroups.
    """
    found: tuple[BilinearAlgorithm, IntegralForm] | None = None
    for form in integral_forms(symmetry):
        space = form.embedding(orbits)
        flat = flattened(form.transformed(algorithm))
        values = np.linalg.pinv(space) @ flat
        if np.abs(space @ values - flat).max() > 1e-6 * max(1.0, np.abs(flat).max()):
            raise InvalidInput("algorithm", expected=f"one invariant under {symmetry}", got=algorithm.name)
        factors = np.split(space @ _rescaled(values, form, orbits), np.cumsum(_sizes(algorithm))[:-1])
        x, w, d = (f.reshape(-1, algorithm.rank) for f in factors)
        exact = discretise(
            algorithm.with_factors(x.T, w.T, d, "basis of a lattice"), tries=tries, seed=seed, basis=space
        )
        if exact is not None:
            found = exact, form
            if verify(exact).ring == "Z":
                break
    return found


def _sizes(algorithm: BilinearAlgorithm) -> list[int]:
    return [factor.size for factor in algorithm.factors]


def _rescaled(values: Array, form: IntegralForm, orbits: Sequence[OrbitType]) -> Array:
    """The same products with largest entries 1, as far as the stabilisers allow A, B and C to be rescaled."""
    out = values.copy()
    bounds = np.cumsum([0, *form.symmetry.action.sides])
    column = 0
    for orbit in orbits:
        basis = form.basis(orbit)
        stop = column + basis.shape[1]
        parts = np.split(basis @ values[column:stop], bounds[1:-1])
        peaks = [part[np.argmax(np.abs(part))] for part in parts]
        tied = _tied_modes(form.maps[orbit.stabiliser], bounds)
        scales = [1.0, 1.0, 1.0]
        if len(tied) == 3:
            scales = [1 / peaks[0], 1 / peaks[1], peaks[0] * peaks[1]]
        elif len(tied) == 2:
            pair, (alone,) = sorted(tied, key=len, reverse=True)
            scales = [1 / peaks[min(pair)]] * 3
            scales[alone] = peaks[min(pair)] ** 2
        scaled = np.concatenate([part * s for part, s in zip(parts, scales, strict=True)])
        out[column:stop] = np.linalg.lstsq(basis, scaled)[0]
        column = stop
    return out


def _tied_modes(maps: IntArray, bounds: IntArray) -> list[set[int]]:
    """The orbits of a group of maps on the three matrices of a triple."""
    reached = [
        frozenset(
            target
            for target in range(3)
            if maps[:, bounds[target] : bounds[target + 1], bounds[source] : bounds[source + 1]].any()
        )
        for source in range(3)
    ]
    return [set(modes) for modes in dict.fromkeys(reached)]
