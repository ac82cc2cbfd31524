"""Starts for sorted features: an exact algorithm on the strongest inner indices, and random products.

Where the features of a tile are sorted by variance (`algorithms.profile`), a cheaper exact algorithm on the
first inner indices makes a smaller error than an approximate one on all of them; random products let
refinement reach the rest (docs/theory.md, section 15).
"""

from __future__ import annotations

import contextlib

import numpy as np

from stl_algebra.algorithms.balance import balance
from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.families.random_products import with_random_products
from stl_algebra.families.registry import Request, register

#: Random products at most, beyond those that the rank needs.
_MOST_RANDOM = 16


@register(
    "strongest",
    uses_group=False,
    for_profiles=True,
    summary="an exact algorithm on the first inner indices, turned at random, and random products",
)
def strongest(request: Request) -> BilinearAlgorithm:
    """<n, k', m> with k/2 <= k' <= k, rounded down, by the seed, of least amplification, in a random
    orthogonal basis of the inner side; zeros on the other inner indices, and as many random products as the
    rank needs or more.
    """
    rng = np.random.default_rng(request.seed)
    t = request.tile
    sides = range(max(1, t.k // 2), t.k + 1)
    inner = int(rng.choice(list(sides)))
    part = exact_algorithm(TileFormat(t.n, inner, t.m))
    with contextlib.suppress(InvalidInput):
        # Bases of least amplification do not exist for every algorithm; any will do.
        part = balance(part)
    turn = np.linalg.qr(rng.normal(size=(inner, inner)))[0]
    part = sandwich(part, np.eye(t.n), turn, np.eye(t.m))
    least = max(request.rank - part.rank, 0)
    count = least + int(rng.integers(_MOST_RANDOM)) * (inner < t.k)
    x = np.zeros((part.rank, t.n, t.k))
    w = np.zeros((part.rank, t.k, t.m))
    x[:, :, :inner] = part.encode_x.reshape(-1, t.n, inner)
    w[:, :inner] = part.encode_w.reshape(-1, inner, t.m)
    steps = (f"start {part!r} on the first {inner} of {t.k} inner indices, {count} random products",)
    wide = BilinearAlgorithm(
        t, x.reshape(part.rank, -1), w.reshape(part.rank, -1), part.decode, f"pruned {part.name}"
    )
    return with_random_products(wide, count, rng, steps)
