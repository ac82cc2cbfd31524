"""The published frontier in the package: what it gives by format and rank, where each file comes from."""

from pathlib import Path

import numpy as np
import pytest
import torch

import stl_algebra
from stl_algebra import InvalidInput, encoders, load_encoders, save_encoders
from stl_algebra.algorithms.compose import direct_sum
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import fitted_to, shipped_profile
from stl_algebra.algorithms.scores import nmse, total
from stl_algebra.exact.catalogue import NAMED, exact_algorithm, rank_of_exact
from stl_algebra.precision import PRECISIONS
from stl_algebra.published import OWN, encoders_file, own_dtypes, published, read_encoders
from stl_kernels import STLLinear
from stl_search.frontier.known import known_algorithms
from stl_search.judging.sampled import sampled_error
from stl_search.matrices.readers import load_matrices

SHORT, LONG = stl_algebra.TileFormat(4, 4, 4), stl_algebra.TileFormat(4, 8, 4)
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
    fitted = encoders("4x4x4", rank=32, profile="sorted")
    assert fitted == read_encoders("4x4x4-r32-sorted").judged.algorithm != algorithm
    assert stl_algebra.encoders is encoders
    assert encoders("3", 23) == exact_algorithm(stl_algebra.TileFormat(3, 3, 3))


@pytest.mark.parametrize("name", sorted(NAMED))
def test_algorithms_of_the_literature_go_by_their_author_unless_a_file_does(name, tmp_path, monkeypatch):
    assert read_encoders(name).judged.algorithm == NAMED[name]()
    monkeypatch.chdir(tmp_path)
    save_encoders(name, encoders("2", 6))
    assert read_encoders(name).judged.algorithm == encoders("2", 6)


@pytest.mark.slow
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


@pytest.mark.parametrize(("tile", "rank"), published("sorted"), ids=lambda value: str(value))
def test_encoders_for_sorted_features_say_so_and_beat_the_white_ones_there(tile, rank):
    stored = encoders_file(tile, rank, "sorted")
    assert (stored.algorithm.tile, stored.algorithm.rank) == (tile, rank)
    assert stored.algorithm.provenance.command
    profile = shipped_profile(tile.k)
    assert stored.profile == profile
    assert stored.judged() == Judged.of(stored.algorithm)
    white = _white(tile, rank)
    assert stored.judged().scores.total("bf16") < total(white, "bf16", profile.colour(tile))


def _white(tile, rank):
    """For <4,8,4> the best white <4,4,4> on both halves of the inner side."""
    if tile == SHORT:
        return encoders(tile, rank)
    half = encoders("4x4x4", rank // 2)
    return direct_sum(half, half, "k")


OF_THEIR_OWN = [
    pytest.param(tile, rank, dtype, id=f"{tile.slug}-r{rank}-{dtype}")
    for dtype in OWN
    for tile, rank in published(dtype=dtype)
]


@pytest.mark.parametrize(("tile", "rank", "dtype"), OF_THEIR_OWN)
def test_encoders_for_fine_dtypes_beat_the_others_there_and_no_coarser_one_takes_them(tile, rank, dtype):
    stored = encoders_file(tile, rank, dtype=dtype)
    assert (stored.algorithm.tile, stored.algorithm.rank) == (tile, rank)
    assert stored.algorithm.provenance.command
    assert stored.judged() == Judged.of(stored.algorithm)
    ours, others = stored.judged().scores, encoders_file(tile, rank).judged().scores
    assert ours.total(dtype) < 0.99 * others.total(dtype)
    assert ours.total("bf16") > others.total("bf16")
    name = f"{tile.slug}-r{rank}-{dtype}"
    assert read_encoders(name).judged.algorithm == encoders(tile, rank, dtype=dtype)
    words = PRECISIONS[dtype].words
    with pytest.raises(InvalidInput, match=f"dtype: expected {words} or finer for {name}"):
        STLLinear(8, 8, name, dtype=torch.bfloat16)
    assert STLLinear(8, 8, name, dtype=getattr(torch, PRECISIONS[dtype].stored)).rank == rank


def test_every_dtype_has_its_own_frontiers_and_those_of_coarser_ones():
    assert {name: own_dtypes(name) for name in PRECISIONS} == {
        "bf16": (),
        "fp16": ("fp16",),
        "tf32": ("fp16",),
        "fp32": ("fp16", "fp32"),
    }
    known = {dtype: {a.digest for a in known_algorithms(SHORT, dtype)[47]} for dtype in PRECISIONS}
    assert known["bf16"] < known["fp16"] == known["tf32"] < known["fp32"]


@pytest.mark.parametrize(
    ("tile", "rank", "most"),
    [
        ("2x2x3", 10, 0.0024),
        ("3x3x3", 22, 0.0011),
        ("2x4x4", 25, 0.002),
        ("4x4x4", 47, 0.0052),
        ("4x4x6", 70, 0.0039),
        ("6x6x6", 150, 0.0046),
    ],
)
def test_below_the_rank_of_exact_algorithms_border_ranks_leave_little(tile, rank, most):
    assert rank < rank_of_exact(tile)
    assert encoders_file(tile, rank).judged().scores.total("bf16") < most


@pytest.mark.slow
@pytest.mark.parametrize(
    "tile", ["2x2x2", "2x2x3", "2x3x3", "3x3x3", "2x4x4", "4x4x4", "4x4x6", "6x6x6", "8x8x8", "12x12x12"]
)
def test_no_rank_is_worse_than_a_lower_one(tile):
    # Strassen's squared is there for its rank, not for its rounding errors.
    ranks = [rank for own, rank in published() if own.slug == tile and rank <= rank_of_exact(own)]
    totals = [encoders_file(tile, rank).judged().scores.total("bf16") for rank in ranks]
    assert totals == sorted(totals, reverse=True)
    assert min(ranks) <= -(-stl_algebra.TileFormat.parse(tile).products // 4)


def test_rank_36_and_47_in_float32_are_as_good_as_said():
    assert encoders_file("4x4x4", 47, dtype="fp32").judged().scores.total("fp32") < 4e-5
    assert encoders_file("4x4x4", 36, dtype="fp32").judged().scores.total("fp32") < 0.1891


@pytest.mark.slow
def test_a_layer_in_float32_runs_encoders_that_amplify_without_end():
    torch.manual_seed(0)
    dense, x = torch.nn.Linear(64, 64, bias=False), torch.randn(256, 64)
    layer = STLLinear.from_linear(dense, "4x4x4-r40-fp32", row_grouping="rows")
    with torch.no_grad():
        lost = float((layer(x) - dense(x)).square().sum() / dense(x).square().sum())
    assert lost == pytest.approx(nmse(encoders("4", 40, dtype="fp32")), rel=0.2)


def test_sorted_encoders_are_there_from_16_to_the_exact_rank_and_better_with_every_product():
    ranks = {tile: [rank for own, rank in published("sorted") if own == tile] for tile in (SHORT, LONG)}
    assert ranks == {SHORT: list(range(16, 49)), LONG: list(range(32, 96, 4))}
    for tile in ranks:
        totals = [encoders_file(tile, r, "sorted").judged().scores.total("bf16") for r in ranks[tile]]
        assert totals == sorted(totals, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [20, 24, 28, 32, 36, 40])
def test_on_held_out_rows_of_real_layers_longer_tiles_lose_less(rank):
    pairs = load_matrices("minilm")
    long, short = encoders(LONG, 2 * rank, "sorted"), encoders(SHORT, rank, "sorted")
    errors = [np.mean([sampled_error(a, pair).nmse for pair in pairs]) for a in (long, short)]
    assert errors[0] < 0.97 * errors[1]


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "most"), [(40, 0.040), (32, 0.084), (24, 0.143)])
def test_on_held_out_rows_of_real_layers_sorted_encoders_keep_what_is_said(rank, most):
    pairs = load_matrices("minilm")
    fitted, white = encoders("4", rank, "sorted"), fitted_to(encoders("4", rank), shipped_profile())
    errors = [[sampled_error(a, pair).nmse for pair in pairs] for a in (fitted, white)]
    assert np.mean(errors[0]) <= most
    assert np.mean(errors[0]) < np.mean(errors[1])


@pytest.mark.slow
def test_what_there_is_not_is_listed():
    with pytest.raises(InvalidInput, match=r"rank: expected a published rank of 4x4x4: 16, 17"):
        encoders("4x4x4", 3)
    with pytest.raises(InvalidInput, match="tile: expected a format with published encoders: 2x2x2, "):
        encoders("5x5x5", 60)
    with pytest.raises(InvalidInput, match="profile: expected None or 'sorted', got 'steep'"):
        encoders("4x4x4", 32, profile="steep")
    with pytest.raises(InvalidInput, match="dtype: expected None, 'fp16' or 'fp32', got 'fp8'"):
        encoders("4x4x4", 32, dtype="fp8")
    with pytest.raises(InvalidInput, match="dtype: expected None, got 'fp32'"):
        encoders("4x4x4", 40, profile="sorted", dtype="fp32")
    with pytest.raises(InvalidInput, match="rank"):
        STLLinear(8, 8, "4x4x4-r3")


def test_a_layer_takes_the_name():
    layer = STLLinear.from_linear(torch.nn.Linear(8, 8), "4x4x4-r49")
    assert layer.rank == 49
