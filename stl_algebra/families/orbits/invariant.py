"""Algorithms that are unions of orbits: their linear parametrisation and refinement inside it.

The unknowns are the representatives, one triple in Fix(K) for each orbit; all factors together are a linear
map of them, with orthonormal columns after scaling by the orbit sizes. Levenberg-Marquardt runs in the
range of that map, so every iterate is exactly invariant and unknowns shrink by about |Gamma|.

What does not belong here: which orbits (`orbit_types`), how the search draws them (`family`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.families.orbits.action import ActsOnProducts
from stl_algebra.families.orbits.orbit_types import OrbitType
from stl_algebra.numerics.cp.levenberg_marquardt import CPFit, cp_levenberg_marquardt

#: (pull, iterations): a falling pull towards zero keeps the factors bounded on the way to an exact algorithm.
SCHEDULE = ((1e-2, 60), (1e-3, 60), (0.0, 300))


def embedding(symmetry: ActsOnProducts, orbits: Sequence[OrbitType]) -> Array:
    """E, (P, Q) with orthonormal columns: the factors of all invariant algorithms with these orbits.

    P = r * (nk + km + nm) entries in the order of `cp_gram`: encode_x.T, encode_w.T, decode, each
    flattened row by row; Q = the sum of the dimensions of Fix(K).
    """
    maps = symmetry.action.maps
    return stacked(symmetry, [maps[o.movers] @ o.basis / np.sqrt(o.size) for o in orbits])


def stacked(symmetry: ActsOnProducts, images: Sequence[Array]) -> Array:
    """The linear map of `embedding` from the images (size, d, p) of a basis of representatives, by orbit."""
    action, tile = symmetry.action, symmetry.tile
    rank = sum(block.shape[0] for block in images)
    width = sum(block.shape[2] for block in images)
    # (triple entry, product, unknown)
    out = np.zeros((sum(action.sides), rank, width))
    product = column = 0
    for block in images:
        stop, end = product + block.shape[0], column + block.shape[2]
        out[:, product:stop, column:end] = block.transpose(1, 0, 2)
        product, column = stop, end
    x, w, z = np.split(out, np.cumsum(action.sides)[:-1])
    # The third matrix is (m, n); the decoder holds its transpose.
    y = z.reshape(tile.m, tile.n, rank, width).swapaxes(0, 1)
    return np.concatenate([part.reshape(-1, width) for part in (x, w, y)])


def flattened(algorithm: BilinearAlgorithm) -> Array:
    """(P,) the entries of an algorithm in the order of the rows of `embedding`."""
    return np.concatenate([factor.T.ravel() for factor in algorithm.factors])


def orbit_weights(orbits: Sequence[OrbitType]) -> Array:
    """(r,) the size of its orbit for each representative, 0 for the other products of an embedding."""
    return np.concatenate([np.eye(1, o.size)[0] * o.size for o in orbits])


def random_starts(space: Array, tile_sizes: tuple[int, int, int], starts: int, seed: int) -> list[Array]:
    """Gaussian starts in the range of an embedding: one (starts, side, r) array per factor.

    Entries have variance about 1, like those of unstructured Gaussian starts.
    """
    rng = np.random.default_rng(seed)
    unknowns = rng.normal(size=(starts, space.shape[1]))
    flat = unknowns @ space.T * np.sqrt(space.shape[0] / space.shape[1])
    rank = space.shape[0] // sum(tile_sizes)
    bounds = np.cumsum([size * rank for size in tile_sizes])[:-1]
    return [
        part.reshape(starts, size, rank)
        for part, size in zip(np.split(flat, bounds, axis=1), tile_sizes, strict=True)
    ]


def refine_invariant(
    symmetry: ActsOnProducts,
    orbits: Sequence[OrbitType],
    *,
    starts: int = 8,
    seed: int = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    factors: Sequence[Any] | None = None,
) -> CPFit:
    """Levenberg-Marquardt over the representatives, along a falling pull.

    Args:
        symmetry: acts on the format `symmetry.tile`.
        orbits: one entry per orbit; repetitions are allowed.
        starts: independent random starts.
        seed: of the random starts.
        schedule: (pull, iterations) pairs, at least one; see `cp_levenberg_marquardt`.
        factors: invariant factors to start from instead, for instance those of an earlier fit.

    Returns:
        The fit; its factors are invariant to rounding. One iteration and start costs the rows of the
        representatives in the normal matrix (`cp_gram_within`) and a Cholesky factorisation of the order of
        the unknowns.
    """
    tile = symmetry.tile
    space = embedding(symmetry, orbits)
    if factors is None:
        factors = random_starts(space, (tile.x_size, tile.w_size, tile.y_size), starts, seed)
    target, weights = matmul_tensor(tile), orbit_weights(orbits)
    return cp_levenberg_marquardt(target, factors, schedule=schedule, basis=space, weights=weights)


def algorithms_of(
    fit: CPFit, symmetry: ActsOnProducts, orbits: Sequence[OrbitType]
) -> list[BilinearAlgorithm]:
    """The algorithms of a fit, best loss first, with the symmetry and the orbits in their provenance."""
    order = np.argsort(fit.loss.numpy(), kind="stable")
    x, w, d = (f.numpy() for f in fit.factors)
    provenance = Provenance(
        family="orbits",
        groups=(symmetry.group.name,),
        parameters={
            "symmetry": str(symmetry),
            "orbit_sizes": [o.size for o in orbits],
            "stabiliser_orders": [len(o.stabiliser) for o in orbits],
            "free_parameters": sum(o.free_parameters for o in orbits),
        },
    )
    return [
        BilinearAlgorithm(symmetry.tile, x[i].T, w[i].T, d[i], f"orbits({symmetry})", provenance)
        for i in order
    ]
