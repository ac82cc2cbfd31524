"""The tiles of a pair: padding, and their second moments."""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.tile import TileFormat
from stl_search.matrices.pair import MatrixPair


def padded(pair_x: Array, pair_w: Array, tile: TileFormat) -> tuple[Array, Array]:
    """X and W with zeros appended so that the tile divides all sizes."""
    n, k, m = -len(pair_x) % tile.n, -len(pair_w) % tile.k, -pair_w.shape[1] % tile.m
    return np.pad(pair_x, ((0, n), (0, k))), np.pad(pair_w, ((0, k), (0, m)))


def tile_colour(pair: MatrixPair, tile: TileFormat) -> Colour:
    """The second moments of the tiles of a pair: of its calibration rows and of its W."""
    x, w = padded(pair.calibration, pair.w, tile)
    rows, inner, columns = len(x) // tile.n, len(w) // tile.k, w.shape[1] // tile.m
    x_tiles = x.reshape(rows, tile.n, inner, tile.k).transpose(0, 2, 1, 3).reshape(-1, tile.x_size)
    w_tiles = w.reshape(inner, tile.k, columns, tile.m).transpose(0, 2, 1, 3).reshape(-1, tile.w_size)
    return Colour.from_second_moments(x_tiles.T @ x_tiles / len(x_tiles), w_tiles.T @ w_tiles / len(w_tiles))
