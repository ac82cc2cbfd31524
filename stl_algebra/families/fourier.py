"""F1: matrix products through the Fourier transform of a finite group (Cohn and Umans 2003).

The candidate multiplies in the group algebra: embed the tiles by a triple of subsets, transform with the
real Fourier basis, multiply block by block with the best known algorithm for each block, transform back
and read the result. Exact when the triple has the TPP, an approximate product otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.compose import kronecker
from stl_algebra.algorithms.fit import truncate
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import NoCandidate
from stl_algebra.families.algebra_products import block_product
from stl_algebra.families.registry import Request, register
from stl_algebra.groups.group import FiniteGroup
from stl_algebra.representations.fourier import FourierBasis, FourierBlock, fourier_basis
from stl_algebra.triples.property import Triple, find_triple

#: Above this many products a candidate is too slow to prune.
_LARGEST_RANK = 600


def fourier_products(
    basis: FourierBasis, embeddings: tuple[Array, Array, Array], blocks: Sequence[FourierBlock]
) -> tuple[Array, Array, Array]:
    """Factors (r, nk), (r, km), (nm, r) that multiply in some blocks of a group algebra.

    Products whose encoder or decoder vanishes on the tile are left out.

    Args:
        basis: of the group algebra.
        embeddings: (|G|, nk) and (|G|, km) take X and W to the group algebra, the transpose of (|G|, nm)
            reads Y.
        blocks: some or all of the basis; with all, the product in the group algebra is exact.
    """
    x_of, w_of, y_of = (basis.matrix @ e for e in embeddings)
    encode_x, encode_w, decode = [], [], []
    for block in blocks:
        rows = slice(block.start, block.stop)
        left, right, out = block_product(block.size, block.real_type)
        encode_x.append(left @ x_of[rows])
        encode_w.append(right @ w_of[rows])
        decode.append(np.sqrt(block.scale) * y_of[rows].T @ out)
    x, w, d = np.concatenate(encode_x), np.concatenate(encode_w), np.concatenate(decode, axis=1)
    sizes = [np.abs(x).max(axis=1), np.abs(w).max(axis=1), np.abs(d).max(axis=0)]
    alive = np.all([s > 1e-12 for s in sizes], axis=0)
    return x[alive], w[alive], d[:, alive]


def fourier_algorithm(triple: Triple) -> BilinearAlgorithm:
    """The bilinear algorithm of a triple: one product per product of the blocks of R[G]."""
    group = triple.group
    tile = TileFormat(len(triple.s), len(triple.t), len(triple.u))
    basis = fourier_basis(group)
    x, w, y = (np.eye(group.order)[:, e.ravel()] for e in triple.elements())
    return BilinearAlgorithm(
        tile,
        *fourier_products(basis, (x, w, y), basis.blocks),
        f"fourier({group.name})",
        Provenance(
            family="fourier",
            groups=(group.name,),
            parameters={
                "s": [int(g) for g in triple.s],
                "t": [int(g) for g in triple.t],
                "u": [int(g) for g in triple.u],
                "collisions": triple.collisions(),
            },
        ),
    )


@register(
    "fourier",
    uses_group=True,
    summary="one group algebra: approximate triple product property, real Fourier blocks",
)
def fourier(request: Request) -> BilinearAlgorithm:
    """A Fourier candidate on the group itself; seeds give different triples."""
    assert request.group is not None
    return fourier_algorithm(find_triple(request.group, request.tile, request.seed))


@register(
    "fourier-spectral",
    uses_group=True,
    summary="one group algebra, its Fourier products selected to the rank in closed form",
)
def fourier_spectral(request: Request) -> BilinearAlgorithm:
    """A Fourier candidate truncated to the rank, by elimination or greedy selection: the better one."""
    assert request.group is not None
    whole = fourier_algorithm(find_triple(request.group, request.tile, request.seed))
    if whole.rank < request.rank:
        return whole
    kept = [truncate(whole, request.rank, method=method) for method in ("backward", "greedy")]
    best = min(kept, key=nmse)
    return best.renamed(f"fourier-spectral({request.group.name})")


def _split(tile: TileFormat) -> tuple[TileFormat, TileFormat] | None:
    """The format as a Kronecker product, its smallest prime factors outside; None when no side splits."""

    def least(side: int) -> int:
        return next((d for d in range(2, side) if side % d == 0), side if side > 1 else 1)

    outer = TileFormat(*(least(s) for s in (tile.n, tile.k, tile.m)))
    inner = TileFormat(tile.n // outer.n, tile.k // outer.k, tile.m // outer.m)
    return (outer, inner) if inner.products > 1 else None


def _power(group: FiniteGroup, tile: TileFormat, seed: int) -> BilinearAlgorithm:
    parts = _split(tile)
    if parts is None:
        return fourier_algorithm(find_triple(group, tile, seed))
    outer = fourier_algorithm(find_triple(group, parts[0], seed))
    inner = _power(group, parts[1], seed)
    if outer.rank * inner.rank > _LARGEST_RANK:
        raise NoCandidate(
            f"group {group.name}: {outer.rank} x {inner.rank} products are more than {_LARGEST_RANK}"
        )
    return kronecker(outer, inner)


@register(
    "fourier-power",
    uses_group=True,
    summary="Fourier candidates of the prime parts of the tile, multiplied (direct powers of the group)",
)
def fourier_power(request: Request) -> BilinearAlgorithm:
    """The group on each prime level of the tile: a triple in a direct power of the group, level by level."""
    assert request.group is not None
    if _split(request.tile) is None:
        raise NoCandidate(
            f"{request.tile} is no Kronecker product of smaller formats; use the family fourier"
        )
    algorithm = _power(request.group, request.tile, request.seed)
    return algorithm.renamed(
        f"fourier-power({request.group.name})", Provenance(steps=algorithm.provenance.steps)
    )
