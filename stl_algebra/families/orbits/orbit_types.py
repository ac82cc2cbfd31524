"""Orbit types: which stabilisers the products of an invariant algorithm can have, and what is left free then.

A product with stabiliser H has |Gamma| / |H| images under the symmetry group Gamma. Scaled to
|A| = |B| = |C|, it is fixed by a group K of signed symmetries isomorphic to H, so it lies in the linear
space Fix(K). Only the K that are the full stabiliser of a generic point of Fix(K) count: they are found by
intersecting fixed spaces, and the lattice of all subgroups is never built.

What does not belong here: the action (`symmetry`), solving for the representatives (`invariant`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.families.orbits.action import Action, ActsOnProducts
from stl_algebra.groups.group import FiniteGroup, IntArray

_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class OrbitType:
    """One conjugacy class of stabilisers of products.

    Attributes:
        stabiliser: signed symmetries K that fix the representative: sorted positions in `Action.maps`.
        size: products in an orbit, |Gamma| / |K|.
        basis: (d, p) orthonormal basis of Fix(K): the triples (A, B, C) that a representative may be.
        movers: (size,) positions of maps, one for each coset of K: they take the representative to the orbit.
        free_parameters: p less the rescalings of A, B, C that keep their product.
    """

    stabiliser: IntArray
    size: int
    basis: Array
    movers: IntArray
    free_parameters: int

    def __repr__(self) -> str:
        order = len(self.stabiliser)
        return f"OrbitType(size={self.size}, stabiliser of order {order}, {self.free_parameters} free)"


@lru_cache(maxsize=64)
def orbit_types(symmetry: ActsOnProducts) -> tuple[OrbitType, ...]:
    """All orbit types of products, largest orbits first, then most free parameters first.

    Cost: one product of all maps with a vector for each class of stabilisers and each element.

    Raises:
        TooLarge: the symmetry has too many elements.
    """
    action = symmetry.action
    maps, table = action.maps, action.group.table
    generic = np.random.default_rng(0).normal(size=(maps.shape[1],))
    (whole,) = _stabilisers(action, generic.reshape(1, -1))
    classes = {_class_of(action.group, whole)}
    waiting, found, seen = [whole], [whole], {whole.tobytes()}
    while waiting:
        stabiliser = waiting.pop()
        # z and z k generate the same subgroup together with K: one element of each coset z K is enough.
        elements = np.unique(table[:, stabiliser].min(axis=1))[1:]
        basis = _fixed_space(maps, stabiliser)
        # z fixes B c iff B^T (z + z^T) B c = 2 c.
        within = basis.T @ maps[elements] @ basis
        values, vectors = np.linalg.eigh((within + within.swapaxes(1, 2)) / 2)
        fixed = vectors * (values > 1 - _TOLERANCE)[:, None, :]
        points = np.einsum("zpf,zqf,q->zp", fixed, fixed, basis.T @ generic, optimize=True) @ basis.T
        for larger in _stabilisers(action, points):
            if larger.tobytes() in seen:
                continue
            seen.add(larger.tobytes())
            key = _class_of(action.group, larger)
            if key not in classes:
                classes.add(key)
                waiting.append(larger)
                found.append(larger)
    types = [_orbit_type(action, k) for k in found]
    return tuple(sorted(types, key=lambda o: (-o.size, -o.free_parameters, o.stabiliser.tobytes())))


def _stabilisers(action: Action, points: Array) -> list[IntArray]:
    """Stabilisers of triples scaled to equal norms; of those none of whose matrices vanishes, each once."""
    parts = np.split(points, np.cumsum(action.sides)[:-1], axis=1)
    norms: Array = np.sqrt(np.stack([np.square(p).sum(axis=1) for p in parts]))
    alive = norms.min(axis=0) > _TOLERANCE
    scaled = np.concatenate([p[alive] / n for p, n in zip(parts, norms[:, alive, None], strict=True)], axis=1)
    _, firsts = np.unique(np.round(scaled, 6) + 0.0, axis=0, return_index=True)
    return [
        np.flatnonzero(np.abs(action.maps @ point - point).max(axis=1) < _TOLERANCE)
        for point in scaled[np.sort(firsts)]
    ]


def _orbit_type(action: Action, stabiliser: IntArray) -> OrbitType:
    basis = _fixed_space(action.maps, stabiliser)
    size = action.order // len(stabiliser)
    # Cosets of K in Gamma: signs identify four maps each.
    movers: list[int] = []
    reached = np.zeros(len(action.maps), dtype=bool)
    for element in range(0, len(action.maps), 4):
        if not reached[element]:
            movers.append(element)
            cosets = 4 * (action.group.table[element, stabiliser] // 4)
            reached[cosets] = True
    assert len(movers) == size
    blocks = np.split(basis, np.cumsum(action.sides)[:-1])
    # Norms that may change by themselves: three independent ones, A and C tied to each other, or all tied.
    moved = action.permutes[stabiliser]
    rescalings = 2 if not moved.any() else (1 if len(stabiliser) == 2 * int(np.count_nonzero(~moved)) else 0)
    assert all(np.abs(b).max() > _TOLERANCE for b in blocks)
    return OrbitType(stabiliser, size, basis, np.array(movers), basis.shape[1] - rescalings)


def _fixed_space(maps: Array, stabiliser: IntArray) -> Array:
    """Orthonormal basis of the space that all elements of a group fix: range of their mean."""
    values, vectors = np.linalg.eigh(maps[stabiliser].mean(axis=0))
    fixed: Array = vectors[:, values > 0.5]
    return fixed


def _class_of(group: FiniteGroup, subgroup: IntArray) -> bytes:
    """The same for conjugate subgroups and no others: the least of the sorted conjugates."""
    everyone = np.arange(group.order)
    left = group.table[np.ix_(everyone, subgroup)]
    conjugates = np.sort(group.table[left, group.inverse[:, None]], axis=1)
    least: IntArray = conjugates[np.lexsort(conjugates.T[::-1])[0]]
    return least.tobytes()
