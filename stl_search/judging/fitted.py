"""Cheaper weights for a layer, fitted to the moments of its input: on a mask, and of low rank.

All are functions of W (K, M) and of the moments of the rows x that it meets. Where a mean is used, it goes
into a bias, which is free at run time: y = x V + mean (W - V).

What does not belong here: what they cost and how they are compared (`baselines`), two weights of four
(`stl_algebra.numerics.sparsity`).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import linalg

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.numerics.moments import Moments, ridge_share
from stl_algebra.numerics.sparsity import DAMPING, Mask, two_of_four, with_ridge


def as_metric(second: Array, moments: Moments) -> Array:
    """A second moment (K, K), about zero or the mean, with the ridge for its number of rows."""
    return with_ridge(second, ridge_share(moments.count, moments.size))


def shift(w: Array, v: Array, moments: Moments) -> Array:
    """The bias (M,) that makes x V + bias right on average."""
    out: Array = moments.mean @ (w - v)
    return out


def calibration_error(w: Array, v: Array, metric: Array) -> float:
    """tr (W - V)^T metric (W - V)."""
    change = w - v
    return float(np.sum(change * (metric @ change)))


def tile_mask(w: Array, moments: Moments, side: int = 4) -> Mask:
    """Two of every four inner tiles (side x side) in each column of tiles, by the summed cost of removal.

    The cost of one weight is w^2 / (H^-1)_ii. Every weight of a tile is kept or none, so that the encoded
    weights of a tile algorithm, which are sums over a tile, have the pattern too.
    """
    inverse = linalg.inv(with_ridge(moments.second, DAMPING))
    cost = np.pad(w**2 / np.diag(inverse)[:, None], ((0, -len(w) % side), (0, -w.shape[1] % side)))
    tiles = cost.reshape(len(cost) // side, side, cost.shape[1] // side, side).sum(axis=(1, 3))
    whole = np.repeat(np.repeat(two_of_four(tiles), side, axis=0), side, axis=1)
    mask: Mask = whole[: len(w), : w.shape[1]]
    return mask


def refit(w: Array, start: Array, mask: Mask, metric: Array, sweeps: int = 200) -> Array:
    """The weights on a mask that minimise tr (W - V)^T metric (W - V), from a start on the mask.

    Conjugate gradients with the diagonal as preconditioner, all columns at once, 2 K^2 M operations a sweep;
    no sweep makes it worse. Ends when one gains less than 1e-5 of what is left.
    """
    v = np.where(mask, start, 0.0)
    scale = 1 / np.diag(metric)[:, None]
    residual = np.where(mask, metric @ (w - v), 0.0)
    left = calibration_error(w, v, metric)
    step = scale * residual
    power = np.sum(residual * step, axis=0)
    for _ in range(sweeps):
        image = np.where(mask, metric @ step, 0.0)
        length = power / np.maximum(np.sum(step * image, axis=0), 1e-300)
        v += length * step
        residual -= length * image
        gained = float(np.sum(length * power))
        left -= gained
        if gained <= 1e-5 * max(left, 0.0) or not power.any():
            break
        scaled = scale * residual
        following = np.sum(residual * scaled, axis=0)
        step = scaled + following / np.maximum(power, 1e-300) * step
        power = following
    return v


def pivoted_rank(inner: int, outer: int, ratio: float) -> int:
    """The largest q with q (K + M - q) <= K M / ratio; min(K, M) where the product itself is as cheap.

    A factor of rank q has an identity block in a basis of q pivot features, which costs nothing:
    x V = (x_p + x_rest T) B takes q (K - q) + q M multiplications a row.
    """
    if ratio <= 1:
        return min(inner, outer)
    half = (inner + outer) / 2
    q = math.floor(half - math.sqrt(half**2 - inner * outer / ratio) + 1e-9)
    return max(1, min(inner, outer, q))


class LowRank:
    """W in the metric of its input's covariance, from which every rank can be cut.

    V = A B minimises tr (W - V)^T C (W - V) at rank q: with R^T R = C and R W = U S Z^T, it is
    R^-1 U_q S_q Z_q^T.
    """

    def __init__(self, w: Array, metric: Array) -> None:
        self._w = w
        self._root = linalg.cholesky(metric)
        self._u, self._s, self._z = linalg.svd(self._root @ w, full_matrices=False)

    def cut(self, rank: int) -> Array:
        """The best V (K, M) of that rank; W itself from min(K, M) on."""
        if rank >= min(self._w.shape):
            return self._w
        scaled = (self._u[:, :rank] * self._s[:rank]) @ self._z[:rank]
        out: Array = linalg.solve_triangular(self._root, scaled)
        return out
