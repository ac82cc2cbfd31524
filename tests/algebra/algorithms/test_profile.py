"""Sorted profiles: the order of features, the colour, the closed-form scores, the shipped one."""

import json
from importlib.resources import files

import numpy as np
import pytest

from stl_algebra import InvalidInput, TileFormat, definition, load_encoders, save_encoders
from stl_algebra.algorithms.colour import target_tensor
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import (
    Profile,
    fitted_to,
    profile_of,
    shipped_profile,
    sorted_order,
)
from stl_algebra.algorithms.scores import amplification, column_row_nmse, nmse
from stl_algebra.published import encoders

PROFILE = Profile((6, 2, 1, 1))
TILE = TileFormat(4, 4, 4)


def test_shares_add_up_and_are_those_of_the_parts():
    variances = np.random.default_rng(1).exponential(size=40)
    order = sorted_order(variances, 4)
    assert (np.diff(variances[order]) <= 0).all()
    profile = Profile.of_variances(variances, 4)
    assert sum(profile.shares) == pytest.approx(1)
    assert profile.shares == pytest.approx(variances[order].reshape(4, 10).sum(axis=1) / variances.sum())


def test_the_colour_is_the_second_moment_of_dealt_white_features():
    colour = PROFILE.colour(TILE)
    assert colour.root_x @ colour.root_x == pytest.approx(np.kron(np.eye(4), np.diag([2.4, 0.8, 0.4, 0.4])))
    assert float((target_tensor(TILE, colour) ** 2).sum()) == pytest.approx(64)


@pytest.mark.parametrize("kept", [1, 2, 3, 4])
def test_keeping_the_strongest_features_loses_the_shares_of_the_others(kept):
    whole = definition(TILE)
    rows = whole.encode_x.reshape(64, 4, 4)[:, :, :kept].any(axis=(1, 2))
    part = whole.with_factors(None, None, whole.decode * rows)
    lost = 1 - sum(PROFILE.shares[:kept])
    assert nmse(part, PROFILE.colour(TILE)) == pytest.approx(lost, abs=1e-12)
    assert column_row_nmse(TILE, 16 * kept, PROFILE) == pytest.approx(lost, abs=1e-12)


def test_equal_shares_are_white():
    even, algorithm = Profile((1, 1, 1, 1)), encoders("4", 20)
    assert nmse(algorithm, even.colour(TILE)) == pytest.approx(nmse(algorithm))
    assert amplification(algorithm, even.colour(TILE)) == pytest.approx(amplification(algorithm))
    assert column_row_nmse(TILE, 20, even) == pytest.approx(column_row_nmse(TILE, 20))


def test_a_file_keeps_the_profile_and_is_scored_on_it(tmp_path):
    algorithm = fitted_to(encoders("4", 20), PROFILE)
    stored = load_encoders(save_encoders(tmp_path / "a.safetensors", Judged.of(algorithm)))
    assert stored.profile == profile_of(stored.algorithm) == PROFILE
    scores = stored.judged().scores
    assert scores == Judged.of(algorithm).scores
    assert scores.nmse == pytest.approx(nmse(algorithm, PROFILE.colour(TILE)))
    assert "nmse_white" not in scores.as_json()
    assert scores.tiles == "profile 0.6,0.2,0.1,0.1"
    assert profile_of(encoders("4", 20)) is None


@pytest.mark.parametrize(
    "shares", [(), (0.5, 0.6), (1.0, 0.0), (1.0, float("nan"))], ids=["none", "rising", "zero", "nan"]
)
def test_what_is_no_profile_is_refused(shares):
    with pytest.raises(InvalidInput, match="profile"):
        Profile(shares)


def test_spellings():
    assert Profile.parse("6, 2, 1, 1") == PROFILE
    assert Profile.parse("sorted") == shipped_profile()
    assert Profile.parse("sorted", 8) == shipped_profile(8)
    with pytest.raises(
        InvalidInput, match="profile: expected 5 shares of variance, as 'sorted' has k = 4 or 8 only"
    ):
        Profile.parse("sorted", 5)
    with pytest.raises(InvalidInput, match=r"profile: expected shares such as .* or 'sorted', got 'falling'"):
        Profile.parse("falling")
    with pytest.raises(InvalidInput, match="4 shares"):
        Profile((2, 1)).colour(TILE)
    with pytest.raises(InvalidInput, match="multiple of 4"):
        sorted_order(np.ones(10), 4)


@pytest.mark.parametrize("k", [4, 8])
def test_the_shipped_profiles_are_the_means_of_the_layers_they_name(k):
    path = files("stl_algebra").joinpath(f"data/sorted_profiles/k{k}.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored["command"].startswith("stl-search profile ")
    assert len({name.split(":")[0] for name in (*stored["layers"], *stored["beside"])}) >= 2
    mean = np.mean(list(stored["layers"].values()), axis=0)
    assert shipped_profile(k).shares == pytest.approx(mean / mean.sum(), abs=2e-4)
