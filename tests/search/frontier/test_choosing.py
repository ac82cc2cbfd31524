"""What the package has for a ratio."""

import pytest

from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_kernels import STLLinear
from stl_search.frontier.choosing import candidates


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.0, 1.3, 2.0, 3.9])
def test_candidates_reach_the_ratio_one_a_format_and_level_best_first(ratio):
    found = candidates(ratio)
    assert all(c.algorithm.ratio >= ratio * (1 - 1e-9) for c in found)
    kinds = {(c.algorithm.tile, isinstance(c.algorithm, TwoLevel)) for c in found}
    assert len(kinds) == len(found)
    totals = [c.scores.total("bf16") for c in found]
    assert totals == sorted(totals)


@pytest.mark.slow
def test_names_are_taken_by_layers_and_scores_are_the_algorithms():
    for candidate in candidates(2.0):
        if max(candidate.algorithm.tile.x_size, candidate.algorithm.tile.w_size) > 64:
            continue
        layer = STLLinear(16, 16, candidate.name)
        assert (layer.tile, layer.rank) == (candidate.algorithm.tile, candidate.algorithm.rank)
        one = candidate.algorithm
        flat = one.flat if isinstance(one, TwoLevel) else one
        assert nmse(flat) == pytest.approx(candidate.scores.nmse, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.5, float("nan"), 1e6])
def test_ratios_that_nothing_reaches(ratio):
    with pytest.raises(InvalidInput, match="ratio"):
        candidates(ratio)
