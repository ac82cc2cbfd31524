"""A finite group as it acts on the triples (A, B, C) of rank-one terms: one list of orthogonal maps and a
table.

What does not belong here: where the group comes from (`symmetry`, `generated`), its orbits (`orbit_types`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.balance import product_matrices
from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.groups.group import FiniteGroup

#: Signs that may be given to the three matrices of a triple without changing its product.
SIGNS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])

#: Above this many elements, signs included, the maps would not fit into 100 MB at side 5.
LARGEST_ORDER = 2304


@dataclass(frozen=True, eq=False)
class Action:
    """The symmetry as a group of orthogonal maps of triples (A, B, C), flattened one after another.

    The group is extended by the four sign changes of triples whose product is 1, so that the stabiliser of
    a product <A, X> <B, W> <C, Z> is the stabiliser of its triple with |A| = |B| = |C|.

    Attributes:
        maps: (4 * order, d, d) with d = nk + km + mn; map 0 is the identity, and the four maps that differ
            by signs only follow each other.
        group: how the maps compose: maps[i] @ maps[j] = maps[group.table[i, j]].
        order: of the group of symmetries, without the signs and without what acts trivially.
        permutes: (4 * order,) True where the modes are permuted.
        sides: the sizes nk, km, mn.
    """

    maps: Array
    group: FiniteGroup
    order: int
    permutes: NDArray[np.bool_]
    sides: tuple[int, int, int]


class ActsOnProducts(Protocol):
    """What orbits need of a symmetry."""

    @property
    def tile(self) -> TileFormat:
        """The format of the algorithms."""

    @property
    def group(self) -> FiniteGroup:
        """The group that was asked for."""

    @property
    def action(self) -> Action:
        """The group as it acts."""

    def __hash__(self) -> int: ...


def triples(algorithm: BilinearAlgorithm) -> Array:
    """The products of an algorithm as flattened triples, (r, nk + km + mn), scaled to |A| = |B| = |C|."""
    return np.concatenate([part.reshape(algorithm.rank, -1) for part in product_matrices(algorithm)], axis=1)
