"""Where searches without a group begin: the dictionary of exact algorithms, and published neighbours."""

import pytest

from stl_algebra.algorithms.scores import nmse
from stl_algebra.errors import NoCandidate
from stl_algebra.families import Request, family
from stl_algebra.published import encoders
from stl_search.study.plan import Settings
from stl_search.trials.trial import Entry, run_trial


def test_a_dictionary_holds_many_spellings_of_exact_algorithms():
    whole = [family("dictionary").propose(Request("4", 48, seed=seed)) for seed in range(12)]
    assert all(nmse(algorithm) < 1e-20 for algorithm in whole)
    assert {algorithm.rank for algorithm in whole} == {48, 49}
    assert len({algorithm.digest for algorithm in whole}) == len(whole)
    assert {a.provenance.steps[0] for a in whole} > {
        "start strassen (x) winograd, signed and permuted at random",
        "start 4x4x4-r48, signed and permuted at random",
    }


@pytest.mark.parametrize(("tile", "rank"), [("3", 20), ("2x3x5", 22), ("1x2x3", 5), ("6", 120), ("4", 60)])
def test_a_dictionary_is_cut_down_to_a_few_products_more(tile, rank):
    ranks = {family("dictionary").propose(Request(tile, rank, seed=seed)).rank for seed in range(6)}
    assert all(rank <= found <= max(rank + 24, 64) for found in ranks)


@pytest.mark.slow
def test_a_dictionary_start_ends_below_the_pruned_exact_algorithm():
    totals = [run_trial(Entry("4", 36, "bf16", "dictionary", None, seed)).totals[0] for seed in range(3)]
    # From the 48 products alone trials end at .243 or above.
    assert min(totals) < 0.2315


def test_neighbours_begin_above_and_below():
    starts = [family("neighbours").propose(Request("4", 43, seed=seed)) for seed in range(16)]
    assert {start.rank for start in starts} == {43, 44, 45, 46, 47}
    below = next(start for start in starts if "random products" in start.provenance.steps[0])
    # The added products change little of the published encoders' error.
    assert nmse(below) < 1.2 * nmse(encoders("4", 39))


def test_neighbours_say_where_there_are_none():
    with pytest.raises(NoCandidate, match="neighbours has nothing of <5,5,5> within 4 ranks of 60"):
        family("neighbours").propose(Request("5", 60))


def test_what_was_published_is_where_a_search_begins_only_when_asked():
    assert {"known", "random", "dictionary"} == set(Settings((), "4", 40).families)
    assert Settings((), "4", 40, families=("neighbours",)).arms() == [("neighbours", "")]
    found = run_trial(Entry("2x2x3", 8, "bf16", "neighbours", None, 0))
    assert found.algorithms[0].rank == 8
