"""Layers whose features are sorted by calibration: order, mean in the bias, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.numerics.moments import Moments
from stl_algebra.published import encoders
from stl_kernels import STLLinear
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


def test_an_exact_algorithm_stays_exact():
    dense, x = _layer(), torch.randn(8, 32, dtype=torch.float64)
    layer = STLLinear.from_linear(dense, encoders("4", 49), calibration=_moments())
    assert torch.allclose(layer(x), dense(x), atol=1e-10)


def test_moments_may_be_given_in_parts():
    dense, moments, x = _layer(), _moments(), torch.randn(8, 32, dtype=torch.float64)
    given = (
        (moments.mean, moments.covariance),
        (torch.from_numpy(moments.mean), torch.from_numpy(np.diag(moments.covariance).copy())),
    )
    whole = STLLinear.from_linear(dense, FITTED, calibration=moments)(x)
    for parts in given:
        assert torch.equal(STLLinear.from_linear(dense, FITTED, calibration=parts)(x), whole)


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
