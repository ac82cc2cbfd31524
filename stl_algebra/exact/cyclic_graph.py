"""Walks among algorithms of <n,n,n> over GF(2) that a cyclic rotation of the three sides leaves as they are.

In the trilinear form sum x_ij w_jk z_ki rotating (a, b, c) to (b, c, a) is a symmetry. An invariant algorithm
consists of orbits (a, b, c), (b, c, a), (c, a, b) and of fixed products (a, a, a); a flip of two orbits that
share a vector, anywhere, is three flips at once, and one that makes a vector zero saves three products
(Moosbauer and Poole, "Flip graphs with symmetry and new matrix multiplication schemes", 2025). An orbit of
three equal vectors is, modulo 2, one fixed product, and two equal fixed products are none.

Flips hardly ever change the fixed products, so which there are is a choice at the start: any whose vectors
add up to the identity (`Invariant.with_fixed`).

What does not belong here: walks without symmetry (`flip_graph`, `parity_graph`), how a search is made of them
(`cyclic_walks`), lifting (`hensel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.equal_pairs import all_pairs, renew
from stl_algebra.exact.flip_graph import unpack

#: Entries of a vector: bits of a mask.
LARGEST_VECTOR = 62
#: Entries up to which half as wide masks do, which are compared twice as fast.
NARROW = 31

Masks = NDArray[np.int64]
#: int32 or int64; vector `place` of orbit `row` at 3 * row + place, which is its code.
Flat = NDArray[np.signedinteger]


@dataclass(frozen=True, eq=False)
class Invariant:
    """An algorithm of <n,n,n> modulo 2 that rotating the sides leaves as it is.

    Attributes:
        side: n.
        orbits: (3, m) masks of n*n bits, entry (i, j) of the matrix of a side at bit n*i + j; column r stands
            for three products.
        fixed: (f,) masks; each for one product with three equal vectors.
    """

    side: int
    orbits: Masks
    fixed: Masks

    @property
    def rank(self) -> int:
        """Products."""
        return 3 * int(self.orbits.shape[1]) + int(self.fixed.size)

    @classmethod
    def definition(cls, side: int) -> Invariant:
        """The n^3 products x_ij w_jk z_ki: those with i = j = k are fixed."""
        return cls.with_fixed(side, [1 << (side * i + i) for i in range(side)])

    @classmethod
    def with_fixed(cls, side: int, fixed: Sequence[int]) -> Invariant:
        """The algorithm with these fixed products, the rest in products of single entries.

        T - sum a (x) a (x) a is invariant too, so its entries away from the diagonal come in orbits. One at
        (p, p, p) would not; that of T is 1 where p is (i, i), that of a (x) a (x) a is entry p of a.

        Raises:
            InvalidInput: the vectors do not add up to the identity modulo 2.
        """
        size = side * side
        left = np.zeros((size, size, size), dtype=bool)
        i, j, k = np.ogrid[:side, :side, :side]
        left[side * i + j, side * j + k, side * k + i] = True
        for mask in fixed:
            a = unpack(np.array([mask], dtype=np.int64), size)[0] > 0
            left ^= a[:, None, None] & a[None, :, None] & a
        places = np.argwhere(left)
        if (places == places[:, :1]).all(axis=1).any():
            raise InvalidInput(
                "fixed", expected="masks that add up to the identity matrix modulo 2", got=list(fixed)
            )
        # One of the three rotations of each.
        first = (places[:, 0] <= places[:, 1]) & (places[:, 0] < places[:, 2])
        orbits = np.left_shift(1, places[first].T.astype(np.int64))
        return cls(side, np.ascontiguousarray(orbits), np.array(fixed, dtype=np.int64))

    def algorithm(self, steps: str) -> BilinearAlgorithm:
        """The algorithm, entries 0 and 1, exact modulo 2; `steps` goes into its provenance."""
        a, b, c = self.orbits
        sides = (
            np.concatenate([a, b, c, self.fixed]),
            np.concatenate([b, c, a, self.fixed]),
            np.concatenate([c, a, b, self.fixed]),
        )
        x, w, z = (unpack(side, self.side**2) for side in sides)
        # z is dual to the transposed product.
        decode = z.reshape(-1, self.side, self.side).transpose(0, 2, 1).reshape(len(z), -1).T
        tile = TileFormat(self.side, self.side, self.side)
        return definition(tile).with_factors(x, w, decode, steps)

    def ties(self) -> Masks:
        """Which entries of `algorithm`'s factors the rotation makes equal, as `hensel.lift` takes it."""
        size = self.side**2
        many = self.orbits.shape[1]
        unknowns = np.arange(self.rank * size).reshape(-1, size)
        a, b, c = unknowns[: 3 * many].reshape(3, many, size)
        fixed = unknowns[3 * many :]
        # Of the transposed product.
        turned = np.arange(size).reshape(self.side, self.side).T.ravel()
        sides = ([a, b, c], [b, c, a], [c[:, turned], a[:, turned], b[:, turned]])
        ends = (fixed, fixed, fixed[:, turned])
        return np.concatenate([np.concatenate([*s, e]).ravel() for s, e in zip(sides, ends, strict=True)])


def walk(
    start: Invariant,
    *,
    target_rank: int = 0,
    steps: int = 10_000_000,
    plus_after: int = 20_000,
    slack: int = 1,
    seed: int = 0,
) -> Invariant:
    """Walk from `start` towards lower rank; the same arguments give the same walk.

    Args:
        start: where to begin.
        target_rank: stop as soon as the rank is at most this.
        steps: flips to try.
        plus_after: steps without a lower rank after which an orbit is added.
        slack: how many orbits above the best one the walk may go.
        seed: of the walk.

    Returns:
        The one of lowest rank that was met, `start` itself where none was lower; of equal ranks the last.
    """
    many = start.orbits.shape[1]
    # Room for the highest rank that a walk reaches, were it all orbits; an orbit more while one is added.
    flat: Flat = np.zeros(
        3 * (start.rank // 3 + slack + 2), dtype=np.int32 if start.side**2 <= NARROW else np.int64
    )
    flat[: 3 * many] = start.orbits.T.ravel()
    # An orbit that ends as three equal vectors adds a fixed product.
    fixed: Flat = np.zeros(start.fixed.size + many + slack + 2, dtype=flat.dtype)
    fixed[: start.fixed.size] = start.fixed
    sizes = np.array([many, start.fixed.size], dtype=np.int64)
    generator = np.random.default_rng(seed)
    found, kept, best = _walk(flat, fixed, sizes, target_rank, steps, plus_after, slack, generator)
    orbits = found[: 3 * best[0]].reshape(-1, 3).T.astype(np.int64)
    return Invariant(start.side, np.ascontiguousarray(orbits), kept[: best[1]].astype(np.int64))


@numba.njit(cache=True)
def collapsed(flat: Flat, row: int) -> bool:
    """Whether an orbit is nothing, or one fixed product."""
    a, b, c = flat[3 * row], flat[3 * row + 1], flat[3 * row + 2]
    return bool(a == 0 or b == 0 or c == 0 or (a == b and b == c))


@numba.njit(cache=True)
def _toggle(fixed: Flat, sizes: Masks, value: int) -> None:
    """Add a fixed product, or take it away where it is there already."""
    for place in range(sizes[1]):
        if fixed[place] == value:
            sizes[1] -= 1
            fixed[place] = fixed[sizes[1]]
            return
    fixed[sizes[1]] = value
    sizes[1] += 1


@numba.njit(cache=True)
def tidy(flat: Flat, fixed: Flat, sizes: Masks) -> None:
    """Remove orbits with a zero vector; one of three equal ones becomes a fixed product, or cancels one."""
    row = 0
    while row < sizes[0]:
        if not collapsed(flat, row):
            row += 1
            continue
        a, b, c = flat[3 * row], flat[3 * row + 1], flat[3 * row + 2]
        if a != 0 and a == b and b == c:
            _toggle(fixed, sizes, a)
        sizes[0] -= 1
        for place in range(3):
            flat[3 * row + place] = flat[3 * sizes[0] + place]


@numba.njit(cache=True)
def flip(flat: Flat, one: int, other: int, near: int) -> tuple[int, int]:
    """a b c + a b' c' = a (b + b') c + a b' (c + c'), or with b and c in each other's place.

    Args:
        flat: is changed in two places.
        one: where a stands in an orbit.
        other: where it stands in another.
        near: steps from a to what is b here: 1 or 2.

    Returns:
        The two places that have changed.
    """
    i, j, far = one // 3, other // 3, 3 - near
    changed = 3 * i + (one + near) % 3
    partner = 3 * j + (other + far) % 3
    flat[changed] ^= flat[3 * j + (other + near) % 3]
    flat[partner] ^= flat[3 * i + (one + far) % 3]
    return changed, partner


@numba.njit(cache=True)
def make_three(flat: Flat, many: int, i: int, j: int, p: int, q: int) -> bool:
    """Two orbits become three: a b c + a' b' c' = a (b + b') c + a b' (c + c') + (a + a') b' c' modulo 2.

    Args:
        flat: with room for an orbit more.
        many: orbits.
        i: one orbit.
        j: another.
        p: where a stands in the first.
        q: where a' stands in the second.

    Returns:
        False where two of the vectors are equal; nothing is changed then.
    """
    a, b, c = flat[3 * i + p], flat[3 * i + (p + 1) % 3], flat[3 * i + (p + 2) % 3]
    d, e, f = flat[3 * j + q], flat[3 * j + (q + 1) % 3], flat[3 * j + (q + 2) % 3]
    if a == d or b == e or c == f:
        return False
    flat[3 * many], flat[3 * many + 1], flat[3 * many + 2] = a, e, c ^ f
    flat[3 * i], flat[3 * i + 1], flat[3 * i + 2] = a, b ^ e, c
    flat[3 * j], flat[3 * j + 1], flat[3 * j + 2] = a ^ d, e, f
    return True


@numba.njit(cache=True)
def _plus(flat: Flat, many: int, rng: np.random.Generator) -> bool:
    for _ in range(1000):
        i, j = int(many * rng.random()), int(many * rng.random())
        if i == j:
            continue
        p, q = int(3 * rng.random()), int(3 * rng.random())
        if make_three(flat, many, i, j, p, q):
            return True
    return False


@numba.njit(cache=True)
def _walk(
    flat: Flat,
    fixed: Flat,
    sizes: Masks,
    target_rank: int,
    steps: int,
    plus_after: int,
    slack: int,
    rng: np.random.Generator,
) -> tuple[Flat, Flat, Masks]:
    pairs = np.zeros((flat.size * flat.size // 2, 2), dtype=np.int32)
    count = all_pairs(flat, 3 * sizes[0], pairs, 3)
    best, best_fixed, best_sizes = flat.copy(), fixed.copy(), sizes.copy()
    best_rank, last_change, step = 3 * sizes[0] + sizes[1], 0, 0
    while step < steps and best_rank > target_rank:
        step += 1
        if count == 0 or step - last_change > plus_after:
            last_change = step
            if 3 * sizes[0] + sizes[1] >= best_rank + 3 * slack:
                # Too far up for too long: begin again at the best.
                flat[:], fixed[:], sizes[:] = best, best_fixed, best_sizes
            if sizes[0] > 1 and _plus(flat, sizes[0], rng):
                sizes[0] += 1
            tidy(flat, fixed, sizes)
            count = all_pairs(flat, 3 * sizes[0], pairs, 3)
            continue
        chosen = int(4 * count * rng.random())
        coin, chosen = chosen & 3, chosen >> 2
        one, other = pairs[chosen, 0], pairs[chosen, 1]
        if coin & 1:
            one, other = other, one
        i, j = one // 3, other // 3
        changed, partner = flip(flat, one, other, 1 + (coin >> 1))
        if collapsed(flat, i) or collapsed(flat, j):
            tidy(flat, fixed, sizes)
            count = all_pairs(flat, 3 * sizes[0], pairs, 3)
            rank = 3 * sizes[0] + sizes[1]
            last_change = step
            if rank <= best_rank:
                best[:], best_fixed[:], best_sizes[:] = flat, fixed, sizes
                best_rank = rank
        else:
            count = renew(flat, 3 * sizes[0], pairs, count, changed, 3)
            count = renew(flat, 3 * sizes[0], pairs, count, partner, 3)
    return best, best_fixed, best_sizes
