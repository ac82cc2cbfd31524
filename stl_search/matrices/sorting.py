"""Pairs in the layout of sorted features: their profile, their features dealt out, the mean apart.

What does not belong here: errors (`judging`), layers (`stl_kernels.layers.sorting`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.feature_layout import FeatureLayout, feature_layout
from stl_algebra.algorithms.profile import Profile
from stl_algebra.algorithms.scores import inner_losses
from stl_algebra.numerics.moments import Moments
from stl_search.matrices.pair import MatrixPair


def layer_profile(pair: MatrixPair, k: int) -> Profile:
    """The profile of a pair's features, by the variances of its calibration rows; zeros fill the last tile.

    Raises:
        InvalidInput: a k-th part of the features never varies.
    """
    return Profile.of_variances(_variances(pair, k), k)


def axis_profile(pair: MatrixPair, k: int) -> Profile:
    """The profile along the axes to which a layer turns its tiles, by the calibration rows' covariance.

    What `run --colour` fits encoders to: rows of a tile with a covariance C are, along its axes, rows with
    the eigenvalues of C for variances, and encoders take up the turn at no cost (`feature_layout`).

    Raises:
        InvalidInput: nothing varies along an axis.
    """
    return _layout(pair, k).profile


def mean_profile(
    pairs: Sequence[MatrixPair], k: int, of: Callable[[MatrixPair, int], Profile] = layer_profile
) -> Profile:
    """The mean of the pairs' profiles, `of` each one."""
    shares = np.mean([of(pair, k).shares for pair in pairs], axis=0)
    return Profile(tuple(shares.tolist()))


def dealt(pair: MatrixPair, algorithm: BilinearAlgorithm) -> tuple[MatrixPair, Array]:
    """The pair about its calibration mean, laid out for encoders of a profile, and the mean (K',) likewise.

    Features are dealt out for what these encoders lose, and each tile is turned to its axes, as a layer turns
    its encoders (`feature_layout`). Zeros fill up to K', a multiple of k. x W = x' W' + mean W'.
    """
    k, moments = algorithm.tile.k, pair.calibration_moments
    missing = -moments.size % k
    layout = _layout(pair, k, inner_losses(algorithm))
    mean = np.pad(moments.mean, (0, missing))

    def laid_out(rows: Array) -> Array:
        tiles = rows[..., layout.consecutive].reshape(*rows.shape[:-1], -1, k)
        out: Array = (tiles @ layout.axes).reshape(rows.shape)
        return out

    x, rows = (laid_out(np.pad(a, ((0, 0), (0, missing))) - mean) for a in (pair.x, pair.calibration))
    w = laid_out(np.pad(pair.w, ((0, missing), (0, 0))).T).T
    covariance = laid_out(laid_out(np.pad(moments.covariance, (0, missing))).T)
    centred = Moments(moments.count, np.zeros(len(mean)), covariance)
    return MatrixPair(pair.name, x, w, rows, pair.source, centred), laid_out(mean)


def _layout(pair: MatrixPair, k: int, losses: Array | None = None) -> FeatureLayout:
    moments = pair.calibration_moments
    return feature_layout(np.pad(moments.covariance, (0, -moments.size % k)), k, losses)


def _variances(pair: MatrixPair, k: int) -> Array:
    variances = np.maximum(np.diag(pair.calibration_moments.covariance), 0.0)
    out: Array = np.pad(variances, (0, -len(variances) % k))
    return out
