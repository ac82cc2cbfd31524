"""What one would use otherwise, at equal multiplications and on the same matrices.

Every baseline is a function (pair, ratio, seed) -> approximate X @ W that spends N K M / ratio
multiplications at run time (work on W alone is free, as it is for encoders). Methods that estimate the
product get the single scalar that is best on the very matrices, which favours them. Methods that
calibrate see `pair.calibration` only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import linalg

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.sketches import count_sketch, gaussian_sketch
from stl_search.judging.sampled import SampledError, compare, exact_product
from stl_search.matrices.pair import MatrixPair


@dataclass(frozen=True)
class Baseline:
    """A registered baseline.

    Attributes:
        name: for tables.
        summary: one line.
        product: (pair, ratio, seed) -> approximation of X @ W, (N, M).
        random: results depend on the seed.
        ratio: the only ratio it has (2 for 2:4 sparsity), None for any.
    """

    name: str
    summary: str
    product: Callable[[MatrixPair, float, int], Array]
    random: bool = False
    ratio: float | None = None


def _kept(pair: MatrixPair, ratio: float) -> int:
    """Inner positions that equal multiplications pay for."""
    return max(1, round(int(pair.x.shape[1]) / ratio))


def _best_scalar(approximate: Array, pair: MatrixPair) -> Array:
    exact = exact_product(pair)[0]
    return approximate * (float(np.sum(approximate * exact)) / max(float(np.sum(approximate**2)), 1e-300))


def _uniform_sampling(pair: MatrixPair, ratio: float, seed: int) -> Array:
    rows = np.random.default_rng(seed).choice(pair.x.shape[1], _kept(pair, ratio), replace=False)
    return _best_scalar(pair.x[:, rows] @ pair.w[rows], pair)


def _norm_sampling(pair: MatrixPair, ratio: float, seed: int) -> Array:
    # The deterministic form of Drineas, Kannan, Mahoney 2006: the largest |x_l| |w_l|, from calibration.
    weight = np.linalg.norm(pair.calibration, axis=0) * np.linalg.norm(pair.w, axis=1)
    rows = np.argsort(-weight, kind="stable")[: _kept(pair, ratio)]
    return _best_scalar(pair.x[:, rows] @ pair.w[rows], pair)


def _sketched(pair: MatrixPair, ratio: float, seed: int, kind: str) -> Array:
    size, width = pair.x.shape[1], _kept(pair, ratio)
    sketch = gaussian_sketch(size, width, seed) if kind == "gaussian" else count_sketch(size, width, seed)
    left = sketch(torch.tensor(pair.x.T.copy())).numpy()
    right = sketch(torch.tensor(pair.w)).numpy()
    return _best_scalar(left.T @ right, pair)


def _svd_rank(pair: MatrixPair, ratio: float) -> int:
    """Rank R of W ~ A B with N R (K + M) = N K M / ratio."""
    k, m = int(pair.w.shape[0]), int(pair.w.shape[1])
    return max(1, min(k, m, round(k * m / (ratio * (k + m)))))


@lru_cache(maxsize=4)
def _svd_of_weights(pair: MatrixPair) -> tuple[Array, Array, Array]:
    u, s, v = linalg.svd(pair.w, full_matrices=False)
    return u, s, v


@lru_cache(maxsize=4)
def _svd_in_activation_metric(pair: MatrixPair) -> tuple[Array, Array, Array, Array]:
    root = linalg.cholesky(_damped_second_moment(pair))
    u, s, v = linalg.svd(root @ pair.w, full_matrices=False)
    return root, u, s, v


def _svd(pair: MatrixPair, ratio: float, seed: int) -> Array:
    u, s, v = _svd_of_weights(pair)
    r = _svd_rank(pair, ratio)
    return pair.x @ ((u[:, :r] * s[:r]) @ v[:r])


def _damped_second_moment(pair: MatrixPair) -> Array:
    h: Array = pair.calibration.T @ pair.calibration
    return h + 0.01 * np.mean(np.diag(h)) * np.eye(len(h))


def _activation_svd(pair: MatrixPair, ratio: float, seed: int) -> Array:
    # min |X (W - AB)|: truncate the SVD of R W with R^T R the second moment of the calibration rows.
    root, u, s, v = _svd_in_activation_metric(pair)
    r = _svd_rank(pair, ratio)
    return pair.x @ linalg.solve_triangular(root, (u[:, :r] * s[:r]) @ v[:r])


def _groups_of_four(w: Array) -> Array:
    return np.pad(w, ((0, -len(w) % 4), (0, 0)))


def _two_four_magnitude(pair: MatrixPair, ratio: float, seed: int) -> Array:
    w = _groups_of_four(pair.w)
    grouped = np.abs(w).reshape(-1, 4, w.shape[1])
    rank = np.argsort(np.argsort(-grouped, axis=1, kind="stable"), axis=1, kind="stable")
    kept = np.where((rank < 2).reshape(w.shape), w, 0.0)
    return pair.x @ kept[: len(pair.w)]


def _two_four_sparsegpt(pair: MatrixPair, ratio: float, seed: int) -> Array:
    """Frantar and Alistarh 2023: prune two of four by w^2 / (U_ii)^2, push the error on through U.

    U is the upper Cholesky factor of the inverse second moment; input features are the rows of W here.
    """
    w = _groups_of_four(pair.w).copy()
    h = np.pad(_damped_second_moment(pair), (0, len(w) - len(pair.w)))
    h[np.arange(len(pair.w), len(w)), np.arange(len(pair.w), len(w))] = 1.0
    upper = linalg.cholesky(linalg.inv(h))
    for start in range(0, len(w), 4):
        score = (w[start : start + 4] / np.diag(upper)[start : start + 4, None]) ** 2
        order = np.argsort(np.argsort(score, axis=0, kind="stable"), axis=0, kind="stable")
        drop = order < 2
        for offset in range(4):
            i = start + offset
            error = np.where(drop[offset], w[i], 0.0) / upper[i, i]
            w[i:] -= np.outer(upper[i, i:], error)
            w[i] = np.where(drop[offset], 0.0, w[i])
    return pair.x @ w[: len(pair.w)]


BASELINES: dict[str, Baseline] = {
    b.name: b
    for b in (
        Baseline("column-row uniform", "random inner positions, best scalar", _uniform_sampling, random=True),
        Baseline("column-row by norm", "inner positions of largest |x_l||w_l|, best scalar", _norm_sampling),
        Baseline(
            "gaussian sketch",
            "X S^T S W, best scalar",
            lambda p, r, s: _sketched(p, r, s, "gaussian"),
            random=True,
        ),
        Baseline(
            "count sketch",
            "CountSketch, best scalar",
            lambda p, r, s: _sketched(p, r, s, "count"),
            random=True,
        ),
        Baseline("SVD of W", "truncated SVD, two thin products", _svd),
        Baseline(
            "activation-aware SVD", "truncated SVD in the metric of the calibration rows", _activation_svd
        ),
        Baseline("2:4 magnitude", "two of four weights by magnitude", _two_four_magnitude, ratio=2.0),
        Baseline(
            "2:4 SparseGPT", "two of four weights with SparseGPT's update", _two_four_sparsegpt, ratio=2.0
        ),
    )
}


def baseline_error(
    name: str, pair: MatrixPair, ratio: float, seed: int = 0, repeats: int = 3
) -> SampledError:
    """Error of a baseline on a pair; the mean over `repeats` seeds where it is random.

    Raises:
        InvalidInput: unknown name, or a ratio below 1.
    """
    if name not in BASELINES:
        raise InvalidInput("baseline", expected=f"one of {', '.join(BASELINES)}", got=repr(name))
    if not ratio >= 1:
        raise InvalidInput("ratio", expected="a multiplication ratio of at least 1", got=ratio)
    baseline = BASELINES[name]
    seeds = range(seed, seed + repeats) if baseline.random else [seed]
    errors = [compare(baseline.product(pair, ratio, s), pair) for s in seeds]
    return SampledError(
        float(np.mean([e.nmse for e in errors])), float(np.mean([e.spectral for e in errors]))
    )
