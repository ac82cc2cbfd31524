"""Errors of approximate products on actual matrices: relative squared Frobenius and spectral norm.

Closed forms over all matrices of a kind are in `stl_algebra.error`; here a product is computed and compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, svds

from stl_algebra.bilinear import Array, BilinearAlgorithm
from stl_algebra.error import DTYPES, amplification, column_row_nmse, nmse, rounding_constant
from stl_search.matrices import MatrixPair, padded, tile_colour


@dataclass(frozen=True)
class SampledError:
    """Error of one approximate product.

    Attributes:
        nmse: |Y - XW|_F^2 / |XW|_F^2.
        spectral: |Y - XW|_2 / |XW|_2, spectral norms.
    """

    nmse: float
    spectral: float


def multiply_padded(algorithm: BilinearAlgorithm, x: Array, w: Array) -> Array:
    """X @ W by the algorithm in float64; zeros are appended where no tile divides a size."""
    x_padded, w_padded = padded(x, w, algorithm.tile)
    return algorithm.multiply(x_padded, w_padded)[: len(x), : w.shape[1]]


def compare(approximate: Array, exact: Array) -> SampledError:
    """Both errors of an approximate product; infinite where it is not finite."""
    difference = approximate - exact
    if not np.isfinite(difference).all():
        return SampledError(float("inf"), float("inf"))
    scale = float(np.sum(exact**2))
    return SampledError(
        float(np.sum(difference**2)) / scale, spectral_norm(difference) / spectral_norm(exact)
    )


def spectral_norm(matrix: Array) -> float:
    """The largest singular value, by Lanczos from a fixed start (deterministic), 1e-6 relative."""
    if min(matrix.shape) < 8:
        return float(np.linalg.norm(matrix, 2))
    if not matrix.any():
        return 0.0
    start = np.random.default_rng(0).normal(size=min(matrix.shape))
    operator = LinearOperator(
        matrix.shape,
        matvec=matrix.dot,
        rmatvec=matrix.T.dot,
        matmat=matrix.dot,
        rmatmat=matrix.T.dot,
        dtype=np.float64,
    )
    values = svds(operator, k=1, v0=start, tol=1e-6, return_singular_vectors=False)
    return float(values[0])


def sampled_error(algorithm: BilinearAlgorithm, pair: MatrixPair) -> SampledError:
    """Error of the algorithm on a pair, in float64 arithmetic (rounding excluded: see the totals)."""
    return compare(multiply_padded(algorithm, pair.x, pair.w), pair.x @ pair.w)


def closed_form_scores(algorithm: BilinearAlgorithm) -> dict[str, float]:
    """White NMSE, amplification, the total at every dtype and the column-row baseline at the same rank."""
    white, amplified = nmse(algorithm), amplification(algorithm)
    scores = {"nmse_white": white, "amplification": amplified}
    for dtype in DTYPES:
        scores[f"total_{dtype}"] = white + rounding_constant(dtype) * amplified
    scores["column_row_nmse"] = column_row_nmse(algorithm.tile, algorithm.rank)
    scores["ratio"] = algorithm.ratio
    return scores


def matrix_scores(algorithm: BilinearAlgorithm, pair: MatrixPair, dtype: str) -> dict[str, float]:
    """Sampled errors on a pair beside the closed form for the colour of its tiles.

    Returns `nmse` and `spectral` (sampled), `coloured_nmse` (closed form from second moments of the
    calibration rows), `coloured_amplification` and `total` = sampled nmse + c(dtype) * coloured_amplification.
    """
    sampled = sampled_error(algorithm, pair)
    colour = tile_colour(pair, algorithm.tile)
    amplified = amplification(algorithm, colour)
    return {
        "nmse": sampled.nmse,
        "spectral": sampled.spectral,
        "coloured_nmse": nmse(algorithm, colour),
        "coloured_amplification": amplified,
        "total": sampled.nmse + rounding_constant(dtype) * amplified,
    }
