"""Two-level algorithms: figures by the product law, names, and what the package puts together."""

import numpy as np
import pytest

from stl_algebra.algorithms.compose import kronecker
from stl_algebra.algorithms.scores import closed_form_scores, moments_with_target, nmse
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import strassen, winograd
from stl_algebra.published import encoders, read_encoders, two_level, two_levels


def test_scores_are_those_of_the_kronecker_product():
    for outer, inner in ((strassen(), encoders("2x2x2", 7)), (definition(TileFormat(1, 2, 1)), winograd())):
        made = TwoLevel(outer, inner)
        flat = closed_form_scores(made.flat)
        assert made.scores.nmse == pytest.approx(flat.nmse, abs=1e-14)
        assert made.scores.amplification == pytest.approx(flat.amplification, rel=1e-12)
        assert (made.tile, made.rank) == (made.flat.tile, made.flat.rank)


@pytest.mark.slow
def test_of_approximate_parts_too():
    rough = encoders("4x4x4", 20)
    for outer, inner in ((strassen(), rough), (rough, strassen())):
        made = TwoLevel(outer, inner)
        assert made.scores.nmse == pytest.approx(nmse(kronecker(outer, inner)), rel=1e-9)


def test_the_gram_form_of_the_error_is_the_tensors():
    for algorithm in (encoders("4x4x4", 32), strassen()):
        overlap, power = moments_with_target(algorithm)
        assert 1 - 2 * overlap + power == pytest.approx(nmse(algorithm), abs=1e-12)


@pytest.mark.slow
def test_large_formats_are_scored_without_their_tensor():
    # <8,8,8> and beyond: the tensor of <16,16,16> would have 2^24 entries.
    made = TwoLevel(encoders("4x4x4", 20), definition(TileFormat(4, 4, 4)))
    assert nmse(made.flat) == pytest.approx(nmse(encoders("4x4x4", 20)), rel=1e-9)


@pytest.mark.slow
def test_two_levels_improve_with_rank_and_are_what_they_say():
    found = two_levels("8x8x8")
    totals = [p.scores.total("bf16") for p in found]
    assert totals == sorted(totals, reverse=True)
    assert [p.rank for p in found] == sorted(p.rank for p in found)
    assert all(p.tile == TileFormat(8, 8, 8) for p in found)
    assert found[-1].scores.nmse < 1e-9
    assert found[-1].rank <= 336


@pytest.mark.slow
def test_names_read_back():
    for made in two_levels("4x8x4")[-3:]:
        again = two_level(made.name)
        assert again.flat.digest == made.flat.digest
        assert read_encoders(made.name).judged.algorithm.digest == made.flat.digest


@pytest.mark.slow
def test_encoders_of_a_rank_that_only_a_product_gives():
    made = encoders("8x8x8", 7 * 20)
    assert (made.tile, made.rank) == (TileFormat(8, 8, 8), 140)
    assert nmse(made) < 1 - 140 / 512


@pytest.mark.parametrize("name", ["2x2x2-r7", "2x2x2-r7*", "a*b", "2x2x2-r7*4x4x4-r32-sorted", "2x2x2-r6*x"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidInput, match="name"):
        two_level(name)


def test_parts_for_sorted_features_are_refused():
    with pytest.raises(InvalidInput, match="inner"):
        TwoLevel(strassen(), encoders("4x4x4", 32, "sorted"))


def test_encoding_in_two_steps_is_cheaper():
    made = two_level("4x4x4-r48*4x4x4-r32")
    assert made.encoding_cost() == 48 * (1 + 32 / 16)
    assert made.encoding_cost() < made.rank
    assert np.isclose(made.ratio, made.tile.products / made.rank)
