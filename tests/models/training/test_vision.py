"""Runs: they go on bit for bit, side by side, and end in words where they cannot go on."""

import errno
import json
import math
import os
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import nn

from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels import LayerOptions
from stl_models.training.divergence import Diverged, refuse_divergence
from stl_models.training.loop import CHECKPOINT, Loop
from stl_models.training.parameters import Rates
from stl_models.training.replacing import TrainingOptions
from stl_models.training.vision import VisionRecipe, build, train_vision, wilson
from stl_models.vision.images import read_images
from stl_search.cli import main

TILES = TrainingOptions(factors="layer", layer=LayerOptions(row_grouping="sequence", backend="reference"))
RECIPE = VisionRecipe(
    linear="stl", options=TILES, epochs=3, batch=16, rates=Rates(lr=2e-3), warmup=0.5, average=0.9, mixup=0.2
)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    """Two classes told apart by which half is bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 2
    images = rng.integers(0, 100, (96, 16, 16, 3))
    images[labels == 0, :8] += 120
    images[labels == 1, 8:] += 120
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    images = images.astype(np.uint8)
    np.savez(
        path,
        train_images=images[:64], train_labels=labels[:64], test_images=images[64:], test_labels=labels[64:],
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def data(npz):
    return read_images(npz)


class Killed(Exception):
    pass


def kill_at(step):
    def progress(what, done, of):
        if done == step:
            raise Killed

    return progress


def timeless(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_numbers_bit_for_bit(data, tmp_path):
    whole = train_vision(RECIPE, data, tmp_path / "whole")
    with pytest.raises(Killed):
        train_vision(RECIPE, data, tmp_path / "killed", progress=kill_at(6))
    again = train_vision(RECIPE, data, tmp_path / "killed")
    assert len(whole["rows"]) == 3
    assert timeless(again["rows"]) == timeless(whole["rows"])
    one, two = (load_file(tmp_path / name / CHECKPOINT) for name in ("whole", "killed"))
    assert set(one) == set(two)
    assert any(name.startswith("optimiser.") for name in one)
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.slow
def test_another_run_is_not_gone_on_with(data, tmp_path):
    short = replace(RECIPE, epochs=1)
    train_vision(short, data, tmp_path)
    for change, word in (({"seed": 5}, "seed"), ({"rates": Rates(lr=1.0)}, "lr")):
        with pytest.raises(InvalidInput, match=word):
            train_vision(replace(short, **change), data, tmp_path)


@pytest.mark.slow
def test_a_full_disk_at_a_checkpoint_is_said_and_the_last_one_kept(data, tmp_path, monkeypatch):
    before = train_vision(replace(RECIPE, epochs=1), data, tmp_path / "other")
    with pytest.raises(Killed):
        train_vision(RECIPE, data, tmp_path / "run", progress=kill_at(4))
    kept = (tmp_path / "run" / CHECKPOINT).read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("stl_algebra.files.os.fsync", full)
    monkeypatch.setattr("stl_models.training.loop.as_csv", lambda rows: "")
    with pytest.raises(Unavailable, match="No space left on device"):
        train_vision(RECIPE, data, tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == kept
    assert len(list((tmp_path / "run").iterdir())) == 2
    assert before["rows"]


@pytest.mark.slow
def test_it_learns_what_can_be_learnt(data, tmp_path):
    found = train_vision(replace(RECIPE, epochs=6, mixup=0.0, average=0.0), data, tmp_path)
    assert found["rows"][-1]["loss"] < found["rows"][0]["loss"]
    low, high = found["interval"]
    assert low <= found["accuracy"] <= high
    assert found["accuracy"] > 0.8


def test_intervals_are_wilsons():
    """The bounds are where the share is 1.96 deviations away."""
    low, high = wilson(0.7, 200)
    for bound in (low, high):
        assert abs(0.7 - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / 200), rel=1e-6)


@pytest.mark.slow
def test_controls_have_the_tiles_multiplications(data):
    counts = {
        linear: build(replace(RECIPE, linear=linear), data)[2]
        for linear in ("dense", "stl", "narrow", "low-rank")
    }
    assert counts["dense"]["ratios"] == {"core": 1.0, "everything": 1.0}
    core = {name: found["model"]["core"] for name, found in counts.items()}
    for name in ("narrow", "low-rank"):
        assert core[name] == pytest.approx(core["stl"], rel=0.1)
    full = build(replace(RECIPE, linear="narrow", matched="everything"), data)[2]
    assert full["model"]["everything"] == pytest.approx(counts["stl"]["model"]["everything"], rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 65}, "batch: expected at most 64"),
        (
            {"batch": 2, "options": replace(TILES, layer=LayerOptions(row_grouping="batch"))},
            "batch: expected at least 4 images a process, the rows of a tile, got 2",
        ),
        ({"linear": "sparse"}, "linear"),
        ({"smoothing": 1.0}, "smoothing"),
        ({"model": "t2t"}, "model"),
        ({"tokens": "none"}, "tokens"),
    ],
)
def test_refused_before_the_first_step(data, tmp_path, changes, words):
    def step(*_):
        raise AssertionError("a step was taken")

    with pytest.raises(InvalidInput, match=words):
        train_vision(replace(RECIPE, **changes), data, tmp_path, progress=step)


def test_divergence_names_step_and_layer(data, tmp_path):
    with pytest.raises(Diverged, match=r"step \d+") as raised:
        train_vision(replace(RECIPE, rates=Rates(lr=1e25), warmup=0.0), data, tmp_path)
    assert "is not finite" in str(raised.value) or "first" in str(raised.value)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].weight.fill_(1e38)
    x = torch.full((1, 2), 1e3)
    with pytest.raises(Diverged, match="in step 7: first in the output of 1;"):
        refuse_divergence(model, 7, math.nan, lambda: model(x))
    model[0].weight.grad = torch.full((2, 2), math.nan)
    with pytest.raises(Diverged, match=r"gradient.*first that of 0\.weight"):
        refuse_divergence(model, 7, math.inf, None)
    with torch.no_grad():
        model[2].bias.fill_(math.nan)
    with pytest.raises(Diverged, match=r"2\.bias is not finite"):
        refuse_divergence(model, 7, math.nan, lambda: model(x))
    refuse_divergence(model, 7, 1.0, None)


def test_negative_rates_are_refused():
    with pytest.raises(InvalidInput, match="lr"):
        Rates(lr=-1.0)


def test_rates_rise_and_fall_to_zero():
    loop = Loop(steps=20, warmup=5)
    factors = [loop.factor(step) for step in range(20)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a > b for a, b in pairwise(factors[5:]))
    assert factors[-1] < 0.02
    with pytest.raises(InvalidInput, match="warmup"):
        Loop(steps=3, warmup=4)


ARGUMENTS = ["--model", "t2t-vit-small-32", "--epochs", "1", "--batch", "16", "--warmup", "0"]


@pytest.mark.slow
def test_the_command_writes_what_it_says(npz, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    done = CliRunner().invoke(
        main, ["train", "vision", "--data", str(npz), "--out", str(folder), *ARGUMENTS, "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert {p.name for p in folder.iterdir()} == {CHECKPOINT, "log.csv", "result.json", "curve.png"}
    result = json.loads((folder / "result.json").read_text("utf-8"))
    assert result["recipe"]["rank"] == 24
    assert result["multiplications"]["ratios"]["core"] > 2.5
    assert (folder / "log.csv").read_text().startswith("step,loss,rate,seconds,accuracy")
    # Ctrl-C is no error of the program, and says what to do.
    monkeypatch.setattr("stl_models.training.vision.train_vision", interrupted)
    stopped = CliRunner().invoke(
        main, ["train", "vision", "--data", str(npz), "--out", str(folder), *ARGUMENTS, "--device", "cpu"]
    )
    assert stopped.exit_code == 1
    assert "the same command goes on" in stopped.output
    bad = CliRunner().invoke(
        main, ["train", "vision", "--data", str(tmp_path / "no.npz"), "--out", str(folder), *ARGUMENTS]
    )
    assert bad.exit_code == 2
    assert "data: expected a folder of train/" in bad.output
