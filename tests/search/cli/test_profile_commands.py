"""`run --profile` and `profile`: what they write says which tiles it is for."""

import json

import numpy as np
import pytest

from stl_algebra import load_encoders
from tests.search.cli.calling import call


@pytest.mark.slow
def test_a_run_on_a_profile_says_so_everywhere(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "layer.npz",
        x=rng.normal(size=(96, 32)) * np.geomspace(2, 1, 32),
        w=rng.normal(size=(32, 24)),
    )
    arguments = ["run", "--tile", "2", "--rank", "5", "--profile", "3,1", "--trials", "3", "--out", tmp_path]
    outcome = call(*arguments, "--matrices", tmp_path / "layer.npz", "--json")
    assert outcome.exit_code == 0, outcome.output
    scores = json.loads(outcome.stdout)["winners"]["5"]
    assert scores["profile"] == [0.75, 0.25]
    # Four products of the strongest index lose a quarter.
    assert scores["nmse_profile"] < 0.25
    assert {load_encoders(p).profile.shares for p in (tmp_path / "encoders").iterdir()} == {(0.75, 0.25)}
    words = "profile 0.75,0.25"
    assert words in (tmp_path / "report.md").read_text()
    assert f"{words} (closed form)" in (tmp_path / "scores.csv").read_text()
    assert words in call("frontier", tmp_path).stdout
    encoders = tmp_path / "encoders" / "2x2x2-r5.safetensors"
    assert words in call("evaluate", encoders, "--matrices", tmp_path / "layer.npz").stdout


@pytest.mark.slow
def test_profiles_of_layers_are_measured(tmp_path):
    found = json.loads(call("profile", "--k", "2", "--out", tmp_path / "p.json", "--json").stdout)
    assert found == json.loads((tmp_path / "p.json").read_text())
    assert len(found["layers"]) == 4
    assert found["profile"] == pytest.approx(np.mean(list(found["layers"].values()), axis=0), abs=2e-4)
    assert "mean" in call("profile").stdout


@pytest.fixture
def pairwise(tmp_path):
    """A layer whose features vary two and two together, one of them half as much."""
    rng = np.random.default_rng(3)
    once = rng.normal(size=(400, 16))
    x = np.concatenate([once, 0.5 * once + 0.05 * rng.normal(size=once.shape)], axis=1)
    np.savez(tmp_path / "pairwise.npz", x=x, w=rng.normal(size=(32, 24)))
    return tmp_path / "pairwise.npz"


def test_along_the_axes_a_profile_sees_what_varies_together(pairwise):
    plain, turned = (
        json.loads(call("profile", "--matrices", pairwise, "--k", "2", *more, "--json").stdout)["profile"]
        for more in ([], ["--axes"])
    )
    assert plain[0] == pytest.approx(0.8, abs=0.02)
    assert turned[0] > 0.98


@pytest.mark.slow
def test_a_run_on_a_colour_is_a_run_on_the_profile_along_the_axes(pairwise, tmp_path):
    arguments = ["run", "--tile", "2", "--rank", "5", "--trials", "2", "--out", tmp_path / "run"]
    outcome = call(*arguments, "--colour", pairwise, "--matrices", pairwise, "--json")
    assert outcome.exit_code == 0, outcome.output
    scores = json.loads(outcome.stdout)["winners"]["5"]
    assert scores["profile"][0] > 0.98
    # Four products of the strong axis leave what the weak one carries, and a fifth takes some of it.
    assert scores["nmse_profile"] < scores["profile"][1]
    again = call(*arguments, "--colour", pairwise, "--matrices", pairwise, "--profile", "2,1")
    assert again.exit_code == 2
    assert "--profile, --colour: expected one of them, got both" in again.stderr
