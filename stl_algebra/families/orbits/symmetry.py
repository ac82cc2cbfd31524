"""Symmetries of the matrix multiplication tensor that a finite group gives, as linear maps on rank-one terms.

In trilinear form the tensor is tr(X W Z) with Z = Y^T, and a product of an algorithm is a triple (A, B, C)
of matrices, (n, k), (k, m) and (m, n), that stands for <A, X> <B, W> <C, Z>: A and B are rows of the encoders
and C is a transposed column of the decoder. The tensor does not change under

* g in G, through orthogonal representations of dimensions n, k and m:
  (A, B, C) -> (r_n(g) A r_k(g)^T, r_k(g) B r_m(g)^T, r_m(g) C r_n(g)^T);
* the cyclic shift (A, B, C) -> (C, A, B) and the transpose (A, B, C) -> (C^T, B^T, A^T), for square formats
  with one representation on all sides.

(Grochow and Moore 2016; Ballard, Ikenmeyer, Landsberg and Ryder 2019.) What does not belong here: orbits and
algorithms made of them (`orbit_types`, `invariant`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.families.orbits.action import LARGEST_ORDER, SIGNS, Action, ActsOnProducts, triples
from stl_algebra.families.orbits.generated import GeneratedSymmetry
from stl_algebra.families.orbits.multisets import Multiset, count_multisets, multiset_at, multisets
from stl_algebra.families.orbits.tensor_maps import TensorMap
from stl_algebra.groups import parse_group
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.representations import real_irreps

#: The subgroups of S_3, the permutations of the three modes, by the name of their generators.
MODES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "": ((0, 1, 2),),
    "cyclic": ((0, 1, 2), (2, 0, 1), (1, 2, 0)),
    "transpose": ((0, 1, 2), (2, 1, 0)),
    "cyclic+transpose": ((0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0), (1, 0, 2), (0, 2, 1)),
}

Representation = Multiset


def representations_of_dimension(group: FiniteGroup, dimension: int) -> Iterator[Representation]:
    """All inequivalent real representations of that dimension: sorted positions in `real_irreps(group)`."""
    yield from multisets([irrep.dimension for irrep in real_irreps(group)], dimension)


def draw_representation(group: FiniteGroup, dimension: int, rng: np.random.Generator) -> Representation:
    """One of them at random: of three drawn uniformly, the one with most conjugations."""
    sizes = [irrep.dimension for irrep in real_irreps(group)]
    count = count_multisets(sizes, dimension)
    drawn = [multiset_at(sizes, dimension, int(rng.random() * count)) for _ in range(3)]

    def images(representation: Representation) -> int:
        r = representation_matrices(group, representation)
        conjugation = np.einsum("gij,gkl->gikjl", r, r).reshape(group.order, -1)
        return len(np.unique(np.round(conjugation, 6) + 0.0, axis=0))

    return max(drawn, key=images)


def representation_matrices(group: FiniteGroup, representation: Representation) -> Array:
    """(|G|, t, t) orthogonal matrices of the direct sum of the named real irreps."""
    blocks = [real_irreps(group)[i].matrices for i in representation]
    side = sum(b.shape[1] for b in blocks)
    out = np.zeros((group.order, side, side))
    start = 0
    for block in blocks:
        stop = start + block.shape[1]
        out[:, start:stop, start:stop] = block
        start = stop
    return out


@dataclass(frozen=True)
class Symmetry:
    """A finite group acting on the products of a format; `Symmetry.parse(str(s)) == s`.

    Attributes:
        group: G.
        representations: one for the sides n, k and m each: positions in `real_irreps(group)`.
        modes: which permutations of the modes act too: a key of `MODES`.

    Raises:
        InvalidInput: an irrep or the modes do not exist, or the modes are permuted although the
            representations differ.
    """

    group: FiniteGroup
    representations: tuple[Representation, Representation, Representation]
    modes: str = ""

    def __post_init__(self) -> None:
        if self.modes not in MODES:
            raise InvalidInput("modes", expected=" or ".join(repr(m) for m in MODES), got=repr(self.modes))
        known = len(real_irreps(self.group))
        for representation in self.representations:
            if not representation or any(not 0 <= i < known for i in representation):
                raise InvalidInput(
                    "representation",
                    expected=f"real irreps of {self.group.name}, numbered 0 to {known - 1}",
                    got="+".join(map(str, representation)) or "none",
                )
        ordered = tuple(tuple(sorted(r)) for r in self.representations)
        object.__setattr__(self, "representations", ordered)
        if self.modes and len(set(ordered)) > 1:
            raise InvalidInput(
                "representations",
                expected="the same on all three sides when modes are permuted",
                got=str(self),
            )

    @classmethod
    def square(cls, group: FiniteGroup, representation: Representation, modes: str = "") -> Symmetry:
        """One representation on all sides: simultaneous conjugation."""
        return cls(group, (representation, representation, representation), modes)

    @staticmethod
    def from_generators(
        generators: Sequence[TensorMap | tuple[Sequence[int], ArrayLike, ArrayLike, ArrayLike]],
    ) -> GeneratedSymmetry:
        """The group that given symmetries of the tensor generate, closed numerically; see
        `GeneratedSymmetry`.

        Args:
            generators: (modes, P, Q, R) or `TensorMap`: the modes are permuted, then the triple is
                sandwiched.

        Raises:
            InvalidInput: there is none, or shapes do not fit each other.
            TooLarge: they generate more elements than are handled, or infinitely many.
        """
        return GeneratedSymmetry.of(generators)

    def __str__(self) -> str:
        """For example "S3/2/cyclic+transpose", or "S3/0+1,2,2/" with one representation a side."""
        parts = ["+".join(map(str, r)) for r in self.representations]
        return f"{self.group.name}/{parts[0] if len(set(parts)) == 1 else ','.join(parts)}/{self.modes}"

    @classmethod
    def parse(cls, text: str) -> Symmetry:
        """Inverse of `str`.

        Raises:
            InvalidInput: the text is no such spelling.
        """
        match = re.fullmatch(r"(.+)/([\d+,]+)/([a-z+]*)", text.strip())
        parts = match[2].split(",") if match else []
        if (
            match is None
            or len(parts) not in (1, 3)
            or not all(re.fullmatch(r"\d+(\+\d+)*", p) for p in parts)
        ):
            raise InvalidInput(
                "symmetry", expected='a spelling such as "S3/2/cyclic" or "S3/0+1,2,2/"', got=repr(text)
            )
        first, second, third = (tuple(int(i) for i in p.split("+")) for p in (parts * 3)[:3])
        return cls(parse_group(match[1]), (first, second, third), match[3])

    @cached_property
    def tile(self) -> TileFormat:
        """The format whose sides the representations have."""
        irreps = real_irreps(self.group)
        return TileFormat(*(sum(irreps[i].dimension for i in r) for r in self.representations))

    @cached_property
    def action(self) -> Action:
        """The group as it acts.

        Raises:
            TooLarge: more elements than are handled.
        """
        return _action(self)

    @property
    def order(self) -> int:
        """Order of the group that acts, without what acts trivially."""
        return self.action.order


def _action(symmetry: Symmetry) -> Action:
    group, tile = symmetry.group, symmetry.tile
    by_side = [representation_matrices(group, r) for r in symmetry.representations]
    pairs = [(0, 1), (1, 2), (2, 0)]
    modes = [
        np.einsum("gij,gkl->gikjl", by_side[a], by_side[b]).reshape(
            group.order, by_side[a].shape[1] * by_side[b].shape[1], -1
        )
        for a, b in pairs
    ]
    # Elements that act alike count once.
    flat = np.round(np.concatenate([m.reshape(group.order, -1) for m in modes], axis=1), 6) + 0.0
    _, firsts, classes = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    # Numbered by first occurrence, so that the identity stays 0.
    classes = np.argsort(np.argsort(firsts))[classes.ravel()]
    firsts = np.sort(firsts)
    sides = (tile.n * tile.k, tile.k * tile.m, tile.m * tile.n)
    total = sum(sides)
    permuted = MODES[symmetry.modes]
    order = len(firsts) * len(permuted)
    if 4 * order > LARGEST_ORDER:
        raise TooLarge(
            f"symmetry {symmetry}: order {order} is above {LARGEST_ORDER // 4}, the largest handled"
        )
    offsets = np.concatenate([[0], np.cumsum(sides)])
    slices = [slice(offsets[i], offsets[i + 1]) for i in range(3)]
    maps = np.zeros((len(firsts), len(permuted), 4, total, total))
    permutes = np.zeros(maps.shape[:3], dtype=bool)
    for position, sources in enumerate(permuted):
        odd = sources in ((2, 1, 0), (0, 2, 1), (1, 0, 2))
        permutes[:, position] = sources != (0, 1, 2)
        for target, source in enumerate(sources):
            block = modes[source][firsts]
            if odd:
                block = block.reshape(len(firsts), tile.n, tile.n, -1).swapaxes(1, 2).reshape(block.shape)
            signed = SIGNS[:, target, None, None] * block[:, None]
            maps[:, position, :, slices[target], slices[source]] = signed
    table = _extended_table(group.table[np.ix_(firsts, firsts)], classes, permuted)
    return Action(
        maps.reshape(-1, total, total),
        FiniteGroup(table, f"signed {symmetry}", check=False),
        order,
        permutes.ravel(),
        sides,
    )


def _extended_table(
    products: IntArray, classes: IntArray, permuted: tuple[tuple[int, int, int], ...]
) -> IntArray:
    """Cayley table of (class, mode permutation, signs), numbered with the signs varying fastest.

    The map (c, p, e) sends x to y with y_m = e_m c(x_p(m)), so the product of (c, p, e) and (c', p', e') is
    (c c', p' o p, e * e'_p).
    """
    modes = np.array([[permuted.index(tuple(np.array(q)[list(p)])) for q in permuted] for p in permuted])
    signs = np.zeros((len(permuted), 4, 4), dtype=np.int64)
    for position, p in enumerate(permuted):
        for first in range(4):
            for second in range(4):
                product = SIGNS[first] * SIGNS[second][list(p)]
                signs[position, first, second] = int(np.argmax((product == SIGNS).all(axis=1)))
    c, p, e = (i.ravel() for i in np.indices((len(products), len(permuted), 4)))
    out: IntArray = classes[products[c[:, None], c[None, :]]]
    out = out * len(permuted) + modes[p[:, None], p[None, :]]
    out = out * 4 + signs[p[:, None], e[:, None], e[None, :]]
    return out


def is_invariant(algorithm: BilinearAlgorithm, symmetry: ActsOnProducts, tolerance: float = 1e-12) -> bool:
    """Every element of the symmetry permutes the products of the algorithm, as rank-one tensors.

    Squared distances of products count as zero up to `tolerance` times the largest squared norm.

    Raises:
        InvalidInput: the symmetry is one of another format.
    """
    if algorithm.tile != symmetry.tile:
        raise InvalidInput("symmetry", expected=f"one of {algorithm.tile}", got=f"one of {symmetry.tile}")
    action = symmetry.action
    given = triples(algorithm)
    first, second = action.sides[0], action.sides[0] + action.sides[1]

    def gram(left: Array, right: Array) -> Array:
        parts = ((0, first), (first, second), (second, None))
        out: Array = np.prod([left[:, a:b] @ right[:, a:b].T for a, b in parts], axis=0)
        return out

    energies = np.diag(gram(given, given))
    scale = float(energies.max())
    # Signs do not change a product: one map of each four is enough.
    for matrix in action.maps[::4]:
        distance = energies[:, None] + energies[None, :] - 2 * gram(given @ matrix.T, given)
        if distance[linear_sum_assignment(distance)].max() > tolerance * scale:
            return False
    return True
