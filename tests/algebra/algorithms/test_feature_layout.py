"""Where features go: one of each part to a tile, partners that vary together, and the axes of a tile."""

import numpy as np
import pytest

from stl_algebra import InvalidInput
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.feature_layout import feature_layout, turned_onto
from stl_algebra.algorithms.profile import Profile
from stl_algebra.algorithms.scores import inner_losses, nmse
from stl_algebra.published import encoders


def _covariance(size=48, directions=5, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(size, directions))
    scale = rng.exponential(size=size)
    return scale[:, None] * (mixed @ mixed.T + np.eye(size)) * scale


@pytest.mark.parametrize("related", [True, False])
def test_a_tile_has_one_feature_of_each_part(related):
    covariance = _covariance()
    variances = np.diag(covariance)
    layout = feature_layout(covariance if related else variances, 4)
    assert sorted(layout.strided) == list(range(48))
    # Tile L of consecutive tiling has the features that strided tiling takes for it.
    assert (layout.consecutive.reshape(12, 4) == layout.strided.reshape(4, 12).T).all()
    parts = variances[layout.consecutive].reshape(12, 4)
    assert (parts[:, :-1].min(axis=0) >= parts[:, 1:].max(axis=0)).all()


def test_axes_and_spread_are_those_of_a_tile():
    covariance = _covariance()
    layout = feature_layout(covariance, 4)
    tiles = layout.parts.T
    of_a_tile = sum(covariance[np.ix_(tile, tile)] for tile in tiles)
    assert layout.axes.T @ of_a_tile @ layout.axes == pytest.approx(np.diag(layout.spread), abs=1e-10)
    assert (np.diff(layout.spread) <= 0).all()
    assert layout.spread.sum() == pytest.approx(np.trace(covariance))


@pytest.mark.parametrize("seed", range(4))
def test_partners_make_the_determinant_small(seed):
    covariance = _covariance(seed=seed)
    chosen = feature_layout(covariance, 4)
    by_variance = feature_layout(np.diag(covariance), 4)
    rng = np.random.default_rng(seed)

    def determinant(parts):
        tiles = parts.T
        return np.linalg.slogdet(sum(covariance[np.ix_(tile, tile)] for tile in tiles))[1]

    others = [np.array([rng.permutation(part) for part in by_variance.parts]) for _ in range(50)]
    assert determinant(chosen.parts) < min(determinant(parts) for parts in [by_variance.parts, *others]) - 0.1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("losses", [[0.0, 0.0, 0.1, 0.25], [0.0, 0.2, 0.2, 0.25]])
def test_partners_chosen_for_encoders_leave_less_along_the_axes_that_they_lose(losses, seed):
    covariance = _covariance(seed=seed)
    for_any, for_these = feature_layout(covariance, 4), feature_layout(covariance, 4, losses)
    assert sorted(for_these.strided) == list(range(48))
    assert losses @ for_these.spread < losses @ for_any.spread


def test_without_losses_that_differ_any_partners_are_as_good():
    covariance = _covariance()
    wanted = feature_layout(covariance, 4)
    assert (feature_layout(covariance, 4, np.zeros(4)).parts == wanted.parts).all()
    assert feature_layout(covariance, 4, np.ones(4)).spread.sum() == pytest.approx(wanted.spread.sum())


def test_losses_by_axis_say_what_is_lost_along_them():
    algorithm = encoders("4", 24, profile="sorted")
    losses = inner_losses(algorithm)
    assert losses.mean() == pytest.approx(nmse(algorithm), rel=1e-12)
    for shares in [(0.7, 0.1, 0.1, 0.1), (0.4, 0.3, 0.2, 0.1)]:
        expected = float(losses @ np.array(shares))
        assert nmse(algorithm, Profile(shares).colour(algorithm.tile)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("losses", [np.ones(3), [0.0, 0.0, 0.1, np.inf], [-0.1, 0.0, 0.0, 1.0]])
def test_losses_that_are_none_are_refused(losses):
    with pytest.raises(InvalidInput, match="losses"):
        feature_layout(_covariance(), 4, losses)


def test_unrelated_features_gain_nothing_and_lose_nothing():
    variances = np.random.default_rng(0).exponential(size=32)
    layout = feature_layout(np.diag(variances), 4)
    assert layout.profile.shares == pytest.approx(Profile.of_variances(variances, 4).shares)
    assert np.abs(layout.axes) == pytest.approx(np.eye(4))


def test_turned_encoders_lose_on_the_tiles_what_they_lose_along_the_axes():
    covariance = _covariance()
    layout = feature_layout(covariance, 4)
    algorithm = encoders("4", 32, profile="sorted")
    turned = layout.turned(algorithm)
    colour = layout.profile.colour(algorithm.tile)
    # A tile row x has the coordinates x @ axes.
    root = np.kron(np.eye(4), layout.axes) @ colour.root_x
    there = Colour.from_second_moments(root @ root.T, np.eye(16))
    assert nmse(turned, there) == pytest.approx(nmse(algorithm, colour), rel=1e-9)


def test_many_tiles_are_dealt_in_groups(monkeypatch):
    monkeypatch.setattr("stl_algebra.algorithms.feature_layout._AT_ONCE", 5)
    covariance = _covariance()
    grouped = feature_layout(covariance, 4)
    assert sorted(grouped.strided) == list(range(48))
    alone = feature_layout(np.diag(covariance), 4)
    assert np.log(grouped.spread).sum() < np.log(alone.spread).sum()


def test_a_turn_is_found_again_after_rounding():
    algorithm = encoders("4", 32, profile="sorted")
    turned = feature_layout(_covariance(), 4).turned(algorithm)
    found = turned_onto(algorithm, turned.encode_x.astype(np.float16), 4e-3)
    assert found is not None
    assert found.encode_w == pytest.approx(turned.encode_w, abs=1e-2)
    assert turned_onto(algorithm, turned.encode_x[::-1], 4e-3) is None


@pytest.mark.parametrize("moments", [np.zeros(16), np.zeros((16, 16)), np.ones((16, 16))])
def test_degenerate_moments_are_taken(moments):
    layout = feature_layout(moments, 4)
    assert sorted(layout.strided) == list(range(16))
    assert layout.axes.T @ layout.axes == pytest.approx(np.eye(4))


def test_mismatches_are_refused_by_name():
    with pytest.raises(InvalidInput, match="moments: expected variances"):
        feature_layout(np.ones((3, 4)), 4)
    with pytest.raises(InvalidInput, match="moments: expected finite"):
        feature_layout(np.full((4, 4), np.nan), 4)
    with pytest.raises(InvalidInput, match="as many features as a multiple of 4"):
        feature_layout(np.ones(10), 4)
    with pytest.raises(InvalidInput, match="algorithm: expected tiles with k = 4"):
        feature_layout(np.ones(16), 4).turned(encoders("2", 7))
