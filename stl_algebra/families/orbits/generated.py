"""Finite groups of symmetries of the tensor that are given by generators, closed numerically.

A finite group of `TensorMap`s is orthogonal in suitable bases; they are found as those in which a few generic
orbits amplify rounding least. Elements count up to factors of P, Q and R, so no linear lift is needed. What
does not belong here: single maps (`tensor_maps`), groups given by representations (`symmetry`), known ones
(`named`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from stl_algebra.algorithms.balance import Gauge, least_amplification_gauge
from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.families.orbits.action import LARGEST_ORDER, SIGNS, Action
from stl_algebra.families.orbits.tensor_maps import MODE_NAMES, TensorMap
from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.recognition import standard_names

_TOLERANCE = 1e-7
#: Generic orbits whose least amplification finds the bases in which a group is orthogonal.
_GENERIC_ORBITS = 3


@dataclass(frozen=True, eq=False)
class GeneratedSymmetry:
    """A finite group of symmetries of the tensor, given by generators; `Symmetry.from_generators` makes one.

    Attributes:
        generators: as given.
        orthogonal: the generators in the bases in which the group is orthogonal.
        bases: the change of bases (P, Q, R) from the given ones to those.
        maps: (order, d, d) all elements in those bases, as maps of flattened triples, the identity first;
            each stands for itself and the three maps that differ by signs.
        permutes: for each element, its permutation of the modes.
    """

    generators: tuple[TensorMap, ...]
    orthogonal: tuple[TensorMap, ...]
    bases: Gauge
    maps: Array
    permutes: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(
        cls, generators: Sequence[TensorMap | tuple[Sequence[int], ArrayLike, ArrayLike, ArrayLike]]
    ) -> GeneratedSymmetry:
        """See `Symmetry.from_generators`."""
        given = tuple(
            g if isinstance(g, TensorMap) else TensorMap((g[0][0], g[0][1], g[0][2]), *map(np.asarray, g[1:]))
            for g in generators
        )
        if not given:
            raise InvalidInput("generators", expected="at least one", got="none")
        shapes = {tuple(len(m) for m in g.gauge) for g in given}
        if len(shapes) > 1:
            raise InvalidInput("generators", expected="matrices of one format", got=f"sides {sorted(shapes)}")
        orthogonal, bases = given, tuple(np.eye(side) for side in next(iter(shapes)))
        if not all(_is_orthogonal(g) for g in given):
            bases = _orthogonal_bases(given)
            orthogonal = tuple(g.conjugated((bases[0], bases[1], bases[2])) for g in given)
            if not all(_is_orthogonal(g) for g in orthogonal):
                raise InvalidInput(
                    "generators", expected="generators of a finite group", got="of an infinite one"
                )
        maps, permutes = _closure(orthogonal)
        return cls(given, orthogonal, (bases[0], bases[1], bases[2]), maps, permutes)

    @classmethod
    def parse(cls, text: str) -> GeneratedSymmetry:
        """From generators between "|", each as `TensorMap.parse` reads it.

        Raises:
            InvalidInput, TooLarge: as `Symmetry.from_generators`.
        """
        return cls.of([TensorMap.parse(part) for part in text.split("|")])

    def __str__(self) -> str:
        """The generators as `parse` reads them."""
        return "|".join(map(str, self.generators))

    @property
    def tile(self) -> TileFormat:
        """<n, k, m>."""
        return TileFormat(*(len(g) for g in self.bases))

    @property
    def order(self) -> int:
        """Number of elements, without what acts trivially."""
        return len(self.maps)

    @property
    def modes(self) -> tuple[str, ...]:
        """The permutations of the modes that occur, spelled; "XWZ" keeps them."""
        return tuple(sorted({MODE_NAMES[p] for p in self.permutes}, key="XWZ ZXW WZX".find))

    @cached_property
    def group(self) -> FiniteGroup:
        """The elements in the order of `maps`, named in the grammar where it has a name."""
        table, _ = self._products
        bare = FiniteGroup(table, check=False)
        return FiniteGroup(table, next(iter(standard_names(bare)), ""), check=False)

    @cached_property
    def preserving(self) -> FiniteGroup:
        """The subgroup that keeps the modes."""
        members = [i for i, p in enumerate(self.permutes) if p == (0, 1, 2)]
        bare = self.group.subgroup(members)
        return FiniteGroup(bare.table, next(iter(standard_names(bare)), ""), check=False)

    @cached_property
    def action(self) -> Action:
        """The group as it acts, extended by the signs."""
        sides = _sizes(self.tile)
        blocks = np.repeat(SIGNS, sides, axis=1)
        maps = blocks[None, :, :, None] * self.maps[:, None]
        table, signs = self._products
        # S_e g S_f h = S_e S_(f o modes of g) g h, and g h = S_u (gh).
        number = {tuple(row): i for i, row in enumerate(SIGNS.tolist())}
        after = np.array([[number[tuple(f[list(p)])] for f in SIGNS] for p in self.permutes])
        product = np.array([[number[tuple(e * f)] for f in SIGNS] for e in SIGNS])
        order = self.order
        g, e = (i.ravel() for i in np.indices((order, 4)))
        left = product[e[:, None], after[g[:, None], e[None, :]]]
        full = 4 * table[g[:, None], g[None, :]] + product[left, signs[g[:, None], g[None, :]]]
        permutes = np.repeat([p != (0, 1, 2) for p in self.permutes], 4)
        d = self.maps.shape[1]
        return Action(
            maps.reshape(-1, d, d), FiniteGroup(full, f"signed {self}", check=False), order, permutes, sides
        )

    @cached_property
    def _products(self) -> tuple[IntArray, IntArray]:
        """(table, signs): maps[i] @ maps[j] = SIGNS[signs[i, j]] maps[table[i, j]]."""
        sides = _sizes(self.tile)
        points = self.maps @ _generic(sides)
        table = np.empty((self.order, self.order), dtype=np.int64)
        signs = np.empty_like(table)
        number = {tuple(row): i for i, row in enumerate(SIGNS.tolist())}
        for i, element in enumerate(self.maps):
            table[i], cosines = _nearest(points @ element.T, points, sides)
            signs[i] = [number[tuple(row)] for row in np.sign(cosines).astype(int).tolist()]
        return table, signs

    def permutation_of(self, products: Array) -> IntArray:
        """(order, r): which product each element takes a product to; products (r, d) in the orthogonal bases.

        Raises:
            InvalidInput: they are not invariant.
        """
        sides = _sizes(self.tile)
        out = np.empty((self.order, len(products)), dtype=np.int64)
        for i, element in enumerate(self.maps):
            out[i], cosines = _nearest(products @ element.T, products, sides)
            if np.abs(cosines).min() < 1 - 1e-6 or len(np.unique(out[i])) < len(products):
                raise InvalidInput(
                    "products", expected=f"invariance under {self}", got="products that it moves away"
                )
        return out


def _sizes(tile: TileFormat) -> tuple[int, int, int]:
    return tile.n * tile.k, tile.k * tile.m, tile.m * tile.n


def _is_orthogonal(given: TensorMap) -> bool:
    return all(np.abs(g @ g.T - np.eye(len(g))).max() < _TOLERANCE for g in given.gauge)


def _generic(sides: Sequence[int]) -> Array:
    return np.random.default_rng(0).normal(size=sum(sides))


def _nearest(points: Array, among: Array, sides: Sequence[int]) -> tuple[IntArray, Array]:
    """For each triple the one of `among` that is the same up to factors, or nearest; the three cosines."""
    ends = np.cumsum(sides)[:-1]
    blocks = []
    for left, right in zip(np.split(points, ends, axis=1), np.split(among, ends, axis=1), strict=True):
        norms = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
        blocks.append(left @ right.T / np.maximum(norms, 1e-300))
    cosines = np.stack(blocks, axis=2)
    best: IntArray = np.abs(cosines).min(axis=2).argmax(axis=1)
    return best, cosines[np.arange(len(points)), best]


def _orbits(generators: Sequence[TensorMap], starts: list[Array]) -> list[Array]:
    """The triples (1, ., .) of starts and all their images, each once up to factors."""
    shapes = [s.shape[1:] for s in starts]
    sides = [rows * columns for rows, columns in shapes]
    found = np.concatenate([s.reshape(len(s), -1) for s in starts], axis=1)
    frontier = found
    while len(frontier):
        parts = np.split(frontier, np.cumsum(sides)[:-1], axis=1)
        matrices = [p.reshape(-1, *shape) for p, shape in zip(parts, shapes, strict=True)]
        fresh: list[Array] = []
        for g in generators:
            for image in np.concatenate([m.reshape(len(frontier), -1) for m in g.apply(matrices)], axis=1):
                known = np.concatenate([found, *fresh]) if fresh else found
                if np.abs(_nearest(image[None], known, sides)[1]).min() < 1 - 1e-9:
                    fresh.append(image[None])
        frontier = np.concatenate(fresh) if fresh else found[:0]
        found = np.concatenate([found, frontier])
        if 4 * len(found) > _GENERIC_ORBITS * LARGEST_ORDER:
            raise _too_many()
    return [
        p.reshape(-1, *shape)
        for p, shape in zip(np.split(found, np.cumsum(sides)[:-1], axis=1), shapes, strict=True)
    ]


def _too_many() -> TooLarge:
    return TooLarge(
        f"generators: they generate more than {LARGEST_ORDER // 4} elements, the largest order handled"
    )


def _orthogonal_bases(generators: Sequence[TensorMap]) -> Gauge:
    """The gauge of least amplification of a few generic orbits: what permutes them is orthogonal there."""
    n, k, m = (len(g) for g in generators[0].gauge)
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=(_GENERIC_ORBITS, *shape)) for shape in ((n, k), (k, m), (m, n))]
    return least_amplification_gauge(_orbits(generators, starts))


def _closure(generators: Sequence[TensorMap]) -> tuple[Array, tuple[tuple[int, int, int], ...]]:
    """All products of orthogonal generators as maps of flattened triples, and their modes."""
    shapes = [
        (len(a), len(b))
        for a, b in zip(generators[0].gauge, (*generators[0].gauge[1:], generators[0].p), strict=True)
    ]
    sides = [rows * columns for rows, columns in shapes]
    ends, d = np.cumsum(sides)[:-1], sum(sides)
    unit = [
        part.reshape(d, *shape) for part, shape in zip(np.split(np.eye(d), ends, axis=1), shapes, strict=True)
    ]
    moves = [np.concatenate([m.reshape(d, -1) for m in g.apply(unit)], axis=1).T for g in generators]
    point = _generic(sides)
    maps, modes, images = [np.eye(d)], [(0, 1, 2)], point[None]
    for number, element in enumerate(maps):
        for move, g in zip(moves, generators, strict=True):
            image = (move @ (element @ point))[None]
            if np.abs(_nearest(image, images, sides)[1]).min() > 1 - _TOLERANCE**1.5:
                continue
            if 4 * (len(maps) + 1) > LARGEST_ORDER:
                raise _too_many()
            old = modes[number]
            maps.append(move @ element)
            modes.append((old[g.modes[0]], old[g.modes[1]], old[g.modes[2]]))
            images = np.concatenate([images, image])
    return np.array(maps), tuple(modes)
