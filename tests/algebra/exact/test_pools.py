"""Pools by rank: where walks begin, and what a search modulo 2 keeps on the way down."""

from collections import Counter
from dataclasses import dataclass

import pytest

from stl_algebra.algorithms.compose import permute_format
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.exact.parity_walks import search_modulo_2
from stl_algebra.exact.pools import Pools, search_pools


@dataclass(frozen=True)
class Item:
    """Of some rank; nothing else matters to a pool."""

    rank: int


def test_a_pool_is_filled_before_most_walks_begin_there():
    began = []

    def walk(start, *, target_rank, **tuning):
        began.append(start.rank)
        assert target_rank == max(start.rank - 1, 8)
        return Item(start.rank - 1) if start.rank > 10 else start

    pools = Pools(lambda rng: (Item(14), 13))
    attempts = search_pools([pools], walk, 8, 1000, 0, range(2000))
    lowest = [attempt.lowest for attempt in attempts]
    assert lowest == sorted(lowest, reverse=True)
    assert lowest[-1] == 10
    assert began[:60] == [14] * 60
    # Walks go on from what is full, from the lowest that there is, and sometimes from all others.
    first_at = {rank: began.index(rank) for rank in (13, 12, 11, 10)}
    assert list(first_at) == sorted(first_at, key=first_at.get)
    assert Counter(began[:60])[14] == 60
    assert Counter(began)[10] > 1000
    assert min(Counter(began)[rank] for rank in (14, 13, 12, 11)) > 60


def test_equal_outcomes_move_a_pool_on():
    @dataclass(frozen=True)
    class Numbered:
        rank: int
        number: int

    def walk(start, **tuning):
        return Numbered(5, start.number + 1)

    pools = Pools(lambda rng: (Numbered(5, 0), 4))
    for _ in search_pools([pools], walk, 0, 10, 3, range(300)):
        pass
    assert max(a.outcome.number for a in search_pools([pools], walk, 0, 10, 4, range(300))) > 2


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["2x2x3", "2x3x3", "3x2x3"])
def test_searches_modulo_2_keep_the_tensor_and_are_reproducible(format_):
    tile = TileFormat.parse(format_)

    def search():
        return list(search_modulo_2(tile, table=exact_algorithm, steps=2000, seed=2, numbers=range(80)))

    found = search()
    assert all(verify(attempt.outcome).gf2 for attempt in found)
    assert [a.outcome for a in found] == [a.outcome for a in search()]


@pytest.mark.slow
def test_restrictions_of_a_larger_format_are_starts():
    tile = TileFormat(2, 2, 3)

    def table(format_):
        # Nothing is known but <2,3,3>.
        known = format_.ascending == (2, 3, 3)
        return permute_format(exact_algorithm("2x3x3"), format_) if known else definition(format_)

    found = list(search_modulo_2(tile, table=table, steps=10, seed=0, numbers=range(40)))
    assert all(verify(attempt.outcome).gf2 for attempt in found)
    assert min(attempt.outcome.rank for attempt in found) < tile.products
    without = list(search_modulo_2(tile, table=definition, steps=1, seed=0, numbers=range(10)))
    assert {attempt.outcome.rank for attempt in without} == {tile.products}


def test_formats_beyond_the_masks_are_refused():
    with pytest.raises(InvalidInput, match="at most 31"):
        search_modulo_2(TileFormat(6, 6, 6), table=exact_algorithm)
