"""Closed-form errors of a bilinear algorithm, and the best factor given the other two.

Pure functions with one convention: NMSE is E|XW - Y|^2 / E|XW|^2, relative squared Frobenius error. The
exact statements and their limits are in the theory notes, section 2; sampling on actual matrices lives in
`stl_search`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm, TileFormat
from stl_algebra.algorithms.compose import matmul_tensor
from stl_algebra.errors import InvalidInput

IntArray = NDArray[np.int64]

#: Data types that a total can be asked for, coarse to fine.
DTYPES = ("bf16", "fp16", "tf32", "fp32")


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


def nmse(algorithm: BilinearAlgorithm, colour: Colour | None = None) -> float:
    """|T - T^|^2 / |T|^2 in the colour's metric: the exact NMSE on white tiles when `colour` is None.

    For coloured tiles it is exact when tiles at different inner positions are uncorrelated in X or in W.
    Costs r * nk * km * nm multiplications. Ignores rounding: see `amplification`.
    """
    target = target_tensor(algorithm.tile, colour)
    x, w = coloured_encoders(algorithm, colour)
    computed = np.einsum("ra,rb,yr->aby", x, w, algorithm.decode, optimize=True)
    return float(np.sum((target - computed) ** 2) / np.sum(target**2))


def amplification(algorithm: BilinearAlgorithm, colour: Colour | None = None) -> float:
    """A = sum_rho |x_rho|^2 |w_rho|^2 |d_rho|^2 / |T|^2, norms in the colour's metric.

    Rounding each encoded product with relative error e adds about c e^2 A to the NMSE (theory notes,
    section 2). Invariant under rescaling the three vectors of a product.
    """
    x, w = coloured_encoders(algorithm, colour)
    energy = float(np.sum(target_tensor(algorithm.tile, colour) ** 2))
    products = np.sum(x**2, axis=1) * np.sum(w**2, axis=1) * np.sum(algorithm.decode**2, axis=0)
    return float(products.sum() / energy)


@lru_cache(maxsize=1)
def _measured_constants() -> dict[str, Any]:
    text = files("stl_algebra").joinpath("data/dtype_constants.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def rounding_constant(dtype: str) -> float:
    """The measured c of `added NMSE = c A` for "bf16", "fp16", "tf32" or "fp32".

    The constants are stored in stl_algebra/data/dtype_constants.json with the command that measured them.

    Raises:
        InvalidInput: unknown dtype.
    """
    if dtype not in DTYPES:
        raise InvalidInput("dtype", expected=f"one of {', '.join(DTYPES)}", got=repr(dtype))
    return float(_measured_constants()["constants"][dtype]["added_nmse_per_amplification"])


def total(algorithm: BilinearAlgorithm, dtype: str, colour: Colour | None = None) -> float:
    """NMSE + c(dtype) A: the score that counts.

    Raises:
        InvalidInput: unknown dtype.
    """
    return nmse(algorithm, colour) + rounding_constant(dtype) * amplification(algorithm, colour)


def column_row_nmse(tile: TileFormat, rank: int) -> float:
    """1 - r / nkm: NMSE of keeping r of the nkm products of the definition, the trivial baseline."""
    return 1.0 - rank / tile.products


def best_decoder(
    tile: TileFormat,
    encode_x: ArrayLike,
    encode_w: ArrayLike,
    penalty: float = 0.0,
    colour: Colour | None = None,
) -> Array:
    """The decoder that minimises NMSE + penalty * A for given encoders, (nm, r), by least squares.

    The Gram matrix of the rank-one terms is the Hadamard product of the two encoders' Grams, plus
    penalty * |x_rho|^2 |w_rho|^2 on the diagonal. Dependent products get the minimum-norm decoder.

    Raises:
        InvalidInput: shapes do not match the format, or the penalty is negative.
    """
    if not penalty >= 0:
        raise InvalidInput("penalty", expected="a number of at least 0", got=penalty)
    rank = np.asarray(encode_x).shape[0]
    algorithm = BilinearAlgorithm(tile, encode_x, encode_w, np.zeros((tile.y_size, rank)))
    x, w = coloured_encoders(algorithm, colour)
    gram = (x @ x.T) * (w @ w.T)
    gram[np.diag_indices(rank)] *= 1.0 + penalty
    right = np.einsum("ra,rb,aby->ry", x, w, target_tensor(tile, colour), optimize=True)
    solution: Array = linalg.lstsq(gram, right, cond=1e-13, lapack_driver="gelsd")[0]
    return np.ascontiguousarray(solution.T)


def refit_decoder(
    algorithm: BilinearAlgorithm, penalty: float = 0.0, colour: Colour | None = None
) -> BilinearAlgorithm:
    """The algorithm with its best decoder; see `best_decoder`."""
    decode = best_decoder(algorithm.tile, algorithm.encode_x, algorithm.encode_w, penalty, colour)
    return algorithm.with_factors(None, None, decode)


def truncate(
    algorithm: BilinearAlgorithm,
    rank: int,
    penalty: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    method: str = "backward",
) -> BilinearAlgorithm:
    """Keep `rank` products, chosen in closed form, the decoder refitted.

    With G the regularised Gram matrix of `best_decoder` and d the best decoder, "backward" drops, one by one,
    the product with the least |d_rho|^2 / (G^-1)_rho,rho, which is what dropping it adds to
    nkm (NMSE + penalty * A); "greedy" adds, one by one, the product that lowers it most. Backward
    elimination is mostly better and costs O(R^3) for R products, greedy selection O(R rank^2).

    Args:
        algorithm: any algorithm of rank at least `rank`.
        rank: products to keep.
        penalty: weight of the amplification A.
        noise: relative spread of random factors on the costs, to get different truncations.
        seed: of those factors.
        method: "backward" or "greedy".

    Raises:
        InvalidInput: `rank` is not between 1 and the algorithm's rank, or there is no such method.
    """
    if not 1 <= rank <= algorithm.rank:
        raise InvalidInput("rank", expected=f"1 to {algorithm.rank}", got=rank)
    if method not in _SELECTIONS:
        raise InvalidInput("method", expected=" or ".join(_SELECTIONS), got=repr(method))
    if rank == algorithm.rank:
        return refit_decoder(algorithm, penalty)
    x, w = algorithm.encode_x, algorithm.encode_w
    gram = (x @ x.T) * (w @ w.T)
    # A vanishing ridge keeps dependent products apart; they are the last to be wanted.
    gram[np.diag_indices(len(gram))] *= 1.0 + max(penalty, 1e-10)
    gram[np.diag_indices(len(gram))] += 1e-300 + 1e-12 * gram.diagonal().max()
    right = np.einsum("ra,rb,aby->ry", x, w, matmul_tensor(algorithm.tile), optimize=True)
    kept = _SELECTIONS[method](gram, right, rank, noise, np.random.default_rng(seed))
    step = f"truncate {algorithm.rank} -> {rank}" + (f" ({method})" if method != "backward" else "")
    decode = best_decoder(algorithm.tile, x[kept], w[kept], penalty)
    return BilinearAlgorithm(
        algorithm.tile, x[kept], w[kept], decode, algorithm.name, algorithm.provenance.then(step)
    )


#: A product whose squared distance from the span of the others is this much less than its squared norm counts
#: as dependent on them.
_LARGEST_PIVOT = 1e6


def _backward_elimination(
    gram: Array, right: Array, rank: int, noise: float, rng: np.random.Generator
) -> IntArray:
    inverse = np.linalg.inv(gram)
    kept = np.arange(len(gram))
    while len(kept) > rank:
        decode = inverse @ right[kept]
        cost = np.sum(decode**2, axis=1) / inverse.diagonal()
        cost = (cost + 1e-12) * np.exp(noise * rng.normal(size=len(kept)))
        out = int(np.argmin(cost))
        pivot = inverse[out, out]
        dependent = pivot * gram[kept[out], kept[out]] > _LARGEST_PIVOT
        kept = np.delete(kept, out)
        if dependent:
            # The downdate would cancel nearly all digits.
            inverse = np.linalg.inv(gram[np.ix_(kept, kept)])
        else:
            column = inverse[:, out] / np.sqrt(pivot)
            inverse = np.delete(np.delete(inverse - np.outer(column, column), out, 0), out, 1)
    return kept


def _greedy_selection(
    gram: Array, right: Array, rank: int, noise: float, rng: np.random.Generator
) -> IntArray:
    """Pivoted Cholesky factorisation of the Gram matrix, the pivot being the product that gains most."""
    # Of every product, what the chosen ones do not explain: its squared norm, its overlap with the target.
    left, overlap = gram.diagonal().copy(), right.copy()
    columns = np.zeros((rank, len(gram)))
    kept: list[int] = []
    for step in range(rank):
        gain = np.sum(overlap**2, axis=1) / np.maximum(left, 1e-300)
        gain = (gain + 1e-12) * np.exp(noise * rng.normal(size=len(gram)))
        gain[kept] = -1.0
        new = int(np.argmax(gain))
        kept.append(new)
        scale = np.sqrt(max(left[new], 1e-300))
        columns[step] = (gram[new] - columns[:step, new] @ columns[:step]) / scale
        overlap -= np.outer(columns[step], overlap[new] / scale)
        left -= columns[step] ** 2
    return np.array(sorted(kept))


_SELECTIONS = {"backward": _backward_elimination, "greedy": _greedy_selection}
