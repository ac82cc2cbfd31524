"""Matrices, captures, sampled errors and baselines."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from stl_algebra import InvalidInput, TileFormat, definition
from stl_algebra.algorithms.fit import truncate
from stl_algebra.algorithms.scores import Scores, closed_form_scores, nmse
from stl_algebra.exact.catalogue import strassen
from stl_algebra.numerics.moments import Moments
from stl_search.judging.baselines import BASELINES, baseline_error
from stl_search.judging.sampled import matrix_scores, multiply_padded, sampled_error, spectral_norm
from stl_search.matrices.ensembles import ENSEMBLES, random_pair
from stl_search.matrices.pair import make_pair
from stl_search.matrices.readers import load_matrices
from stl_search.matrices.tiling import padded, tile_colour

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ensemble", sorted(ENSEMBLES))
def test_ensembles_are_reproducible_and_named(ensemble):
    first, second = random_pair(ensemble, 48, 3), random_pair(ensemble, 48, 3)
    assert np.array_equal(first.x, second.x)
    assert first.x.shape == first.w.shape == first.calibration.shape == (48, 48)
    # Fitted on no more rows than a square matrix has, baselines look worse than they are.
    assert first.moments.count >= 8 * 48
    assert np.array_equal(first.moments.second, second.moments.second)
    assert not np.array_equal(first.x, random_pair(ensemble, 48, 4).x)


@pytest.mark.slow
def test_bundled_capture_holds_real_layers_of_several_shapes():
    pairs = load_matrices("minilm")
    assert len(pairs) >= 4
    assert {p.w.shape for p in pairs} == {(384, 384), (384, 1536), (1536, 384)}
    for pair in pairs:
        assert pair.x.shape[1] == pair.calibration.shape[1] == pair.w.shape[0]
        # Real activations are far from white: a few directions hold most of the energy.
        values = np.linalg.svd(pair.calibration, compute_uv=False) ** 2
        assert values[0] * pair.x.shape[1] > 20 * values.sum()
        assert pair.moments.count >= 24_000
        energy = np.sum(pair.calibration**2) / len(pair.calibration)
        assert np.trace(pair.moments.second) == pytest.approx(energy, rel=0.1)
        colour = tile_colour(pair, TileFormat(4, 4, 4))
        assert colour.root_x.shape == colour.root_w.shape == (16, 16)


def test_files_are_read(tmp_path):
    x, w = RNG.normal(size=(6, 5)), RNG.normal(size=(5, 7))
    np.savez(tmp_path / "a.npz", x=x, w=w)
    np.savez(tmp_path / "b.npz", **{"one.x": x, "one.w": w, "one.calibration": x[:2]})
    save_file({"q.x": x.astype(np.float16), "q.w": w.astype(np.float16)}, tmp_path / "c.safetensors")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "w.npy", w)
    assert load_matrices(str(tmp_path / "a.npz"))[0].w.shape == (5, 7)
    named = load_matrices(str(tmp_path / "b.npz"))[0]
    assert (named.name, len(named.x), len(named.calibration)) == ("b:one", 6, 2)
    assert load_matrices(str(tmp_path / "c.safetensors"))[0].name == "c:q"
    assert load_matrices(f"{tmp_path / 'x.npy'},{tmp_path / 'w.npy'}")[0].x.shape[1] == 5
    assert load_matrices(str(tmp_path / "w.npy"))[0].x.shape[1] == 5


def test_moments_are_read_in_full_or_packed_shared_or_not_at_all(tmp_path):
    x, w, many = (RNG.normal(size=s) for s in ((6, 5), (5, 7), (90, 5)))
    moments = Moments.of(many)
    full = {"count": np.array(90), "mean": moments.mean, "second": moments.second}
    np.savez(tmp_path / "full.npz", x=x, w=w, **full)
    read = load_matrices(str(tmp_path / "full.npz"))[0]
    assert read.moments.count == 90
    assert np.allclose(read.moments.second, moments.second)
    assert read.calibration_moments is read.moments
    packed = {f"b.{k}": v for k, v in moments.packed().items()}
    both = {"a.x": x, "a.w": w, "b.x": x, "b.w": w}
    path = tmp_path / "shared.safetensors"
    save_file(both | packed, path, {"moments": json.dumps({"a": "b", "b": "b"})})
    first, second = load_matrices(str(path))
    assert first.moments is second.moments
    assert np.allclose(first.moments.second, moments.second, atol=5e-3)
    # Files of before: their calibration rows are all that is known.
    save_file(both, path)
    old = load_matrices(str(path))[0]
    assert old.moments is None
    assert np.allclose(old.calibration_moments.second, Moments.of(old.calibration).second)
    save_file(both | {**packed, "b.mean": packed["b.mean"][:-1]}, path)
    with pytest.raises(InvalidInput, match="moments of b"):
        load_matrices(str(path))
    with pytest.raises(InvalidInput, match="5 entries"):
        old.with_moments(Moments.of(many[:, :3]))
    np.save(tmp_path / "w.npy", w)
    assert np.array_equal(load_matrices(str(tmp_path / "w.npy"))[0].moments.second, np.eye(5))


def test_tile_colour_from_moments_is_that_of_many_rows():
    rows = RNG.normal(size=(40_000, 10)) @ RNG.normal(size=(10, 10)) + RNG.normal(size=10)
    w = RNG.normal(size=(10, 8))
    tile = TileFormat(4, 4, 4)
    of_rows = tile_colour(make_pair("rows", rows[:4], w, rows), tile)
    of_moments = tile_colour(make_pair("moments", rows[:4], w).with_moments(Moments.of(rows)), tile)
    second, expected = (c.root_x @ c.root_x for c in (of_moments, of_rows))
    assert np.linalg.norm(second - expected) < 0.05 * np.linalg.norm(expected)
    assert np.array_equal(of_rows.root_w, of_moments.root_w)


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        (np.ones((3, 4)), np.ones((5, 2)), "equal inner sizes"),
        (np.ones((0, 4)), np.ones((4, 2)), "at least one entry"),
        (np.full((3, 4), np.nan), np.ones((4, 2)), "NaN"),
        (np.ones((3, 4)), np.full((4, 2), np.inf), "NaN or an infinity"),
        (np.ones(4), np.ones((4, 2)), "2 axes"),
        (np.zeros((3, 4)), np.ones((4, 2)), "zero"),
        (np.ones((3, 4), dtype=complex), np.ones((4, 2)), "real"),
    ],
)
def test_bad_matrices_are_named(x, w, message):
    with pytest.raises(InvalidInput, match=message):
        make_pair("bad", x, w)


def test_bad_files_are_named(tmp_path):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 not a zip")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    np.savez(tmp_path / "half.npz", x=np.ones((3, 3)))
    for name in (
        "cut.npz",
        "cut.npy",
        "cut.safetensors",
        "foreign.npz",
        "half.npz",
        "missing.npz",
        "thing.txt",
    ):
        with pytest.raises(InvalidInput, match=name.split(".")[0]):
            load_matrices(str(tmp_path / name))
    with pytest.raises(InvalidInput, match="gaussian"):
        load_matrices("gausian")


@pytest.mark.slow
def test_sampled_error_agrees_with_the_closed_form_and_with_zero_for_exact_algorithms():
    pair = random_pair("gaussian", 512)
    approximate = truncate(strassen(), 5)
    assert sampled_error(approximate, pair).nmse == pytest.approx(nmse(approximate), rel=0.02)
    exact = sampled_error(definition(TileFormat(3, 2, 4)), pair)
    assert exact.nmse < 1e-28
    assert exact.spectral < 1e-13


def test_padding_computes_the_product_of_any_sizes():
    x, w = RNG.normal(size=(7, 5)), RNG.normal(size=(5, 3))
    assert np.allclose(multiply_padded(strassen(), x, w), x @ w)
    assert padded(x, w, TileFormat(4, 4, 4))[0].shape == (8, 8)


@pytest.mark.parametrize("shape", [(5, 3), (40, 60), (60, 40)])
def test_spectral_norm(shape):
    matrix = RNG.normal(size=shape)
    assert spectral_norm(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-4)
    assert spectral_norm(np.zeros(shape)) == 0


@pytest.mark.slow
def test_two_to_four_on_gaussian_matches_the_reference():
    """Theory notes, section 6: NMSE .132 for magnitude pruning of Gaussian W with Gaussian X."""
    pair = random_pair("gaussian", 512)
    assert baseline_error("2:4 magnitude", pair, 2.0).nmse == pytest.approx(0.132, abs=0.004)
    assert baseline_error("column-row uniform", pair, 2.0).nmse == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_calibrated_baselines_beat_their_plain_forms_on_real_matrices():
    for pair in load_matrices("minilm")[:2]:
        plain, aware = (baseline_error(n, pair, 2.0).nmse for n in ("SVD of W", "activation-aware SVD"))
        magnitude, gpt = (baseline_error(n, pair, 2.0).nmse for n in ("2:4 magnitude", "2:4 SparseGPT"))
        assert aware < plain
        assert gpt < magnitude


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_every_baseline_is_exact_without_saving_and_finite_on_odd_sizes(name):
    pair = make_pair("odd", RNG.normal(size=(20, 13)), RNG.normal(size=(13, 9)))
    assert np.isfinite(baseline_error(name, pair, 2.0).nmse)
    if BASELINES[name].ratio is None and "sketch" not in name and "SVD" not in name:
        assert baseline_error(name, pair, 1.0).nmse < 1e-20


def test_two_to_four_keeps_two_of_four():
    eye = np.eye(16)
    pair = make_pair("eye", eye, RNG.normal(size=(16, 6)), np.random.default_rng(1).normal(size=(64, 16)))
    for name in ("2:4 magnitude", "2:4 SparseGPT"):
        kept = BASELINES[name].product(pair, 2.0, 0).reshape(4, 4, 6)
        assert ((np.abs(kept) > 1e-12).sum(axis=1) <= 2).all()


def test_baseline_errors_name_the_argument():
    pair = random_pair("gaussian", 16)
    with pytest.raises(InvalidInput, match="2:4 SparseGPT"):
        baseline_error("magic", pair, 2.0)
    with pytest.raises(InvalidInput, match="ratio"):
        baseline_error("SVD of W", pair, 0.5)


def test_scores_have_every_total_and_the_rounding_term():
    scores = closed_form_scores(strassen())
    assert scores.nmse == 0
    assert Scores.from_json(scores.as_json()) == scores
    scores = scores.as_json()
    assert scores["total_bf16"] > scores["total_fp16"] > scores["total_tf32"] > scores["total_fp32"] > 0
    on_matrices = matrix_scores(strassen(), random_pair("gaussian", 64), "bf16")
    assert on_matrices["total"] > on_matrices["nmse"]
