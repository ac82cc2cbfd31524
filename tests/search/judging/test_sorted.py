"""Algorithms of a profile are judged on sorted features, as a layer runs them."""

import numpy as np
import pytest
import torch
from torch import nn

from stl_algebra import TileFormat
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.algorithms.scores import nmse
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.published import encoders
from stl_kernels import STLLinear
from stl_search.judging.sampled import matrix_scores, sampled_error, sorted_product
from stl_search.matrices.pair import make_pair
from stl_search.matrices.sorting import dealt, layer_profile, mean_profile

PROFILE = Profile((6, 2, 1, 1))
FITTED = fitted_to(encoders("4", 24), PROFILE)


def _pair(inner=32, rows=64, seed=0, mean=1.0):
    rng = np.random.default_rng(seed)
    scale = rng.exponential(size=inner)
    x = rng.normal(size=(2 * rows, inner)) * scale + mean * rng.normal(size=inner)
    return make_pair("layer", x[:rows], rng.normal(size=(inner, 12)), x[rows:])


def test_dealing_changes_no_product():
    for inner in (32, 30):
        pair = _pair(inner)
        about, mean = dealt(pair, FITTED)
        assert (about.x + mean) @ about.w == pytest.approx(pair.x @ pair.w)
        assert about.x.shape[1] % 4 == 0
        assert about.calibration.mean(axis=0) == pytest.approx(np.zeros(about.x.shape[1]), abs=1e-12)


def test_the_judged_product_is_that_of_the_layer():
    pair = _pair()
    dense = nn.Linear(32, 12, bias=False, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(pair.w.T.copy()))
        layer = STLLinear.from_linear(
            dense, FITTED, calibration=pair.calibration_moments, row_grouping="rows"
        )
        y = layer(torch.from_numpy(pair.x)).numpy()
    assert sorted_product(FITTED, pair) == pytest.approx(y, abs=1e-10)


def test_an_exact_algorithm_of_a_profile_has_no_error():
    exact = fitted_to(exact_algorithm(TileFormat(4, 4, 4)), PROFILE)
    assert sampled_error(exact, _pair(30)).nmse < 1e-24


@pytest.mark.slow
def test_the_closed_form_holds_for_independent_features_of_the_profile():
    rng = np.random.default_rng(0)
    scale = np.sqrt(np.repeat(PROFILE.shares, 64))
    x = rng.normal(size=(8192, 256)) * scale
    pair = make_pair("profile", x[:4096], rng.normal(size=(256, 64)), x[4096:])
    found = matrix_scores(FITTED, pair, "bf16")
    assert found["nmse"] == pytest.approx(nmse(FITTED, PROFILE.colour(FITTED.tile)), rel=0.1)
    assert found["coloured_nmse"] == pytest.approx(found["nmse"], rel=0.1)


def test_profiles_of_several_layers_are_averaged():
    pairs = [_pair(seed=seed) for seed in range(3)]
    own = np.array([layer_profile(pair, 4).shares for pair in pairs])
    assert mean_profile(pairs, 4).shares == pytest.approx(own.mean(axis=0))
