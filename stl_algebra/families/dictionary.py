"""Starts from a dictionary: products of known exact algorithms, each in another basis, and cut down at once.

An exact algorithm has as many spellings as there are signed permutations of its sides, rotations of its modes
and products of smaller ones. Once products are taken away they lead to different approximate ones, so drawing
one spelling a seed visits many basins for little time (docs/theory.md, section 14).

What does not belong here: one exact algorithm that refinement prunes product by product (`ungrouped.known`),
approximate algorithms to begin with (`neighbours`).
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.compose import cyclic_shift, kronecker, permute_format, sandwich, transpose
from stl_algebra.algorithms.fit import truncate
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, strassen, winograd
from stl_algebra.families.registry import Request, register

#: Products left over what was asked for, one of these by the seed: refinement chooses among the last ones.
_LEFT_OVER = (8, 16, 24)
#: What needs more products than so many times those of the cheapest is no start worth while.
_DEARER = 1.05
#: Relative spread of the costs in closed form, so that one spelling can be cut down differently.
_NOISE = 0.1


@register(
    "dictionary",
    uses_group=False,
    summary="products of known exact algorithms in random signed bases, cut down in closed form",
)
def dictionary(request: Request) -> BilinearAlgorithm:
    """A product drawn by the seed, cut down to the rank and 8, 16 or 24 products more."""
    rng = np.random.default_rng(request.seed)
    tile = request.tile
    entries = [pair for pair in _pairs(tile) if _rank(pair) >= request.rank]
    least = min(map(_rank, entries), default=0)
    entries = [pair for pair in entries if _rank(pair) <= _DEARER * least]
    if not entries:
        whole = definition(tile)
        return whole.renamed(f"pruned {whole.name}", Provenance(steps=(f"start {whole!r}",)))
    parts = [_respelt(part, rng) for part in entries[int(rng.integers(len(entries)))]]
    whole = parts[0] if len(parts) == 1 else kronecker(*parts)
    name = " (x) ".join(part.name or repr(part) for part in parts)
    rank = min(request.rank + int(rng.choice(_LEFT_OVER)), whole.rank)
    steps: tuple[str, ...] = (f"start {name}, signed and permuted at random",)
    if rank < whole.rank:
        whole = truncate(whole, rank, noise=_NOISE, seed=int(rng.integers(2**31)))
        steps += whole.provenance.steps[-1:]
    return whole.renamed(f"pruned {name}", Provenance(steps=steps))


@cache
def _pairs(tile: TileFormat) -> tuple[tuple[BilinearAlgorithm, ...], ...]:
    """Parts whose product is of the format, an outer and an inner one; a single one that is of it itself."""
    found: list[tuple[BilinearAlgorithm, ...]] = [(part,) for part in _exact(tile)]
    for outer in map(TileFormat, *zip(*product(*map(_divisors, (tile.n, tile.k, tile.m))), strict=True)):
        inner = TileFormat(tile.n // outer.n, tile.k // outer.k, tile.m // outer.m)
        if 1 in (outer.products, inner.products):
            continue
        found += product(_exact(outer), _exact(inner))
    return tuple(found)


def _exact(tile: TileFormat) -> tuple[BilinearAlgorithm, ...]:
    return (
        (strassen(), winograd()) if tile.products == 8 and tile.n == tile.k == 2 else (exact_algorithm(tile),)
    )


def _divisors(side: int) -> list[int]:
    return [d for d in range(1, side + 1) if side % d == 0]


def _rank(parts: tuple[BilinearAlgorithm, ...]) -> int:
    return int(np.prod([part.rank for part in parts]))


def _respelt(part: BilinearAlgorithm, rng: np.random.Generator) -> BilinearAlgorithm:
    """The algorithm in signed bases, after a rotation of its modes and a transposition, in its own format."""
    t = part.tile
    turned = part
    for _ in range(int(rng.integers(3))):
        turned = cyclic_shift(turned)
    if rng.integers(2):
        turned = transpose(turned)
    turned = permute_format(turned, t)
    a, b, c = (_signed_permutation(side, rng) for side in (t.n, t.k, t.m))
    return sandwich(turned, a, b, c).renamed(part.name, part.provenance)


def _signed_permutation(side: int, rng: np.random.Generator) -> Array:
    signs = rng.choice([-1.0, 1.0], side)
    out: Array = np.eye(side)[rng.permutation(side)] * signs
    return out
