"""Which features of a layer share a tile, and the axes along which a tile row is spread, from their moments.

Features are sorted by variance and dealt out, one of each k-th part to a tile (`profile`). Which of a part
meets which of another is free: where covariances are known, partners are chosen that vary together, so that
the mean covariance of a tile row has a small determinant for its trace, or so that given encoders lose least.
Its principal axes are a change of basis inside the tile, which encoders take up at no cost (`sandwich`);
along them the variance is spread more unevenly than over the features themselves. What does not belong here:
encoders for a profile (`published`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.profile import Profile, sorted_order
from stl_algebra.errors import InvalidInput

Array = NDArray[np.float64]

#: Rounds in which every part chooses its partners anew; the determinant hardly falls after three.
_ROUNDS = 4
#: Tiles among which partners are exchanged at once: an assignment costs their number cubed at worst.
_AT_ONCE = 2048
#: Added to losses in shares of the largest: where nothing is lost, much variance is still better than little.
_LEAST_LOSS = 4e-3


@dataclass(frozen=True, eq=False)
class FeatureLayout:
    """Where the features of a layer go.

    Attributes:
        parts: (k, K/k) feature indices; column L is tile L, of falling variance by parts.
        axes: (k, k) orthogonal; the columns are the principal axes of a tile row, the widest first.
        spread: (k,) variances along the axes, summed over the tiles.
    """

    parts: NDArray[np.int64]
    axes: Array
    spread: Array

    @property
    def strided(self) -> NDArray[np.int64]:
        """The permutation (K,) for strided tiles: entry j of tile L is the feature at j K/k + L."""
        return np.ascontiguousarray(self.parts.ravel())

    @property
    def consecutive(self) -> NDArray[np.int64]:
        """The permutation (K,) for consecutive tiles: entry j of tile L is the feature at k L + j."""
        return np.ascontiguousarray(self.parts.T.ravel())

    @property
    def profile(self) -> Profile:
        """How the variance is shared out along the axes.

        Raises:
            InvalidInput: nothing varies along one of them.
        """
        return Profile(tuple(self.spread.tolist()))

    def turned(self, algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
        """The algorithm along the axes: fitted to a profile there, it takes tiles as they come.

        Raises:
            InvalidInput: the algorithm has another k.
        """
        t = algorithm.tile
        if t.k != len(self.axes):
            raise InvalidInput("algorithm", expected=f"tiles with k = {len(self.axes)}", got=str(t))
        if np.array_equal(self.axes, np.eye(t.k)):
            return algorithm
        return sandwich(algorithm, np.eye(t.n), self.axes.T, np.eye(t.m))


def feature_layout(moments: ArrayLike, k: int, losses: ArrayLike | None = None) -> FeatureLayout:
    """The layout for features with these variances or this covariance.

    Takes K^2 numbers and, for a covariance, some k^2 assignments among K/k tiles: a second at K = 1,536.
    Encoders hardly ever share their products out evenly: they lose next to nothing along the first axes and
    all along the last. Partners that are chosen for that leave less along the last.

    Args:
        moments: variances (K,), or a covariance (K, K), of which both triangles are read.
        k: inner side of the tiles.
        losses: (k,) share of the variance along each axis, the widest first, that encoders lose
            (`scores.inner_losses`); None for the least determinant, which suits no encoders in particular.

    Raises:
        InvalidInput: of another shape, not finite, a negative variance or loss, or k does not divide K.
    """
    given = np.asarray(moments, np.float64)
    if given.ndim not in (1, 2) or (given.ndim == 2 and given.shape[0] != given.shape[1]):
        raise InvalidInput("moments", expected="variances (K,) or a covariance (K, K)", got=given.shape)
    if not np.isfinite(given).all():
        raise InvalidInput("moments", expected="finite numbers", got="NaN or an infinity")
    variances = given if given.ndim == 1 else np.diag(given)
    parts = sorted_order(variances, k).reshape(k, -1).copy()
    if given.ndim == 1:
        return FeatureLayout(parts, np.eye(k), variances[parts].sum(axis=1))
    _choose_partners(parts, given, None if losses is None else _checked(losses, k))
    spread, axes = _principal(_of_a_tile(parts, given))
    # The sign of an axis is free: its largest entry is positive here.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(k)])
    # Rounding may leave a variance below zero.
    return FeatureLayout(parts, axes, np.maximum(spread, 0.0))


def turned_onto(
    algorithm: BilinearAlgorithm, encode_x: ArrayLike, tolerance: float
) -> BilinearAlgorithm | None:
    """The algorithm turned inside its tiles so that it encodes X by `encode_x`; None where no turn does.

    Args:
        algorithm: whose factors are to be in the bases of `encode_x`.
        encode_x: (r, n*k), perhaps rounded to a shorter dtype.
        tolerance: of the difference that is left, relative to |encode_x|.
    """
    # Layers import this file where scipy may be missing.
    from scipy.linalg import orthogonal_procrustes

    t = algorithm.tile
    there = np.asarray(encode_x, np.float64)
    # Nearest in the least squares sense (Schoenemann 1966).
    axes, _ = orthogonal_procrustes(algorithm.encode_x.reshape(-1, t.k), there.reshape(-1, t.k))
    turned = sandwich(algorithm, np.eye(t.n), axes, np.eye(t.m))
    close = np.linalg.norm(turned.encode_x - there) <= tolerance * np.linalg.norm(there)
    return turned if close else None


def _checked(losses: ArrayLike, k: int) -> Array:
    given = np.asarray(losses, np.float64)
    if given.shape != (k,) or not (np.isfinite(given).all() and (given >= 0).all()):
        raise InvalidInput("losses", expected=f"({k},) finite numbers of at least 0", got=given)
    return given


def _principal(covariance: Array) -> tuple[Array, Array]:
    """Variances along the principal axes and these as columns, the widest first."""
    spread, axes = np.linalg.eigh(covariance)
    return spread[::-1], axes[:, ::-1]


def _of_a_tile(parts: NDArray[np.int64], covariance: Array) -> Array:
    """(k, k), the sum over the tiles of the covariance of their features."""
    k = len(parts)
    return np.array([[covariance[parts[i], parts[j]].sum() for j in range(k)] for i in range(k)])


def _choose_partners(parts: NDArray[np.int64], covariance: Array, losses: Array | None) -> None:
    """Exchange the features of a part among its tiles, part after part, so that the determinant falls, and
    then what is lost.

    To first order log det B changes by tr(B^-1 dB), and sum_i losses_i spread_i by tr(A diag(losses) A^T dB)
    for the axes A: for fixed B the best exchange is an assignment problem.
    """
    k, tiles = parts.shape
    mean = float(np.diag(covariance).mean())
    if k < 2 or mean <= 0:
        return

    def inverse(b: Array) -> Array:
        inverted: Array = np.linalg.inv(b / (mean * tiles) + 1e-9 * np.eye(k))
        return inverted

    # Before there are partners, what varies together is brought together.
    _exchange(parts, covariance, lambda _: -np.ones((k, k)), 1)
    _exchange(parts, covariance, inverse, _ROUNDS - 1)
    if losses is not None and losses.any():
        weights = losses / losses.max() + _LEAST_LOSS

        def lost(b: Array) -> Array:
            _, axes = _principal(b)
            out: Array = (axes * weights) @ axes.T
            return out

        _exchange(parts, covariance, lost, _ROUNDS)


def _exchange(
    parts: NDArray[np.int64], covariance: Array, price: Callable[[Array], Array], rounds: int
) -> None:
    """Let every part choose its partners anew, for the (k, k) price of the covariance of a tile, until none
    does or the rounds are over.
    """
    from scipy.optimize import linear_sum_assignment

    k, tiles = parts.shape
    groups = np.array_split(np.arange(tiles), -(-tiles // _AT_ONCE))
    for _ in range(rounds):
        before = parts.copy()
        for i in range(k):
            prices = price(_of_a_tile(parts, covariance))
            others = [j for j in range(k) if j != i]
            for group in groups:
                paid = sum(
                    (prices[i, j] * covariance[np.ix_(parts[i, group], parts[j, group])] for j in others),
                    start=np.zeros((len(group), len(group))),
                )
                features, places = linear_sum_assignment(paid)
                parts[i, group[places]] = parts[i, group[features]]
        if np.array_equal(parts, before):
            return
