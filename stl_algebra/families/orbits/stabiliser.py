"""The stabiliser of an algorithm: all symmetries of the tensor that permute its products.

In the bases of least amplification (`algorithms.balance`) every symmetry of the set of products is
orthogonal, so inner products of products, and of their Gram matrices, are invariants. They colour pairs of
products; a search over colour-preserving permutations, individualisation and refinement as for graphs (McKay
and Piperno 2014), finds candidates, and the trilinear values tr(A_i B_j C_k) decide about each and give its
signs. From a chain of point stabilisers come generators and the order, and `GeneratedSymmetry` closes them.

What does not belong here: searching for algorithms with a symmetry (`search`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stl_algebra.algorithms.balance import Gauge, evened, least_amplification_gauge, product_matrices
from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.errors import InvalidInput
from stl_algebra.families.orbits.action import LARGEST_ORDER
from stl_algebra.families.orbits.generated import GeneratedSymmetry
from stl_algebra.families.orbits.invariants import pair_colours, refined
from stl_algebra.families.orbits.signs import SignSystem
from stl_algebra.families.orbits.tensor_maps import MODE_NAMES, TensorMap, permuted, side_sources
from stl_algebra.groups.group import IntArray

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Stabiliser:
    """The symmetries of an algorithm, in PGL_n x PGL_k x PGL_m extended by permutations of the modes.

    Attributes:
        algorithm: whose it is.
        bases: the change of bases (P, Q, R) of least amplification; there the maps are orthogonal.
        generators: of the stabiliser, in those bases.
        order: number of its elements that are orthogonal there; all of them if `dimension` is 0.
        preserving_order: of those that keep the modes.
        modes: the permutations of the modes that occur, as of `GeneratedSymmetry.modes`.
        permutations: (generators, r) which product each generator takes a product to.
        dimension: of the continuous part: above 0 the stabiliser is infinite, and only its compact part
            counts.
    """

    algorithm: BilinearAlgorithm
    bases: Gauge
    generators: tuple[TensorMap, ...]
    order: int
    preserving_order: int
    modes: tuple[str, ...]
    permutations: IntArray
    dimension: int

    @cached_property
    def orbits(self) -> tuple[tuple[int, ...], ...]:
        """The orbits of products, largest first."""
        label = np.arange(self.algorithm.rank)
        for _ in label:
            before = label.copy()
            for p in self.permutations:
                low = np.minimum(label, label[p])
                label = low.copy()
                np.minimum.at(label, p, low)
            if np.array_equal(before, label):
                break
        orbits = [tuple(np.flatnonzero(label == value).tolist()) for value in np.unique(label)]
        return tuple(sorted(orbits, key=lambda o: (-len(o), o)))

    @cached_property
    def ranks(self) -> tuple[tuple[int, int, int], ...]:
        """For each orbit, the ranks of A, B and C of a product, in the order of the modes, greatest first."""
        parts = product_matrices(self.algorithm)
        found = []
        for orbit in self.orbits:
            ranks = sorted(
                (
                    tuple(
                        int(np.linalg.matrix_rank(p[i], tol=_TOLERANCE * np.linalg.norm(p[i]))) for p in parts
                    )
                    for i in orbit
                ),
                reverse=True,
            )
            found.append((ranks[0][0], ranks[0][1], ranks[0][2]))
        return tuple(found)

    @cached_property
    def symmetry(self) -> GeneratedSymmetry | None:
        """The stabiliser as a group; None where it is too large to be listed."""
        if 4 * self.order > LARGEST_ORDER:
            return None
        eyes = [np.eye(len(g)) for g in self.bases]
        generators = self.generators or (TensorMap((0, 1, 2), eyes[0], eyes[1], eyes[2]),)
        return GeneratedSymmetry.of(generators)


def stabiliser(algorithm: BilinearAlgorithm) -> Stabiliser:
    """All symmetries of the tensor that permute the products of an algorithm, exact or approximate.

    Milliseconds to seconds up to rank 50; each candidate costs r^3 operations.

    Raises:
        InvalidInput: two products are equal, one vanishes, the rows of a factor do not span, or the
            amplification has no minimum.
    """
    parts = product_matrices(algorithm)
    _check(parts)
    bases = least_amplification_gauge(parts)
    triple = evened(TensorMap((0, 1, 2), *bases).apply(parts))
    sides = [algorithm.tile.n, algorithm.tile.k, algorithm.tile.m]
    allowed = [m for m in MODE_NAMES if [sides[s] for s in side_sources(m)] == sides]
    search = _Search([permuted(m, triple) for m in allowed])
    order, permutations, maps = search.preserving()
    found = [TensorMap((0, 1, 2), *g) for g in maps]
    reached = [(0, 1, 2)]
    for number, modes in enumerate(allowed[1:], 1):
        one = next(search.maps(number), None)
        if one is not None:
            reached.append(modes)
            permutations.append(one[0])
            found.append(TensorMap(modes, *one[1]))
    return Stabiliser(
        algorithm,
        bases,
        tuple(found),
        order * len(reached),
        order,
        tuple(sorted((MODE_NAMES[m] for m in reached), key="XWZ ZXW WZX".find)),
        np.array(permutations, dtype=np.int64).reshape(-1, algorithm.rank),
        _continuous_dimension(triple),
    )


def _check(parts: Gauge) -> None:
    rank = len(parts[0])
    for name, part in zip(("encode_x", "encode_w", "decode"), parts, strict=True):
        flat = part.reshape(rank, -1)
        if np.linalg.norm(flat, axis=1).min() < 1e-12:
            raise InvalidInput(name, expected="no product that vanishes", got="one")
        if np.linalg.matrix_rank(flat) < flat.shape[1]:
            raise InvalidInput(name, expected="products that span all matrices", got="products that do not")
    unit = [p.reshape(rank, -1) / np.linalg.norm(p, axis=(1, 2))[:, None] for p in parts]
    same = np.prod([f @ f.T for f in unit], axis=0) - np.eye(rank)
    if same.max() > 1 - 1e-9:
        raise InvalidInput("algorithm", expected="different products", got="two that are proportional")


class _Search:
    """Permutations of products that come from the tensor: from a permuted triple of theirs to the triple
    itself."""

    def __init__(self, variants: list[list[Array]]) -> None:
        self.variants = variants
        self.colours = pair_colours(variants)
        self.values = [np.einsum("iab,jbc,kca->ijk", *v, optimize=True) for v in variants]
        self.signs: dict[int, SignSystem] = {}

    def preserving(self) -> tuple[int, list[IntArray], list[Gauge]]:
        """Order and generators of the stabiliser that keeps the modes, by a chain of point stabilisers."""
        rank = len(self.colours[0])
        permutations: list[IntArray] = []
        maps: list[Gauge] = []
        identity = np.arange(rank)
        kernel = self.solutions(0, identity)
        for gauge in kernel[1:]:
            permutations.append(identity)
            maps.append(gauge)
        order = 2 ** (len(kernel) - 1)
        chain = []
        colour = self.refine(0, np.zeros(rank, dtype=np.int64), np.zeros(rank, dtype=np.int64))
        while colour is not None and (cell := _cell(colour[0])) is not None:
            chain.append((colour[0], cell))
            fixed = _individualised(colour[0], cell[0])
            colour = self.refine(0, fixed, fixed)
        for colours, cell in reversed(chain):
            orbit = _orbit(cell[0], permutations)
            for image in cell.tolist():
                if image in orbit:
                    continue
                start = _individualised(colours, cell[0]), _individualised(colours, image)
                one = next(self.maps(0, start), None)
                if one is not None:
                    permutations.append(one[0])
                    maps.append(one[1])
                    orbit = _orbit(cell[0], permutations)
            order *= len(orbit)
        return order, permutations, maps

    def refine(self, variant: int, left: IntArray, right: IntArray) -> tuple[IntArray, IntArray] | None:
        return refined(self.colours[variant], self.colours[0], left, right)

    def maps(
        self, variant: int, start: tuple[IntArray, IntArray] | None = None
    ) -> Iterator[tuple[IntArray, Gauge]]:
        """(permutation, (P, Q, R)) from the products of a variant to those of the triple, colours kept."""
        zero = np.zeros(len(self.colours[0]), dtype=np.int64)
        colours = self.refine(variant, *(start or (zero, zero)))
        if colours is None:
            return
        left, right = colours
        cell = _cell(left)
        if cell is None:
            permutation = np.argsort(right)[np.argsort(np.argsort(left))]
            found = self.solutions(variant, permutation)
            if found:
                yield permutation, found[0]
            return
        for image in np.flatnonzero(right == left[cell[0]]).tolist():
            yield from self.maps(variant, (_individualised(left, cell[0]), _individualised(right, image)))

    def solutions(self, variant: int, permutation: IntArray) -> list[Gauge]:
        """(P, Q, R) that take product i of the variant to product permutation[i]: one, and one for each
        sign left.

        Empty when there is none.
        """
        given, target = self.values[variant], self.values[0][np.ix_(permutation, permutation, permutation)]
        scale = np.abs(given).max()
        if np.abs(np.abs(given) - np.abs(target)).max() > _TOLERANCE * scale:
            return []
        if variant not in self.signs:
            self.signs[variant] = SignSystem.of(np.abs(given) > 10 * _TOLERANCE * scale)
        gauges = []
        for signs in self.signs[variant].solve(given * target < 0):
            maps: list[Array] = []
            for part, image, sign in zip(self.variants[variant], self.variants[0], signs, strict=True):
                flat = image[permutation].reshape(len(part), -1) * sign[:, None]
                solved: Array = np.asarray(np.linalg.lstsq(part.reshape(len(part), -1), flat)[0].T, float)
                maps.append(solved)
            gauge = _bases_of(maps, [p.shape[1] for p in self.variants[0]])
            if gauge is not None:
                gauges.append(gauge)
        return gauges


def _bases_of(maps: list[Array], sides: list[int]) -> Gauge | None:
    """Orthogonal P, Q, R with maps P (x) Q, Q (x) R, R (x) P; None when the maps are not such."""
    n, k, m = sides
    grid = maps[0].reshape(n, k, n, k).transpose(0, 2, 1, 3).reshape(n * n, k * k)
    _, _, v = np.linalg.svd(grid)
    q = v[0].reshape(k, k) * np.sqrt(k)
    p = np.tensordot(maps[0].reshape(n, k, n, k), q, ((1, 3), (0, 1))) / k
    r = np.tensordot(maps[1].reshape(k, m, k, m), q, ((0, 2), (0, 1))) / k
    wrong = max(
        float(np.abs(np.kron(a, b) - one).max()) for one, a, b in zip(maps, (p, q, r), (q, r, p), strict=True)
    )
    skew = max(float(np.abs(g @ g.T - np.eye(len(g))).max()) for g in (p, q, r))
    return (p, q, r) if max(wrong, skew) < 10 * _TOLERANCE else None


def _cell(colour: IntArray) -> IntArray | None:
    """The members of the smallest colour that several have."""
    counts = np.bincount(colour)
    several = np.flatnonzero(counts > 1)
    return np.flatnonzero(colour == several[counts[several].argmin()]) if several.size else None


def _individualised(colour: IntArray, member: int) -> IntArray:
    out = 2 * colour
    out[member] += 1
    return out


def _orbit(point: int, permutations: list[IntArray]) -> set[int]:
    orbit, waiting = {point}, [point]
    while waiting:
        x = waiting.pop()
        for y in (int(p[x]) for p in permutations):
            if y not in orbit:
                orbit.add(y)
                waiting.append(y)
    return orbit


def _continuous_dimension(triple: Sequence[Array]) -> int:
    """Dimension of the Lie algebra of the stabiliser in PGL_n x PGL_k x PGL_m.

    (X, Y, Z) with X A - A Y = a A, Y B - B Z = b B, Z C - C X = c C and a + b + c = 0 for every product.
    """
    sides = [part.shape[1] for part in triple]
    starts = np.concatenate([[0], np.cumsum(np.square(sides))])
    rank, rows = len(triple[0]), []
    factor = np.zeros((rank, starts[-1]))
    for mode, part in enumerate(triple):
        left, right = mode, (mode + 1) % 3
        a, b = part.shape[1:]
        slope = np.zeros((rank, a, b, starts[-1]))
        # d(X A)_ij / dX_pq = [i = p] A_qj, and d(A Y)_ij / dY_pq = A_ip [q = j].
        by_left = np.einsum("ip,rqj->rijpq", np.eye(a), part).reshape(rank, a, b, -1)
        by_right = np.einsum("rip,qj->rijpq", part, np.eye(b)).reshape(rank, a, b, -1)
        slope[..., starts[left] : starts[left + 1]] += by_left
        slope[..., starts[right] : starts[right + 1]] -= by_right
        flat = part.reshape(rank, -1) / np.linalg.norm(part, axis=(1, 2))[:, None]
        slope = slope.reshape(rank, a * b, -1) / np.linalg.norm(part, axis=(1, 2))[:, None, None]
        along = np.einsum("ra,rau->ru", flat, slope)
        rows.append((slope - flat[:, :, None] * along[:, None]).reshape(-1, starts[-1]))
        factor += along
    matrix = np.concatenate([*rows, factor])
    values = np.linalg.svd(matrix, compute_uv=False)
    return int(np.count_nonzero(values < _TOLERANCE * values[0])) - 3
