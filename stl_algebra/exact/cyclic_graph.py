"""Walks among algorithms of <n,n,n> over GF(2) that a cyclic rotation of the three sides leaves as they are.

In the trilinear form sum x_ij w_jk z_ki rotating (a, b, c) to (b, c, a) is a symmetry. An invariant algorithm
consists of orbits (a, b, c), (b, c, a), (c, a, b) and of fixed products (a, a, a); a flip of two orbits that
share a vector, anywhere, is three flips at once, and one that makes a vector zero saves three products
(Moosbauer and Poole, "Flip graphs with symmetry and new matrix multiplication schemes", 2025). An orbit of
three equal vectors is, modulo 2, one fixed product, and two equal fixed products are none.

What does not belong here: walks without symmetry (`flip_graph`), how a search is made of them
(`cyclic_walks`), lifting (`hensel`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.flip_graph import unpack

#: Entries of a vector: bits of a mask.
LARGEST_VECTOR = 62
#: Products that `_merge` adds at most.
_MERGE = 7

Masks = NDArray[np.int64]


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
        bit = np.left_shift(1, np.arange(side * side, dtype=np.int64)).reshape(side, side)
        triples = [
            (i, j, k)
            for i in range(side)
            for j in range(side)
            for k in range(side)
            # One of the three rotations, and none of the fixed ones.
            if (i, j, k) < min((j, k, i), (k, i, j))
        ]
        masks = [[bit[i, j], bit[j, k], bit[k, i]] for i, j, k in triples]
        orbits = np.array(masks, dtype=np.int64).reshape(-1, 3).T
        return cls(side, np.ascontiguousarray(orbits), np.diag(bit).copy())

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
    # Room for the highest rank that a walk reaches, whatever it consists of.
    highest = start.rank + 3 * slack + _MERGE + 3
    orbits = np.zeros((3, highest // 3 + 1), dtype=np.int64)
    orbits[:, :many] = start.orbits
    fixed = np.zeros(highest, dtype=np.int64)
    fixed[: start.fixed.size] = start.fixed
    sizes = np.array([many, start.fixed.size], dtype=np.int64)
    generator = np.random.default_rng(seed)
    found, kept, best = _walk(orbits, fixed, sizes, target_rank, steps, plus_after, slack, generator)
    return Invariant(start.side, found[:, : best[0]].copy(), kept[: best[1]].copy())


@numba.njit(cache=True)
def _renew(orbits: Masks, pairs: Masks, count: int, code: int, many: int) -> int:
    """Rebuild the pairs of equal vectors that have to do with one; a vector's code is 3 * orbit + place."""
    kept = 0
    for p in range(count):
        if pairs[p, 0] != code and pairs[p, 1] != code:
            pairs[kept, 0] = pairs[p, 0]
            pairs[kept, 1] = pairs[p, 1]
            kept += 1
    row = code // 3
    value = orbits[code % 3, row]
    for other in range(many):
        if other != row:
            for place in range(3):
                if orbits[place, other] == value:
                    pairs[kept, 0] = code
                    pairs[kept, 1] = 3 * other + place
                    kept += 1
    return kept


@numba.njit(cache=True)
def _all_pairs(orbits: Masks, pairs: Masks, many: int) -> int:
    count = 0
    for one in range(3 * many):
        for other in range(3 * (one // 3)):
            if orbits[one % 3, one // 3] == orbits[other % 3, other // 3]:
                pairs[count, 0] = one
                pairs[count, 1] = other
                count += 1
    return count


@numba.njit(cache=True)
def _collapsed(orbits: Masks, row: int) -> bool:
    """Whether an orbit is nothing, or one fixed product."""
    a, b, c = orbits[0, row], orbits[1, row], orbits[2, row]
    return bool(a == 0 or b == 0 or c == 0 or (a == b and b == c))


@numba.njit(cache=True)
def _toggle(fixed: Masks, sizes: Masks, value: int) -> None:
    """Add a fixed product, or take it away where it is there already."""
    for place in range(sizes[1]):
        if fixed[place] == value:
            sizes[1] -= 1
            fixed[place] = fixed[sizes[1]]
            return
    fixed[sizes[1]] = value
    sizes[1] += 1


@numba.njit(cache=True)
def _tidy(orbits: Masks, fixed: Masks, sizes: Masks) -> None:
    """Remove orbits with a zero vector; one of three equal ones becomes a fixed product, or cancels one."""
    row = 0
    while row < sizes[0]:
        if not _collapsed(orbits, row):
            row += 1
            continue
        a, b, c = orbits[0, row], orbits[1, row], orbits[2, row]
        if a != 0 and a == b and b == c:
            _toggle(fixed, sizes, a)
        sizes[0] -= 1
        orbits[:, row] = orbits[:, sizes[0]]


@numba.njit(cache=True)
def _plus(orbits: Masks, many: int, rng: np.random.Generator) -> bool:
    """Two orbits become three: a b c + a' b' c' = a (b + b') c + a b' (c + c') + (a + a') b' c' modulo 2."""
    for _ in range(1000):
        i, j = int(rng.integers(0, many)), int(rng.integers(0, many))
        if i == j:
            continue
        p, q = int(rng.integers(0, 3)), int(rng.integers(0, 3))
        a, b, c = orbits[p, i], orbits[(p + 1) % 3, i], orbits[(p + 2) % 3, i]
        d, e, f = orbits[q, j], orbits[(q + 1) % 3, j], orbits[(q + 2) % 3, j]
        if a == d or b == e or c == f:
            continue
        orbits[0, many], orbits[1, many], orbits[2, many] = a, e, c ^ f
        orbits[0, i], orbits[1, i], orbits[2, i] = a, b ^ e, c
        orbits[0, j], orbits[1, j], orbits[2, j] = a ^ d, e, f
        return True
    return False


@numba.njit(cache=True)
def _merge(orbits: Masks, fixed: Masks, sizes: Masks, rng: np.random.Generator) -> None:
    """Two fixed products become one and two orbits: u^3 + v^3 = (u + v)^3 and orbits of uuv, uvv, modulo 2.

    v is the vector of another fixed product, or, as often, any of an orbit: then v^3 is left over.
    """
    u = fixed[rng.integers(0, sizes[1])]
    if rng.integers(0, 2) or sizes[1] < 2:
        v = orbits[rng.integers(0, 3), rng.integers(0, sizes[0])]
    else:
        v = fixed[rng.integers(0, sizes[1])]
    if u == v:
        return
    for value in (u, v, u ^ v):
        _toggle(fixed, sizes, value)
    for middle in (u, v):
        orbits[0, sizes[0]], orbits[1, sizes[0]], orbits[2, sizes[0]] = u, middle, v
        sizes[0] += 1


@numba.njit(cache=True)
def _walk(
    orbits: Masks,
    fixed: Masks,
    sizes: Masks,
    target_rank: int,
    steps: int,
    plus_after: int,
    slack: int,
    rng: np.random.Generator,
) -> tuple[Masks, Masks, Masks]:
    capacity = 3 * orbits.shape[1]
    pairs = np.zeros((capacity * capacity, 2), dtype=np.int64)
    count = _all_pairs(orbits, pairs, sizes[0])
    best, best_fixed, best_sizes = orbits.copy(), fixed.copy(), sizes.copy()
    best_rank, last_change, step = 3 * sizes[0] + sizes[1], 0, 0
    while step < steps and best_rank > target_rank:
        step += 1
        if count == 0 or step - last_change > plus_after:
            last_change = step
            if 3 * sizes[0] + sizes[1] >= best_rank + 3 * slack:
                # Too far up for too long: begin again at the best.
                orbits[:], fixed[:], sizes[:] = best, best_fixed, best_sizes
            if sizes[1] and sizes[0] and rng.integers(0, 2):
                _merge(orbits, fixed, sizes, rng)
            elif sizes[0] > 1 and _plus(orbits, sizes[0], rng):
                sizes[0] += 1
            _tidy(orbits, fixed, sizes)
            count = _all_pairs(orbits, pairs, sizes[0])
            continue
        chosen = rng.integers(0, 4 * count)
        coin, chosen = chosen & 3, chosen >> 2
        one, other = pairs[chosen, 0], pairs[chosen, 1]
        if coin & 1:
            one, other = other, one
        i, j = one // 3, other // 3
        # a b c + a b' c' = a (b + b') c + a b' (c + c'), or with b and c in each other's place.
        near, far = (1, 2) if coin & 2 else (2, 1)
        p, q = (one % 3 + near) % 3, (other % 3 + near) % 3
        s, t = (one % 3 + far) % 3, (other % 3 + far) % 3
        orbits[p, i] ^= orbits[q, j]
        orbits[t, j] ^= orbits[s, i]
        if _collapsed(orbits, i) or _collapsed(orbits, j):
            _tidy(orbits, fixed, sizes)
            count = _all_pairs(orbits, pairs, sizes[0])
            rank = 3 * sizes[0] + sizes[1]
            last_change = step
            if rank <= best_rank:
                best[:], best_fixed[:], best_sizes[:] = orbits, fixed, sizes
                best_rank = rank
        else:
            count = _renew(orbits, pairs, count, 3 * i + p, sizes[0])
            count = _renew(orbits, pairs, count, 3 * j + t, sizes[0])
    return best, best_fixed, best_sizes
