"""Exact algorithms: the table, flip graph walks, random starts, rounding; claims in exact arithmetic.

Tests that walk are slow ones: the walk is compiled first.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import sandwich
from stl_algebra.algorithms.compose import permute_format, restrict
from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.exact import METHODS, catalogue, search
from stl_algebra.exact.catalogue import exact_algorithm, strassen, table, winograd
from stl_algebra.exact.discretise import discretise
from stl_algebra.exact.flip_graph import walk
from stl_algebra.exact.hensel import lift
from stl_algebra.exact.random_starts import solve_from_random_starts
from stl_algebra.exact.symmetries import NAMED_SYMMETRIES
from stl_algebra.exact.walks import possible_starts, search_format

TABLE = table()
#: Formats whose best known rank has to be met.
TARGETS = {
    "2x2x2": 7, "2x2x3": 11, "2x2x4": 14, "2x2x5": 18, "2x3x3": 15, "2x3x4": 20,
    "2x4x4": 26, "3x3x3": 23, "3x3x4": 29, "3x4x5": 47, "3x5x5": 58, "4x4x4": 48, "4x5x5": 76, "5x5x5": 93,
}  # fmt: skip


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.tile.slug)
def test_every_algorithm_of_the_table_is_exact_over_the_integers_or_halves(row):
    """No integer algorithm of rank 48 is known for <4,4,4>: it needs halves, and <4,4,6> is made of it."""
    algorithm = exact_algorithm(row.tile)
    outcome = verify(algorithm)
    assert outcome.exact, outcome.message
    halves = row.tile.slug in ("4x4x4", "4x4x6")
    assert outcome.ring == ("Z[1/2]" if halves else "Z")
    assert outcome.gf2 is (None if halves else True)
    assert algorithm.rank == row.rank
    assert row.rank >= row.best_known


def test_the_table_meets_the_best_known_ranks_where_it_says_so():
    ranks = {row.tile.slug: row.rank for row in TABLE}
    assert {slug: ranks[slug] for slug in TARGETS} == TARGETS
    assert len(ranks) == 35


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_changed_entry_is_noticed(data):
    row = data.draw(st.sampled_from([r for r in TABLE if r.tile.products <= 64]))
    algorithm = exact_algorithm(row.tile)
    name = data.draw(st.sampled_from(["encode_x", "encode_w", "decode"]))
    factor = getattr(algorithm, name).copy()
    index = tuple(data.draw(st.integers(0, side - 1)) for side in factor.shape)
    factor[index] += data.draw(st.sampled_from([1.0, -1.0, 0.5, 3.0, 1e-3, 2.0**-40]))
    assert not verify(algorithm.with_factors(**{name: factor})).exact


@pytest.mark.slow
@pytest.mark.parametrize(("tile", "rank"), [("2", 7), ("2x2x3", 11), ("2x3x3", 15)])
def test_walks_from_the_definition_reach_the_best_known_rank(tile, rank):
    target = TileFormat.parse(tile)
    found = walk(definition(target), target_rank=rank, steps=5_000_000, plus_after=20_000).algorithm
    assert found.rank == rank
    assert verify(found).ring == "Z"
    assert verify(found).exact
    assert set(np.unique(np.concatenate([f.ravel() for f in found.factors]))) <= {-1.0, 0.0, 1.0}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 4)] * 3),
    st.integers(0, 2000),
    st.integers(1, 50),
    st.integers(0, 3),
    st.integers(0, 99),
)
def test_a_walk_never_changes_the_tensor(sides, steps, plus_after, slack, seed):
    start = definition(TileFormat(*sides))
    outcome = walk(start, steps=steps, plus_after=plus_after, slack=slack, seed=seed)
    assert outcome.algorithm.rank <= start.rank
    assert outcome.steps <= steps
    assert verify(outcome.algorithm).exact
    assert walk(start, steps=steps, plus_after=plus_after, slack=slack, seed=seed) == outcome


@pytest.mark.slow
def test_a_walk_keeps_the_tensor_of_an_approximate_algorithm_too():
    start = strassen().with_factors(encode_x=np.roll(strassen().encode_x, 1, axis=1))
    outcome = walk(start, steps=10_000, plus_after=20, seed=4)
    assert outcome.plus_transitions > 0
    assert np.array_equal(outcome.algorithm.tensor(), start.tensor())


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"steps": -1}, "steps"),
        ({"plus_after": 0}, "plus_after"),
        ({"slack": -1}, "slack"),
        ({"seed": -1}, "seed"),
    ],
)
def test_walk_refuses_numbers_out_of_range(change, argument):
    with pytest.raises(InvalidInput, match=argument):
        walk(strassen(), **change)


def test_walk_refuses_other_entries_and_large_vectors():
    with pytest.raises(InvalidInput, match="encode_x"):
        walk(strassen().with_factors(encode_x=0.5 * strassen().encode_x))
    with pytest.raises(InvalidInput, match="31"):
        walk(definition(TileFormat(4, 8, 1)))
    with pytest.raises(InvalidInput, match="tile"):
        next(search_format(TileFormat(6, 6, 6)))


@pytest.mark.slow
def test_a_search_starts_from_neighbours_and_is_reproducible():
    tile = TileFormat(2, 2, 3)
    starts = possible_starts(tile, exact_algorithm(tile), exact_algorithm)
    assert {a.tile for a in starts} == {tile}
    assert all(verify(a).exact for a in starts)
    assert len({a.rank for a in starts}) > 1
    runs = [
        [
            (a.start_rank, a.rank, a.best)
            for a in search_format(tile, walks=3, steps=2000, seed=5, table=definition)
        ]
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 3


@pytest.mark.slow
def test_a_search_stops_at_its_target():
    attempts = list(
        search_format(TileFormat(2, 2, 2), target_rank=7, walks=20, steps=100_000, table=definition)
    )
    assert attempts[-1].best.rank == 7
    assert all(a.best.rank > 7 for a in attempts[:-1])
    assert verify(attempts[-1].best).exact


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), st.data())
def test_restriction_of_an_exact_algorithm_is_exact(sides, data):
    smaller = TileFormat(*(data.draw(st.integers(1, side)) for side in sides))
    assert verify(restrict(exact_algorithm(TileFormat(*sides)), smaller)).exact
    with pytest.raises(InvalidInput, match="target"):
        restrict(exact_algorithm(TileFormat(*sides)), TileFormat(sides[0] + 1, sides[1], sides[2]))


@pytest.mark.parametrize(
    ("tile", "rank", "starts", "at_least"),
    [("2", 7, 40, 36), pytest.param("2x2x3", 11, 40, 10, marks=pytest.mark.slow)],
)
def test_random_starts_solve_small_formats(tile, rank, starts, at_least):
    """40 and 27 of 40 here; were one start in two of <2,2,3> solved, so few would have probability 3e-4."""
    outcomes = list(solve_from_random_starts(TileFormat.parse(tile), rank, starts))
    assert [o.number for o in outcomes] == list(range(starts))
    assert sum(o.solved for o in outcomes) >= at_least
    for outcome in outcomes:
        assert outcome.nmse == pytest.approx(nmse(outcome.algorithm), rel=1e-6, abs=1e-26)
        assert outcome.solved == (outcome.nmse < 1e-24)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tile", "rank", "starts", "at_least"), [("2x3x3", 15, 60, 10), ("3x3x3", 23, 60, 4)]
)
def test_random_starts_solve_larger_formats(tile, rank, starts, at_least):
    """24 of 40 and 14 of 20 here; were it one in three, so few of 60 would have probability 1e-3 and 1e-7."""
    outcomes = solve_from_random_starts(TileFormat.parse(tile), rank, starts)
    # The benchmark counts all successes; here the starts end as soon as there are enough.
    assert len(list(islice((o for o in outcomes if o.solved), at_least))) == at_least


@pytest.mark.slow
def test_below_the_rank_no_start_is_solved():
    assert not any(o.solved for o in solve_from_random_starts(TileFormat(2, 2, 2), 6, 5))
    with pytest.raises(InvalidInput, match="starts"):
        next(solve_from_random_starts(TileFormat(2, 2, 2), 7, 0))


@pytest.mark.slow
def test_solutions_from_random_starts_become_integers():
    """All of 40 round in the benchmark; here some of four, each of them proven."""
    solved = [o.algorithm for o in solve_from_random_starts(TileFormat(2, 2, 2), 7, 4) if o.solved]
    found = [a for a in (discretise(a, tries=2) for a in solved) if a is not None]
    assert all(verify(a).exact for a in found)
    assert any(set(np.unique(a.encode_x)) <= {-1.0, 0.0, 1.0} for a in found)


@pytest.mark.slow
def test_a_rational_solution_is_found_where_signs_are_not_enough():
    """Three in five starts are solved here and half of those round: none of 60 has probability 1e-9."""
    solved = (o.algorithm for o in solve_from_random_starts(TileFormat(2, 3, 3), 15, 60) if o.solved)
    found = next(exact for exact in (discretise(a, tries=2) for a in solved) if exact is not None)
    assert verify(found).exact


@pytest.mark.slow
def test_a_hidden_grid_that_is_not_offered_is_not_used():
    hidden = sandwich(winograd(), np.array([[1.0, 0.3], [0.2, 1.0]]), np.eye(2), np.eye(2))
    assert discretise(hidden, grids=((0.0,),), tries=1, rationals=False) is None
    with pytest.raises(InvalidInput, match="grids"):
        discretise(hidden, grids=((1.0, -1.0),))


def test_permuted_formats_share_the_seed():
    for slug in ("3x2x3", "4x3x2", "3x4x3"):
        tile = TileFormat.parse(slug)
        ordered = TileFormat(*sorted((tile.n, tile.k, tile.m)))
        assert exact_algorithm(tile).rank == exact_algorithm(ordered).rank
        assert permute_format(exact_algorithm(ordered), tile).tile == tile


@pytest.mark.slow
@pytest.mark.parametrize(("tile", "rank"), [("2", 7), ("2x3x3", 15), ("3x3x3", 23)])
def test_walks_modulo_2_are_lifted_to_the_rationals(tile, rank):
    target = TileFormat.parse(tile)
    outcome = walk(definition(target), target_rank=rank, steps=3_000_000, plus_after=30_000, modulo_2=True)
    assert outcome.algorithm.rank == rank
    assert verify(outcome.algorithm).gf2
    lifted = lift(outcome.algorithm)
    assert lifted is not None
    assert verify(lifted).exact
    difference = lifted.encode_x - outcome.algorithm.encode_x
    assert verify(lifted).ring != "Z" or np.all(difference % 2 == 0)


def test_lifting_refuses_what_is_not_exact_modulo_2():
    with pytest.raises(InvalidInput, match="modulo 2"):
        lift(strassen().with_factors(encode_x=np.roll(strassen().encode_x, 1, axis=1)))
    with pytest.raises(InvalidInput, match="encode_x"):
        lift(strassen().with_factors(encode_x=0.5 * strassen().encode_x))
    odd = strassen().with_factors(encode_x=3.0 * strassen().encode_x)
    found = lift(odd)
    assert found is not None
    assert verify(found).exact


def test_every_bundled_algorithm_says_how_another_is_found():
    files = sorted((Path(catalogue.__file__).parents[1] / "data" / "exact").glob("*.safetensors"))
    assert len(files) == 16
    for path in files:
        origin = load_encoders(path).algorithm.provenance
        words = origin.command.split()
        assert words[:2] == ["stl-search", "find"]
        assert f"{words[2]}-r{words[4]}" == path.stem
        if "--symmetry" in words:
            assert words[words.index("--symmetry") + 1] in NAMED_SYMMETRIES
            continue
        assert words[words.index("--method") + 1] in METHODS
        if not any("not repeatable bit by bit" in step for step in origin.steps):
            # Then the command makes this very algorithm: nothing of the package plays a part in it, or only
            # other formats do, as the package has them.
            assert "--seed" in words
            assert {"--afresh", "--restrict"} & set(words)
            assert origin.seed == int(words[words.index("--seed") + 1])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tile", "rank", "method"),
    [
        ("2", 7, "flips"),
        ("2x2x3", 11, "flips-modulo-2"),
        ("3", 23, "cyclic-flips-modulo-2"),
        ("2", 7, "least-squares"),
    ],
)
def test_every_method_of_search_ends_with_a_proof(tile, rank, method):
    steps = list(search(tile, rank, method=method, start="definition", budget=200))
    assert [step.number for step in steps] == list(range(len(steps)))
    found = [step.found for step in steps if step.found is not None]
    assert [a.rank for a in found] == sorted({a.rank for a in found}, reverse=True)
    assert found[-1].rank == rank
    assert verify(found[-1]).exact
    assert found[-1].provenance.version


@pytest.mark.slow
def test_a_search_from_larger_formats_takes_nothing_of_its_own(monkeypatch):
    import stl_algebra.exact.search  # noqa: F401

    asked = []
    module = sys.modules["stl_algebra.exact.search"]

    def exact_algorithm_of(tile):
        asked.append(str(tile))
        return exact_algorithm(tile)

    monkeypatch.setattr(module, "exact_algorithm", exact_algorithm_of)
    steps = list(search("2x2x3", 11, method="flips-modulo-2", start="larger", budget=100))
    assert verify(steps[-1].found).exact
    assert steps[-1].found.rank == 11
    assert "in the package" not in steps[-1].note
    # Once, to say that the rank is known.
    assert asked.count("<2,2,3>") == 1
    assert "<2,3,3>" in asked


def test_a_search_gives_what_the_package_has_and_refuses_before_it_begins():
    (step,) = search("3x3x4", 29)
    assert step.found == exact_algorithm(TileFormat(3, 3, 4))
    for arguments, word in (
        ({"tile": "6", "rank": 100}, "tile"),
        ({"tile": "2", "rank": 9}, "rank"),
        ({"tile": "2", "method": "magic"}, "method"),
        ({"tile": "2", "seed": -1}, "seed"),
    ):
        with pytest.raises(InvalidInput, match=word):
            search(**arguments)
    with pytest.raises(TooLarge, match="order"):
        search("5", 93, method="least-squares")


@pytest.mark.slow
def test_processes_share_the_starts_and_a_stopped_search_goes_on():
    alone = {o.number: o.solved for o in solve_from_random_starts(TileFormat(2, 2, 3), 11, 4)}
    halves = [solve_from_random_starts(TileFormat(2, 2, 3), 11, 2, first=i, stride=2) for i in (0, 1)]
    assert {o.number: o.solved for half in halves for o in half} == alone
    parities = set()
    for step in search("2x2x3", 10, method="least-squares", budget=250, jobs=2):
        assert step.found is None
        parities.add(step.number % 2)
        if len(parities) == 2:
            break
    assert parities == {0, 1}
    later = next(search("2x2x3", 10, method="least-squares", first=7))
    assert later.number == 7


@pytest.mark.slow
def test_rounding_can_be_bounded():
    solved = next(o.algorithm for o in solve_from_random_starts(TileFormat(2, 2, 2), 7, 8) if o.solved)
    assert discretise(solved, tries=2, most_solves=0, rationals=False) is None
    assert discretise(solved, tries=4) is not None
