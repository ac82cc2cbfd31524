"""What a search of a format begins with: right formats and ranks, composed ones as good as their parts."""

import pytest

from stl_algebra import TileFormat, encoders
from stl_algebra.algorithms.scores import closed_form_scores
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.published import published, two_levels
from stl_search.frontier.known import known_algorithms

LARGE = TileFormat(4, 4, 6)


def error(algorithm):
    return closed_form_scores(algorithm).total("bf16")


@pytest.mark.parametrize("tile", [TileFormat(2, 2, 2), TileFormat(2, 2, 3), LARGE], ids=str)
def test_everything_is_of_the_format_and_no_higher_rank_than_exact(tile):
    known = known_algorithms(tile)
    assert max(known) == rank_of_exact(tile)
    assert {rank for own, rank in published() if own == tile} <= set(known)
    assert all(a.tile == tile and a.rank == rank for rank, found in known.items() for a in found)


def test_products_and_direct_sums_of_published_ones_are_there_with_the_errors_of_their_parts():
    known = known_algorithms(LARGE)
    totals = {rank: [error(a) for a in found] for rank, found in known.items()}
    product = next(p for p in two_levels(LARGE) if p.rank < rank_of_exact(LARGE))
    assert min(totals[product.rank]) <= product.scores.total("bf16") * (1 + 1e-9)
    # <4,4,4> on two thirds of the products, <4,4,2> on the others.
    tall, low = encoders("4x4x4", 40), encoders("4x4x2", 20)
    total = (2 * error(tall) + error(low)) / 3
    assert min(totals[60]) <= total * (1 + 1e-9)
    assert any(a.provenance.family == "direct-sum" for a in known[60])
