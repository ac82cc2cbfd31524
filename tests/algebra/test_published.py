"""The published frontier in the package: what it gives by format and rank, where each file comes from."""

from pathlib import Path

import pytest
import torch

import stl_algebra
from stl_algebra import InvalidInput, encoders, load_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.published import encoders_file, published, read_encoders
from stl_kernels import STLLinear

RUN = Path(__file__).parents[2] / "results" / "frontier-4x4x4" / "encoders"


def test_formats_and_ranks_are_accepted_as_they_are_spelled():
    algorithm = encoders("4x4x4", rank=32)
    assert (algorithm.tile.slug, algorithm.rank) == ("4x4x4", 32)
    assert (
        encoders("4", 32)
        == encoders(algorithm.tile, 32)
        == read_encoders("4x4x4-r32").judged.algorithm
        == algorithm
    )
    assert stl_algebra.encoders is encoders
    assert encoders("3", 23) == exact_algorithm(stl_algebra.TileFormat(3, 3, 3))


@pytest.mark.parametrize(("tile", "rank"), published(), ids=lambda value: str(value))
def test_every_file_says_where_it_comes_from_and_is_certified(tile, rank):
    stored = encoders_file(tile, rank)
    assert (stored.algorithm.tile, stored.algorithm.rank) == (tile, rank)
    assert stored.algorithm.provenance.command
    assert stored.judged() == Judged.of(stored.algorithm)


def test_nothing_published_is_worse_than_the_run_it_comes_from():
    for path in RUN.glob("*.safetensors"):
        run = load_encoders(path).judged()
        ours = encoders_file(run.algorithm.tile, run.algorithm.rank).judged()
        assert ours.scores.total("bf16") <= run.scores.total("bf16")


def test_what_there_is_not_is_listed():
    with pytest.raises(InvalidInput, match=r"rank: expected a published rank of 4x4x4: 16, 17"):
        encoders("4x4x4", 15)
    with pytest.raises(InvalidInput, match="tile: expected a format with published encoders: 4x4x4"):
        encoders("5x5x5", 60)
    with pytest.raises(InvalidInput, match="rank"):
        STLLinear(8, 8, "4x4x4-r3")


def test_a_layer_takes_the_name():
    layer = STLLinear.from_linear(torch.nn.Linear(8, 8), "4x4x4-r49")
    assert layer.rank == 49
