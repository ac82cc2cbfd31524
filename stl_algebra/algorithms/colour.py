"""The colour of tiles: their second moments, and the target tensor in that metric."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Colour:
    """Second moments of the tiles that an algorithm will meet, by their symmetric square roots.

    The error on white tiles is the squared distance of two tensors; on tiles with second moments S_x and
    S_w it is the same distance after multiplying mode 1 by S_x^(1/2) and mode 2 by S_w^(1/2).

    Attributes:
        root_x: (nk, nk), root_w: (km, km).
    """

    root_x: Array
    root_w: Array

    @classmethod
    def from_second_moments(cls, second_x: ArrayLike, second_w: ArrayLike) -> Colour:
        """From S_x = E[vec(X) vec(X)^T] (nk, nk) and S_w (km, km), positive semidefinite.

        Raises:
            InvalidInput: not square, not finite, not symmetric or not positive semidefinite.
        """
        return cls(_square_root("second_x", second_x), _square_root("second_w", second_w))


def _square_root(name: str, second: ArrayLike) -> Array:
    matrix = np.asarray(second, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InvalidInput(name, expected="a square matrix", got=f"shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InvalidInput(name, expected="finite entries", got="NaN or an infinity")
    scale = float(np.abs(matrix).max())
    if scale == 0:
        raise InvalidInput(name, expected="a second moment that is not zero", got="zeros")
    if not np.allclose(matrix, matrix.T, atol=1e-8 * scale):
        raise InvalidInput(name, expected="a symmetric matrix", got="an asymmetric one")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    if values.min() < -1e-8 * scale:
        raise InvalidInput(
            name, expected="a positive semidefinite matrix", got=f"an eigenvalue of {values.min():.3g}"
        )
    root: Array = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def target_tensor(tile: TileFormat, colour: Colour | None = None) -> Array:
    """The matmul tensor (nk, km, nm), multiplied by the colour's roots on modes 1 and 2 if one is given."""
    tensor = matmul_tensor(tile)
    if colour is None:
        return tensor
    _check_colour(tile, colour)
    out: Array = np.einsum("ac,cdy,db->aby", colour.root_x, tensor, colour.root_w, optimize=True)
    return out


def _check_colour(tile: TileFormat, colour: Colour) -> None:
    for name, root, size in (("root_x", colour.root_x, tile.x_size), ("root_w", colour.root_w, tile.w_size)):
        if root.shape != (size, size):
            raise InvalidInput(
                f"colour.{name}", expected=f"shape ({size}, {size}) for {tile}", got=f"shape {root.shape}"
            )


def coloured_encoders(algorithm: BilinearAlgorithm, colour: Colour | None) -> tuple[Array, Array]:
    """(encode_x S_x^(1/2), encode_w S_w^(1/2)); the encoders themselves for white tiles."""
    if colour is None:
        return algorithm.encode_x, algorithm.encode_w
    _check_colour(algorithm.tile, colour)
    return algorithm.encode_x @ colour.root_x, algorithm.encode_w @ colour.root_w
