"""Baselines fitted to moments: what each is the best of, what it costs, what exact tiles multiply."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.numerics import sparsity
from stl_algebra.numerics.moments import Moments
from stl_search.judging import fitted
from stl_search.judging.baselines import BASELINES, EXACT_GAIN, baseline_error
from stl_search.judging.evaluation import evaluate
from stl_search.matrices.ensembles import random_pair
from stl_search.matrices.pair import make_pair

RNG = np.random.default_rng(0)


def layer(inner=24, outer=10, rows=4000, mean=0.5):
    """W and the moments of correlated rows."""
    mix = RNG.normal(size=(inner, inner)) * np.geomspace(1, 0.05, inner)[:, None]
    return RNG.normal(size=(inner, outer)), Moments.of(RNG.normal(size=(rows, inner)) @ mix + mean)


def metric_of(moments):
    return fitted.as_metric(moments.covariance, moments)


@pytest.mark.parametrize(("inner", "outer"), [(24, 10), (22, 7), (64, 32)])
def test_a_refit_is_never_worse_and_ends_at_the_least_squares_solution(inner, outer):
    w, moments = layer(inner, outer)
    metric = metric_of(moments)
    sparse = sparsity.sparse_gpt(w, moments.second)
    mask = sparse != 0
    errors = [
        fitted.calibration_error(w, fitted.refit(w, sparse, mask, metric, sweeps), metric)
        for sweeps in (0, 1, 2, 5, 20, 200)
    ]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(errors))
    best = np.zeros_like(w)
    for j in range(outer):
        kept = np.flatnonzero(mask[:, j])
        best[kept, j] = np.linalg.solve(metric[np.ix_(kept, kept)], metric[kept] @ w[:, j])
    least = fitted.calibration_error(w, best, metric)
    assert least * (1 - 1e-9) <= errors[-1] <= 1.01 * least
    refitted = fitted.refit(w, sparse, mask, metric)
    assert not refitted[~mask].any()
    # The same holds of the errors that the rows themselves show, with the mean in the bias.
    assert fitted.calibration_error(w, refitted, moments.covariance) < fitted.calibration_error(
        w, sparse, moments.second
    )


def test_sparse_patterns_keep_two_of_four():
    w, moments = layer(22, 8)
    masks = {
        "magnitude": sparsity.two_of_four(np.abs(w)),
        "wanda": sparsity.wanda_mask(w, moments.second),
        "sparsegpt": sparsity.sparse_gpt(w, moments.second) != 0,
    }
    for mask in masks.values():
        assert (mask[:20].reshape(5, 4, 8).sum(axis=1) == 2).all()
    # Wanda is magnitude in units of the input.
    size = np.sqrt(np.diag(moments.second))
    assert np.array_equal(masks["wanda"], sparsity.two_of_four(np.abs(w * size[:, None])))


def test_sparse_tiles_leave_the_encoded_weights_sparse_and_sparse_weights_do_not():
    w, moments = layer(64, 16)
    algorithm = exact_algorithm(TileFormat(4, 4, 4))

    def encoded(weights):
        tiles = weights.reshape(16, 4, 4, 4).transpose(0, 2, 1, 3).reshape(16, 4, 16)
        return (tiles @ algorithm.encode_w.T).reshape(4, 4, 4, algorithm.rank)

    of_tiles = encoded(np.where(fitted.tile_mask(w, moments), w, 0))
    assert (np.any(of_tiles, axis=3).sum(axis=1) == 2).all()
    of_weights = encoded(np.where(sparsity.two_of_four(np.abs(w)), w, 0))
    assert (np.abs(of_weights) > 1e-12).sum(axis=1).max() == 4


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(inner=st.integers(1, 300), outer=st.integers(1, 300), ratio=st.floats(1.0, 8.0))
def test_the_pivoted_rank_is_the_largest_that_the_multiplications_pay_for(inner, outer, ratio):
    q = fitted.pivoted_rank(inner, outer, ratio)
    assert 1 <= q <= min(inner, outer)

    def cost(rank):
        return rank * (inner + outer - rank)

    assert cost(q) <= inner * outer / ratio + 1e-6 or q == 1
    if q < min(inner, outer):
        assert cost(q + 1) > inner * outer / ratio - 1e-6
    assert fitted.pivoted_rank(inner, outer, 1.0) == min(inner, outer)


@pytest.mark.slow
def test_low_rank_has_an_identity_block_in_a_basis_of_pivots():
    """V = A B = (x_p + x_rest T) B': the same map in q (K - q) + q M multiplications."""
    w, moments = layer(24, 10)
    v = fitted.LowRank(w, metric_of(moments)).cut(4)
    assert np.linalg.matrix_rank(v) == 4
    pivots = max(combinations(range(24), 4), key=lambda p: np.linalg.norm(v[list(p)]) if p[0] < 3 else 0)
    rest = np.setdiff1d(np.arange(24), pivots)
    block = v[list(pivots)]
    t = v[rest] @ np.linalg.pinv(block)
    x = RNG.normal(size=(5, 24))
    assert np.allclose((x[:, list(pivots)] + x[:, rest] @ t) @ block, x @ v)
    assert t.size + block.size == 4 * (24 + 10 - 4)


def test_low_rank_is_the_best_of_its_rank_in_the_metric():
    w, moments = layer(16, 12)
    metric = metric_of(moments)
    cuts = fitted.LowRank(w, metric)
    values = np.linalg.svd(np.linalg.cholesky(metric).T @ w, compute_uv=False) ** 2
    for rank in (1, 5, 11):
        assert fitted.calibration_error(w, cuts.cut(rank), metric) == pytest.approx(values[rank:].sum())
    assert cuts.cut(12) is w


@pytest.mark.slow
def test_exact_tiles_multiply_the_ratio_of_what_they_run():
    assert EXACT_GAIN == 64 / 48
    assert BASELINES["2:4 on exact tiles"].ratio == 2 * EXACT_GAIN
    for pair in (random_pair("low-rank", 64), random_pair("gaussian", 64)):
        for ratio in (1.5, 2.0, 3.0):
            plain = baseline_error("low rank, pivoted", pair, ratio).nmse
            tiled = baseline_error("low rank on exact tiles", pair, ratio * EXACT_GAIN).nmse
            # The rank on tiles is a multiple of four: a little less than what is paid for.
            assert plain * (1 - 1e-9) <= tiled
            assert tiled <= baseline_error("low rank, pivoted", pair, 1.4 * ratio).nmse * (1 + 1e-9)
        for name in ("low rank on exact tiles", "exact tiles on a share"):
            assert baseline_error(name, pair, EXACT_GAIN).nmse < 1e-20


@pytest.mark.slow
def test_exact_tiles_on_a_share_have_the_floor_for_white_matrices():
    pair = random_pair("gaussian", 256)
    for rank in (32, 16):
        error = baseline_error("exact tiles on a share", pair, 64 / rank).nmse
        assert 1 - rank / 48 - 0.06 < error < 1 - rank / 48 + 0.02


@pytest.mark.slow
def test_only_products_on_exact_tiles_have_a_rounding_term():
    rows = evaluate([], [random_pair("gaussian", 64)], "bf16", [2.0])
    c = rounding_constant("bf16")
    for row in rows:
        assert row.total == pytest.approx(row.nmse + c * row.amplification)
        assert (row.amplification > 0) == (BASELINES[row.method].tiled > 0)
    by_name = {row.method: row.amplification for row in rows}
    assert by_name["low rank on exact tiles"] == pytest.approx(2 * by_name["2:4 on exact tiles"])


def test_calibration_sees_the_moments_and_not_the_rows_beside_them():
    x, w, other = (RNG.normal(size=s) for s in ((40, 16), (16, 12), (40, 16)))
    wide = x * np.geomspace(1, 0.01, 16)
    told = make_pair("told", wide, w, other).with_moments(Moments.of(wide))
    untold = make_pair("untold", wide, w, other)
    for name in ("activation-aware SVD", "low rank, pivoted", "2:4 SparseGPT", "2:4 SparseGPT, refit"):
        assert baseline_error(name, told, 2.0).nmse < baseline_error(name, untold, 2.0).nmse
