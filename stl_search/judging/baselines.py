"""What one would use otherwise, at equal multiplications and on the same matrices.

Every baseline is a function (pair, ratio, seed) -> approximate X @ W that spends N K M / ratio
multiplications at run time (work on W alone is free, as it is for encoders). Methods that estimate the
product get the single scalar that is best on the very matrices, which favours them. Methods that
calibrate see `pair.calibration_moments` only. Those "on exact tiles" have dense factors, or a pattern that
whole tiles share, and run them by our exact <4,4,4>: their ratio is 64 / rank times that of what they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.scores import amplification
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact
from stl_algebra.numerics.moments import Moments
from stl_algebra.numerics.sketches import count_sketch, gaussian_sketch
from stl_algebra.numerics.sparsity import sparse_gpt, two_of_four, wanda_mask
from stl_search.judging import fitted
from stl_search.judging.sampled import SampledError, compare, exact_product
from stl_search.matrices.pair import MatrixPair
from stl_search.matrices.tiling import tile_colour

_EXACT = TileFormat(4, 4, 4)
#: How many times fewer multiplications exact tiles take than the definition.
EXACT_GAIN = _EXACT.products / rank_of_exact(_EXACT)


@dataclass(frozen=True)
class Baseline:
    """A registered baseline.

    Attributes:
        name: for tables.
        summary: one line.
        product: (pair, ratio, seed) -> approximation of X @ W, (N, M).
        random: results depend on the seed.
        ratio: the only ratio it has (2 for 2:4 sparsity), None for any.
        tiled: how many of its products, one after the other, run on exact tiles and round like these.
    """

    name: str
    summary: str
    product: Callable[[MatrixPair, float, int], Array]
    random: bool = False
    ratio: float | None = None
    tiled: int = 0


@lru_cache(maxsize=8)
def _moments(pair: MatrixPair) -> Moments:
    return pair.calibration_moments


def _kept(pair: MatrixPair, ratio: float) -> int:
    """Inner positions that equal multiplications pay for."""
    return max(1, round(int(pair.x.shape[1]) / ratio))


def _best_scalar(approximate: Array, pair: MatrixPair) -> Array:
    exact = exact_product(pair)[0]
    return approximate * (float(np.sum(approximate * exact)) / max(float(np.sum(approximate**2)), 1e-300))


def _uniform_sampling(pair: MatrixPair, ratio: float, seed: int) -> Array:
    rows = np.random.default_rng(seed).choice(pair.x.shape[1], _kept(pair, ratio), replace=False)
    return _best_scalar(pair.x[:, rows] @ pair.w[rows], pair)


def _by_norm(pair: MatrixPair) -> NDArray[np.int64]:
    """Inner positions, that of largest |x_l| |w_l| first."""
    weight = np.sqrt(np.diag(_moments(pair).second)) * np.linalg.norm(pair.w, axis=1)
    order: NDArray[np.int64] = np.argsort(-weight, kind="stable")
    return order


def _norm_sampling(pair: MatrixPair, ratio: float, seed: int) -> Array:
    # The deterministic form of Drineas, Kannan, Mahoney 2006: the largest |x_l| |w_l|, from calibration.
    rows = _by_norm(pair)[: _kept(pair, ratio)]
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
def _svd_of_weights(pair: MatrixPair) -> fitted.LowRank:
    return fitted.LowRank(pair.w, np.eye(len(pair.w)))


@lru_cache(maxsize=4)
def _svd_in_second_moment(pair: MatrixPair) -> fitted.LowRank:
    return fitted.LowRank(pair.w, fitted.as_metric(_moments(pair).second, _moments(pair)))


@lru_cache(maxsize=4)
def _svd_in_covariance(pair: MatrixPair) -> fitted.LowRank:
    return fitted.LowRank(pair.w, _metric(pair))


def _metric(pair: MatrixPair) -> Array:
    return fitted.as_metric(_moments(pair).covariance, _moments(pair))


def _with_bias(pair: MatrixPair, v: Array) -> Array:
    out: Array = pair.x @ v + fitted.shift(pair.w, v, _moments(pair))
    return out


def _svd(pair: MatrixPair, ratio: float, seed: int) -> Array:
    return pair.x @ _svd_of_weights(pair).cut(_svd_rank(pair, ratio))


def _activation_svd(pair: MatrixPair, ratio: float, seed: int) -> Array:
    # min |X (W - AB)|: truncate the SVD of R W with R^T R the second moment of the calibration rows.
    return pair.x @ _svd_in_second_moment(pair).cut(_svd_rank(pair, ratio))


def _pivoted(pair: MatrixPair, ratio: float, multiple: int = 1) -> Array:
    inner, outer = (int(n) for n in pair.w.shape)
    rank = fitted.pivoted_rank(inner, outer, ratio)
    if rank < min(inner, outer):
        rank = max(1, rank - rank % multiple)
    return _with_bias(pair, _svd_in_covariance(pair).cut(rank))


def _two_four_magnitude(pair: MatrixPair, ratio: float, seed: int) -> Array:
    return pair.x @ np.where(two_of_four(np.abs(pair.w)), pair.w, 0.0)


def _two_four_wanda(pair: MatrixPair, ratio: float, seed: int) -> Array:
    return pair.x @ np.where(wanda_mask(pair.w, _moments(pair).second), pair.w, 0.0)


@lru_cache(maxsize=4)
def _sparse_gpt(pair: MatrixPair) -> Array:
    return sparse_gpt(pair.w, _moments(pair).second)


def _two_four_sparsegpt(pair: MatrixPair, ratio: float, seed: int) -> Array:
    return pair.x @ _sparse_gpt(pair)


def _two_four_refit(pair: MatrixPair, ratio: float, seed: int) -> Array:
    start = _sparse_gpt(pair)
    return _with_bias(pair, fitted.refit(pair.w, start, start != 0, _metric(pair)))


def _two_four_on_tiles(pair: MatrixPair, ratio: float, seed: int) -> Array:
    mask = fitted.tile_mask(pair.w, _moments(pair), _EXACT.k)
    return _with_bias(pair, fitted.refit(pair.w, pair.w, mask, _metric(pair)))


def _share_of_tiles(pair: MatrixPair, ratio: float, seed: int) -> Array:
    """Exact tiles on the inner positions of largest |x_l| |w_l|, as many as are paid for."""
    size = int(pair.x.shape[1])
    if ratio <= EXACT_GAIN:
        return exact_product(pair)[0]
    kept = _EXACT.k * round(size / _EXACT.k * EXACT_GAIN / ratio)
    rows = _by_norm(pair)[: max(kept, _EXACT.k)]
    return _best_scalar(pair.x[:, rows] @ pair.w[rows], pair)


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
        Baseline(
            "low rank, pivoted",
            "the same about the mean, with an identity block: q (K + M - q) multiplications a row",
            lambda p, r, s: _pivoted(p, r),
        ),
        Baseline("2:4 magnitude", "two of four weights by magnitude", _two_four_magnitude, ratio=2.0),
        Baseline("2:4 Wanda", "two of four weights by |w||x|", _two_four_wanda, ratio=2.0),
        Baseline(
            "2:4 SparseGPT", "two of four weights with SparseGPT's update", _two_four_sparsegpt, ratio=2.0
        ),
        Baseline(
            "2:4 SparseGPT, refit",
            "its pattern, with the best weights and bias on it by least squares",
            _two_four_refit,
            ratio=2.0,
        ),
        Baseline(
            "exact tiles on a share",
            "exact <4,4,4> on the inner positions of largest |x_l||w_l|, best scalar",
            _share_of_tiles,
            tiled=1,
        ),
        Baseline(
            "low rank on exact tiles",
            "low rank, pivoted, both of its products by exact <4,4,4>",
            lambda p, r, s: _pivoted(p, r / EXACT_GAIN, _EXACT.k),
            tiled=2,
        ),
        Baseline(
            "2:4 on exact tiles",
            "two of four 4x4 tiles of W, refitted, on exact <4,4,4> (whose encoded weights are 2:4 then)",
            _two_four_on_tiles,
            ratio=2.0 * EXACT_GAIN,
            tiled=1,
        ),
    )
}


def exact_tiles_amplification(pair: MatrixPair) -> float:
    """A of our exact <4,4,4> on the tiles of a pair."""
    return amplification(exact_algorithm(_EXACT), tile_colour(pair, _EXACT))


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
