"""The tiles of a pair: padding, and their second moments."""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.numerics.moments import Moments
from stl_search.matrices.pair import MatrixPair


def padded(pair_x: Array, pair_w: Array, tile: TileFormat) -> tuple[Array, Array]:
    """X and W with zeros appended so that the tile divides all sizes."""
    n, k, m = -len(pair_x) % tile.n, -len(pair_w) % tile.k, -pair_w.shape[1] % tile.m
    return np.pad(pair_x, ((0, n), (0, k))), np.pad(pair_w, ((0, k), (0, m)))


def tile_colour(pair: MatrixPair, tile: TileFormat) -> Colour:
    """The second moments of the tiles of a pair: of its calibration rows and of its W.

    Where moments of many calibration rows are known, the rows of a tile are taken as independent:
    E vec(T) vec(T)^T = I_n (x) C + 1 1^T (x) m m^T, C and m those of the tile's features.
    """
    x, w = padded(pair.calibration, pair.w, tile)
    rows, inner, columns = len(x) // tile.n, len(w) // tile.k, w.shape[1] // tile.m
    w_tiles = w.reshape(inner, tile.k, columns, tile.m).transpose(0, 2, 1, 3).reshape(-1, tile.w_size)
    if pair.moments is None:
        x_tiles = x.reshape(rows, tile.n, inner, tile.k).transpose(0, 2, 1, 3).reshape(-1, tile.x_size)
        second_x = x_tiles.T @ x_tiles / len(x_tiles)
    else:
        second_x = _independent_rows(pair.moments, tile)
    return Colour.from_second_moments(second_x, w_tiles.T @ w_tiles / len(w_tiles))


def _independent_rows(moments: Moments, tile: TileFormat) -> Array:
    """The mean over inner tiles of E vec(T) vec(T)^T, T (n, k) with independent rows."""
    missing = -moments.size % tile.k
    blocks = (moments.size + missing) // tile.k
    mean = np.pad(moments.mean, (0, missing)).reshape(blocks, tile.k)
    covariance = np.pad(moments.covariance, (0, missing)).reshape(blocks, tile.k, blocks, tile.k)
    own = covariance[np.arange(blocks), :, np.arange(blocks)].mean(axis=0)
    out: Array = np.kron(np.eye(tile.n), own) + np.kron(np.ones((tile.n, tile.n)), mean.T @ mean / blocks)
    return out
