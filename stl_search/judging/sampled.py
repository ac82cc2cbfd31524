"""Errors of approximate products on actual matrices: relative squared Frobenius and spectral norm.

Closed forms over all matrices of a kind are in `algorithms.scores`; here a product is computed and compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.profile import profile_of
from stl_algebra.algorithms.scores import amplification, nmse, rounding_constant
from stl_search.matrices.pair import MatrixPair
from stl_search.matrices.sorting import dealt
from stl_search.matrices.tiling import padded, tile_colour


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


@lru_cache(maxsize=4)
def exact_product(pair: MatrixPair) -> tuple[Array, float, float]:
    """X @ W in float64, its squared Frobenius norm and its spectral norm."""
    product: Array = pair.x @ pair.w
    return product, float(np.sum(product**2)), spectral_norm(product)


def compare(approximate: Array, pair: MatrixPair) -> SampledError:
    """Both errors of an approximation of the pair's product; infinite where it is not finite."""
    exact, squared, spectral = exact_product(pair)
    difference = approximate - exact
    if not np.isfinite(difference).all():
        return SampledError(float("inf"), float("inf"))
    return SampledError(float(np.sum(difference**2)) / squared, spectral_norm(difference) / spectral)


def spectral_norm(matrix: Array) -> float:
    """The largest singular value, by Lanczos from a fixed start (deterministic), to 1e-4 relative."""
    if min(matrix.shape) < 8:
        return float(np.linalg.norm(matrix, 2))
    if not matrix.any():
        return 0.0
    # The smaller Gram matrix, applied without forming it.
    left = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    size = int(left.shape[0])
    start = np.random.default_rng(0).normal(size=size)
    gram = LinearOperator((size, size), matvec=lambda v: left @ (left.T @ v), dtype=np.float64)
    values = eigsh(gram, k=1, v0=start, tol=1e-4, return_eigenvectors=False)
    return float(np.sqrt(values[0]))


def sampled_error(algorithm: BilinearAlgorithm, pair: MatrixPair) -> SampledError:
    """Error of the algorithm on a pair, in float64 arithmetic (rounding excluded: see the totals).

    One that was fitted to a profile is run on sorted features, with the mean in the bias: `sorted_product`.
    """
    if profile_of(algorithm) is not None:
        return compare(sorted_product(algorithm, pair), pair)
    return compare(multiply_padded(algorithm, pair.x, pair.w), pair)


def sorted_product(algorithm: BilinearAlgorithm, pair: MatrixPair) -> Array:
    """X @ W as a layer computes it whose features are sorted by calibration variance, the mean in its bias.

    The bias makes rows at the mean right on average over the rows of a tile (`STLLinear.from_linear`).
    """
    about, mean = dealt(pair, algorithm)
    product = multiply_padded(algorithm, about.x + mean, about.w)
    at_mean = multiply_padded(algorithm, np.tile(mean, (algorithm.tile.n, 1)), about.w).mean(axis=0)
    out: Array = product - at_mean + mean @ about.w
    return out


def matrix_scores(algorithm: BilinearAlgorithm, pair: MatrixPair, dtype: str) -> dict[str, float]:
    """Sampled errors on a pair beside the closed form for the colour of its tiles.

    Returns `nmse` and `spectral` (sampled), `coloured_nmse` (closed form from second moments of the
    calibration rows), `coloured_amplification` and `total`, the sampled nmse + c(dtype) times that. For an
    algorithm of a profile the closed forms are those of the sorted features about their mean.
    """
    sampled = sampled_error(algorithm, pair)
    if profile_of(algorithm) is not None:
        pair = dealt(pair, algorithm)[0]
    colour = tile_colour(pair, algorithm.tile)
    amplified = amplification(algorithm, colour)
    return {
        "nmse": sampled.nmse,
        "spectral": sampled.spectral,
        "coloured_nmse": nmse(algorithm, colour),
        "coloured_amplification": amplified,
        "total": sampled.nmse + rounding_constant(dtype) * amplified,
    }
