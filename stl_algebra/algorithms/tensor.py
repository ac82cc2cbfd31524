"""The matrix multiplication tensor and the algorithm of the definition.

In the convention of `bilinear`, T[(i,l), (l',j), (i',j')] = 1 iff i = i', l = l', j = j'.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tile import TileFormat


@lru_cache(maxsize=64)
def matmul_tensor(tile: TileFormat) -> Array:
    """T, (n*k, k*m, n*m), nkm ones: vec(XW)[y] = sum T[a, b, y] vec(X)[a] vec(W)[b]; read-only."""
    n, k, m = tile.n, tile.k, tile.m
    tensor = np.zeros((n, k, k, m, n, m))
    i, l, j = np.ogrid[:n, :k, :m]
    tensor[i, l, l, j, i, j] = 1.0
    flat = tensor.reshape(n * k, k * m, n * m)
    flat.setflags(write=False)
    return flat


def definition(tile: TileFormat) -> BilinearAlgorithm:
    """The algorithm of the definition: nkm products x_il * w_lj, exact."""
    n, k, m = tile.n, tile.k, tile.m
    i, l, j = (axis.ravel() for axis in np.indices((n, k, m)))
    return BilinearAlgorithm(
        tile,
        np.eye(n * k)[i * k + l],
        np.eye(k * m)[l * m + j],
        np.eye(n * m)[:, i * m + j],
        f"definition{tile}",
        Provenance(family="definition"),
    )
