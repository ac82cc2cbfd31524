"""Walks modulo 2 that keep the rotation of the sides: the tensor and the symmetry never change."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput
from stl_algebra.exact import search
from stl_algebra.exact.cyclic_graph import Invariant, walk
from stl_algebra.exact.cyclic_walks import search_invariant
from stl_algebra.exact.hensel import lift

pytestmark = pytest.mark.slow


def products(algorithm, order=(0, 1, 2)):
    """The products as triples of matrices for X, W and transposed Y, the sides in this order."""
    side = algorithm.tile.n
    z = algorithm.decode.T.reshape(-1, side, side).transpose(0, 2, 1).reshape(algorithm.rank, -1)
    sides = [algorithm.encode_x, algorithm.encode_w, z]
    return {tuple(tuple(sides[place][r]) for place in order) for r in range(algorithm.rank)}


@pytest.mark.parametrize("side", [2, 3, 4])
def test_the_definition_is_where_walks_begin(side):
    start = Invariant.definition(side)
    assert (start.rank, start.fixed.size) == (side**3, side)
    assert verify(start.algorithm("")).exact


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(0, 3000), st.integers(1, 300), st.integers(1, 3), st.integers(0, 99))
def test_a_walk_keeps_the_tensor_and_the_symmetry(side, steps, plus_after, slack, seed):
    start = Invariant.definition(side)
    found = walk(start, steps=steps, plus_after=plus_after, slack=slack, seed=seed)
    assert found.rank <= start.rank
    again = walk(start, steps=steps, plus_after=plus_after, slack=slack, seed=seed)
    np.testing.assert_array_equal(found.orbits, again.orbits)
    algorithm = found.algorithm("a walk")
    assert verify(algorithm).gf2
    assert products(algorithm, (1, 2, 0)) == products(algorithm)
    assert len(products(algorithm)) == found.rank


@pytest.mark.parametrize(("side", "rank"), [(2, 7), (3, 23)])
def test_the_best_known_ranks_are_met_and_lifted(side, rank):
    found = [
        step.found
        for step in search(
            f"{side}x{side}x{side}", rank, method="cyclic-flips-modulo-2", start="definition", budget=120
        )
        if step.found is not None
    ]
    assert found[-1].rank == rank
    assert verify(found[-1]).exact


def test_a_search_is_reproducible_whoever_does_which_walk():
    def ranks(numbers):
        return [a.outcome.rank for a in search_invariant(3, steps=20_000, numbers=numbers)]

    assert ranks(range(4)) == ranks(range(4))
    assert [a.lowest for a in search_invariant(3, steps=20_000, numbers=range(4))] == [
        min(ranks(range(last + 1))) for last in range(4)
    ]


def test_only_square_formats_can_be_rotated():
    with pytest.raises(InvalidInput, match="flips-modulo-2"):
        search("2x2x3", 11, method="cyclic-flips-modulo-2", start="definition")
    with pytest.raises(InvalidInput, match="n from 2 to 7"):
        search_invariant(8)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.lists(st.integers(1, 2**16 - 1), max_size=4), st.integers(0, 99))
def test_any_fixed_products_that_add_up_to_the_identity_can_be_chosen(side, drawn, seed):
    masks = [mask % 2 ** (side * side) or 1 for mask in drawn]
    identity = sum(1 << (side + 1) * i for i in range(side))
    last = identity
    for mask in masks:
        last ^= mask
    start = Invariant.with_fixed(side, [*masks, last])
    assert verify(start.algorithm("")).gf2
    found = walk(start, steps=1000, plus_after=100, slack=2, seed=seed)
    assert verify(found.algorithm("")).gf2
    with pytest.raises(InvalidInput, match="add up to the identity"):
        Invariant.with_fixed(side, [*masks, last ^ 1])


def test_what_the_rotation_ties_is_lifted_together():
    start = walk(Invariant.definition(3), steps=200_000, seed=1)
    lifted = lift(start.algorithm(""), ties=start.ties())
    assert verify(lifted).exact
    assert products(lifted, (1, 2, 0)) == products(lifted)
    # The same unknowns, each by itself, are another system of equations with a solution.
    assert verify(lift(start.algorithm(""))).exact
