"""Layers whose features are sorted by calibration: order, mean in the bias, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.numerics.moments import Moments
from stl_algebra.published import encoders
from stl_kernels import STLFactors, STLLinear
from stl_kernels.layers.sorting import FarFromProfile, response_to

ROUGH = encoders("4", 24)
FITTED = fitted_to(ROUGH, Profile((6, 2, 1, 1)))


def _layer(inner=32, outer=20, bias=True, seed=0):
    torch.manual_seed(seed)
    return nn.Linear(inner, outer, bias=bias, dtype=torch.float64)


def _moments(inner=32, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(400, inner)) * rng.exponential(size=inner) + rng.normal(size=inner)
    return Moments.of(rows)


@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
def test_every_tile_has_one_feature_of_each_part(tiling):
    moments = _moments()
    layer = STLLinear.from_linear(_layer(), FITTED, calibration=moments, tiling=tiling)
    places = layer.permutation.view(8, 4) if tiling == "consecutive" else layer.permutation.view(4, 8).t()
    variances = np.diag(moments.covariance)[places.numpy()]
    assert (variances[:, :-1].min(axis=0) >= variances[:, 1:].max(axis=0)).all()


def test_both_tilings_are_the_same_layer_where_the_outputs_are():
    x = torch.randn(6, 4, 32, dtype=torch.float64)
    one, other = (
        STLLinear.from_linear(_layer(outer=4), FITTED, calibration=_moments(), tiling=t)
        for t in ("consecutive", "strided")
    )
    assert torch.allclose(one(x), other(x), atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
def test_rows_at_the_mean_are_right_on_average(tiling, bias):
    dense, moments = _layer(outer=18, bias=bias), _moments()
    layer = STLLinear.from_linear(dense, FITTED, calibration=moments, tiling=tiling, row_grouping="rows")
    row = torch.from_numpy(moments.mean)
    y = layer(row.expand(4, -1))
    assert torch.allclose(y.mean(0), dense(row), atol=1e-12)
    assert torch.allclose(response_to(layer, row), y.mean(0) - layer.bias, atol=1e-12)
    assert layer.bias.requires_grad == bias


@pytest.mark.slow
def test_an_exact_algorithm_stays_exact():
    dense, x = _layer(), torch.randn(8, 32, dtype=torch.float64)
    layer = STLLinear.from_linear(dense, encoders("4", 49), calibration=_moments())
    assert torch.allclose(layer(x), dense(x), atol=1e-10)


def test_moments_may_be_given_in_parts():
    dense, moments, x = _layer(), _moments(), torch.randn(8, 32, dtype=torch.float64)
    whole = STLLinear.from_linear(dense, FITTED, calibration=moments)
    same = STLLinear.from_linear(dense, FITTED, calibration=(moments.mean, moments.covariance))
    assert torch.equal(same(x), whole(x))
    # Of variances alone the order comes, and no partners or axes.
    variances = torch.from_numpy(np.diag(moments.covariance).copy())
    layer = STLLinear.from_linear(dense, FITTED, calibration=(torch.from_numpy(moments.mean), variances))
    assert torch.equal(layer.permutation.sort().values, torch.arange(32))
    assert torch.equal(layer.factors.encode_x, torch.tensor(FITTED.encode_x))
    assert not torch.equal(layer.permutation, whole.permutation)


def _related(inner=32, rows=4000, seed=0):
    """Rows whose features share a few directions, the same for every seed."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(99).normal(size=(6, inner))
    mixed = rng.normal(size=(rows, 6)) @ shared + rng.normal(size=(rows, inner))
    return mixed * np.geomspace(3.0, 1.0, inner)


@pytest.mark.slow
def test_features_that_vary_together_lose_less_in_one_tile():
    rows = _related(128)
    moments, dense = Moments.of(rows), _layer(128, 64, bias=False)
    x = torch.from_numpy(_related(128, 400, seed=1))
    lost = []
    for calibration in (moments, (moments.mean, np.diag(moments.covariance))):
        layer = STLLinear.from_linear(dense, "4x4x4-r32-sorted", calibration=calibration, row_grouping="rows")
        lost.append(float((layer(x) - dense(x)).detach().square().sum()))
    assert lost[0] < 0.8 * lost[1]


def test_a_turned_layer_takes_new_weights():
    old, new, x = _layer(), _layer(seed=1), torch.randn(8, 32, dtype=torch.float64)
    encoders_49 = fitted_to(encoders("4", 49), Profile((6, 2, 1, 1)))
    layer = STLLinear.from_linear(old, encoders_49, calibration=Moments.of(_related()))
    assert not torch.equal(layer.factors.encode_x, torch.tensor(encoders_49.encode_x))
    # As another library's decomposition would have left it.
    layer.factors.encode_x.data *= 1 + 1e-14 * torch.randn(49, 16, dtype=torch.float64)
    layer.set_weight(new.weight.detach(), encoders_49)
    assert torch.allclose(layer(x) - layer.bias, new(x) - new.bias, atol=1e-10)


def test_shared_factors_are_not_turned():
    factors = STLFactors(FITTED, dtype=torch.float64)
    layer = STLLinear.from_linear(_layer(), FITTED, calibration=_moments(), factors=factors)
    alone = STLLinear.from_linear(
        _layer(), FITTED, calibration=(_moments().mean, np.diag(_moments().covariance))
    )
    x = torch.randn(8, 32, dtype=torch.float64)
    assert layer.factors is factors
    assert torch.allclose(layer(x), alone(x), atol=1e-12)


def test_mismatches_are_refused_by_name():
    dense = _layer()
    with pytest.raises(InvalidInput, match=r"calibration: expected moments of the layer's input.*got none"):
        STLLinear.from_linear(dense, FITTED)
    with pytest.raises(InvalidInput, match="permutation: expected none together with calibration"):
        STLLinear.from_linear(dense, FITTED, calibration=_moments(), permutation=range(32))
    with pytest.raises(InvalidInput, match=r"calibration: expected mean \(32,\)"):
        STLLinear.from_linear(dense, FITTED, calibration=_moments(16))
    with pytest.raises(
        InvalidInput, match="calibration: expected a layer whose input features are a multiple"
    ):
        STLLinear.from_linear(_layer(30), FITTED, calibration=_moments(30))
    with pytest.raises(InvalidInput, match="calibration: expected Moments"):
        STLLinear.from_linear(dense, FITTED, calibration=3)
    with pytest.raises(InvalidInput, match="variances of at least 0"):
        STLLinear.from_linear(dense, FITTED, calibration=(np.zeros(32), -np.ones(32)))
    # Whoever orders the features themselves may.
    assert STLLinear.from_linear(dense, FITTED, permutation=range(32)).rank == 24


def test_features_far_from_the_profile_are_said():
    steep = encoders("4", 32, profile="sorted")
    with pytest.warns(FarFromProfile, match="features have the profile"):
        STLLinear.from_linear(_layer(), steep, calibration=(np.zeros(32), np.ones(32)))


def test_a_published_name_is_taken():
    layer = STLLinear.from_linear(_layer(), "4x4x4-r32-sorted", calibration=_moments())
    assert layer.rank == 32
