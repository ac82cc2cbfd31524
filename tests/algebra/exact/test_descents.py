"""Searches modulo 2 by descents: when one goes on, when it ends, and that it depends on its number alone."""

from dataclasses import dataclass

import pytest

from stl_algebra.algorithms.compose import permute_format
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.exact.descents import search_by_descents
from stl_algebra.exact.parity_walks import search_modulo_2


@dataclass(frozen=True)
class Item:
    """Of some rank, and how many walks led to it."""

    rank: int
    walks: int = 0


def descents(walk, target, numbers, starts=(lambda rng: Item(14),), plus_after=(10,)):
    tuning = {"steps": 1000, "plus_after": plus_after, "seed": 0}
    return list(search_by_descents(starts, walk, target_rank=target, numbers=numbers, **tuning))


def test_a_descent_goes_on_from_where_it_is_while_its_rank_falls():
    def walk(start, *, target_rank, steps, **tuning):
        assert target_rank == max(start.rank - 1, 8)
        assert steps == 1000
        fallen = start.rank - (2 if start.rank > 10 else 0)
        return Item(fallen, start.walks + 1)

    # 14, 12, 10, and a walk that finds nothing.
    assert [d.outcome for d in descents(walk, 8, range(3))] == [Item(10, 3)] * 3
    # At the target it ends at once, and the search goes on.
    assert [d.outcome for d in descents(walk, 12, range(3))] == [Item(12, 1)] * 3
    assert [d.outcome for d in descents(walk, 14, range(3))] == [Item(14)] * 3


def test_the_lowest_of_a_search_only_falls():
    def walk(start, *, seed, target_rank, **tuning):
        return Item(max(start.rank - seed % 3, target_rank), start.walks + 1)

    found = descents(walk, 2, range(40), [lambda rng: Item(9), lambda rng: Item(int(rng.integers(7, 12)))])
    lowest = [d.lowest for d in found]
    assert lowest == [min(d.outcome.rank for d in found[: i + 1]) for i in range(40)]
    assert len({d.outcome.rank for d in found}) > 2
    # Whoever makes it, a descent is the same.
    some = descents(walk, 2, [7, 3], [lambda rng: Item(9), lambda rng: Item(int(rng.integers(7, 12)))])
    assert [d.outcome for d in some] == [found[7].outcome, found[3].outcome]


def test_walks_that_add_a_product_sooner_end_sooner():
    asked = set()

    def walk(start, *, steps, plus_after, **tuning):
        asked.add((steps, plus_after))
        return start

    descents(walk, 2, range(30), plus_after=(10, 200))
    assert asked == {(50, 10), (1000, 200)}


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["2x2x3", "2x3x3", "3x2x3"])
def test_searches_modulo_2_keep_the_tensor_and_are_reproducible(format_):
    tile = TileFormat.parse(format_)

    def search():
        return list(search_modulo_2(tile, table=exact_algorithm, steps=2000, seed=2, numbers=range(20)))

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
