"""Refinement, pruning and trials: against closed forms, monotone, deterministic."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, verify
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.fit import best_decoder
from stl_algebra.algorithms.profile import Profile, profile_of
from stl_algebra.algorithms.scores import amplification, nmse, rounding_constant, total
from stl_algebra.errors import NoCandidate
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact, strassen
from stl_search.trials.als import Target, als, from_batch, objective, right_hand_side, to_batch
from stl_search.trials.prune import prune, removal_costs
from stl_search.trials.trial import Entry, run_trial

TILE = TileFormat(2, 3, 2)


def random_batch(rank, count, tile=TILE, seed=0):
    rng = np.random.default_rng(seed)
    return [
        BilinearAlgorithm(
            tile,
            rng.normal(size=(rank, tile.x_size)),
            rng.normal(size=(rank, tile.w_size)),
            rng.normal(size=(tile.y_size, rank)),
        )
        for _ in range(count)
    ]


def colour_of(tile, seed=1):
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(tile.x_size,) * 2), rng.normal(size=(tile.w_size,) * 2)
    return Colour.from_second_moments(x @ x.T, w @ w.T)


@pytest.mark.parametrize("colour", [None, colour_of(TILE)], ids=["white", "coloured"])
def test_objective_is_the_total_of_the_closed_forms(colour):
    algorithms = random_batch(7, 3)
    target = Target.of(TILE, 1e-3, colour)
    values = objective(target, to_batch(algorithms, colour))
    expected = [nmse(a, colour) + 1e-3 * amplification(a, colour) for a in algorithms]
    assert np.allclose(values.numpy(), expected, rtol=1e-10)


PROFILE = Profile((6, 3, 1))


def test_a_profile_is_contracted_as_any_other_colour():
    colour, batch = PROFILE.colour(TILE), to_batch(random_batch(7, 3))
    target = Target.of(TILE, 1e-3, colour)
    assert target.inner == pytest.approx(np.sqrt(3 * np.array(PROFILE.shares)))
    assert Target.of(TILE, 0.0).inner == pytest.approx(np.ones(3))
    assert Target.of(TILE, 0.0, colour_of(TILE)).inner is None
    one = als(target, batch, 4)
    other = als(replace(target, inner=None), batch, 4)
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 120], ids=["few", "many"])
@pytest.mark.parametrize("colour", [None, PROFILE.colour(TILE)], ids=["white", "profile"])
def test_right_hand_sides_are_contractions_of_the_tensor(count, colour):
    """Few candidates and many go different ways, from factors in either order in memory."""
    batch = to_batch(random_batch(9, count), colour)
    target = Target.of(TILE, 0.0, colour)
    for mode, sum_ in enumerate(("abc,zrb,zrc->zra", "abc,zra,zrc->zrb", "abc,zra,zrb->zrc")):
        others = [f for i, f in enumerate(batch) if i != mode]
        expected = torch.einsum(sum_, target.tensor, *others)
        for given in (batch, tuple(f.mT.contiguous().mT for f in batch)):
            torch.testing.assert_close(right_hand_side(target, mode, given), expected)


@pytest.mark.slow
def test_a_trial_on_a_profile_beats_the_white_one_there_and_says_so():
    entry = Entry(TILE, 8, family="strongest", seed=3, profile=PROFILE)
    outcome = run_trial(entry)
    best = outcome.algorithms[0]
    assert profile_of(best) == PROFILE
    assert outcome.totals[0] == pytest.approx(total(best, "bf16", PROFILE.colour(TILE)))
    white = run_trial(Entry(TILE, 8, family="known", seed=3)).algorithms[0]
    assert profile_of(white) is None
    assert outcome.totals[0] < total(white, "bf16", PROFILE.colour(TILE))
    # Keeping the two strongest inner indices on Strassen's algorithm is among the starts.
    assert outcome.totals[0] < 0.1


@pytest.mark.parametrize("colour", [None, colour_of(TILE)], ids=["white", "coloured"])
def test_als_never_raises_the_objective_and_round_trips(colour):
    target = Target.of(TILE, 1e-4, colour)
    batch = to_batch(random_batch(8, 4), colour)
    last = objective(target, batch)
    for _ in range(10):
        batch = als(target, batch, 3, (1e-3, 1e-3))
        now = objective(target, batch)
        assert bool((now <= last + 1e-12).all())
        last = now
    algorithms = from_batch(batch, random_batch(8, 1)[0], ("als",), colour)
    assert [nmse(a, colour) + 1e-4 * amplification(a, colour) for a in algorithms] == pytest.approx(
        last.tolist(), rel=1e-6
    )
    assert algorithms[0].provenance.steps[-1] == "als"


@pytest.mark.slow
@pytest.mark.parametrize(
    "colour", [None, PROFILE.colour(TILE), colour_of(TILE)], ids=["white", "profile", "any"]
)
def test_a_batch_is_refined_as_each_alone(colour):
    target = Target.of(TILE, 1e-3, colour)
    assert target.white is (colour is None)
    x, w, d = to_batch(random_batch(7, 5), colour)
    together = als(target, (x, w, d), 10)
    for i in range(5):
        alone = als(target, (x[i : i + 1], w[i : i + 1], d[i : i + 1]), 10)
        for one, other in zip(alone, together, strict=True):
            assert torch.allclose(one[0], other[i], rtol=0, atol=1e-9)


def test_removal_costs_are_upper_bounds_by_the_decoder_refit():
    algorithm = exact_algorithm(TileFormat(2, 2, 2))
    target = Target.of(algorithm.tile, 1e-6)
    costs = removal_costs(target, to_batch([algorithm]))[0]
    for product in range(7):
        keep = np.arange(7) != product
        x, w = algorithm.encode_x[keep], algorithm.encode_w[keep]
        smaller = BilinearAlgorithm(algorithm.tile, x, w, best_decoder(algorithm.tile, x, w, 1e-6))
        rise = nmse(smaller) + 1e-6 * amplification(smaller)
        assert float(costs[product]) <= rise + 1e-6


@pytest.mark.slow
def test_pruning_beats_random_starts_and_keeps_a_path():
    tile = TileFormat(2, 2, 2)
    target = Target.of(tile, rounding_constant("bf16"))
    batch, path = prune(target, to_batch([strassen()]), 5, keep_path=True)
    assert batch[0].shape[1] == 5
    assert set(path) == {6, 5}
    best = objective(target, als(target, batch, 200)).min()
    # Known: a product of <2,2,2> saves at least 1/8 of the energy, so rank 5 leaves about a quarter.
    assert 0.1 < float(best) < 0.3


@pytest.mark.parametrize("penalty", [-1.0, float("nan"), float("inf")])
def test_target_refuses_a_bad_penalty(penalty):
    with pytest.raises(InvalidInput, match="penalty"):
        Target.of(TILE, penalty)


@pytest.mark.slow
def test_trial_finds_strassen_from_s3_and_repeats_itself():
    entry = Entry("2", 7, "bf16", "fourier", "S3", 11)
    first = run_trial(entry)
    threads = torch.get_num_threads()
    second = run_trial(entry)
    assert torch.get_num_threads() == threads
    assert first.algorithms == second.algorithms
    assert first.totals == second.totals
    winner = first.algorithms[0]
    assert verify(winner).ring == "Z"
    assert winner.provenance.groups == ("S3",)
    assert first.totals[0] == total(winner, "bf16")


@pytest.mark.slow
def test_trial_makes_an_invariant_start_exact():
    """Ten of 16 seeds do here; were it one in three, none of 40 would have probability 1e-7."""
    trials = (run_trial(Entry("2", 7, "bf16", "orbits", "S3", seed)).algorithms[0] for seed in range(40))
    winner = next(a for a in trials if verify(a).ring == "Z")
    assert verify(winner).exact
    assert winner.provenance.parameters["symmetry"].startswith("S3/")


@pytest.mark.slow
def test_trial_without_candidate_says_why():
    with pytest.raises(NoCandidate, match="at most"):
        run_trial(Entry("4", 32, "bf16", "fourier", "S3", 1))


@pytest.mark.slow
def test_group_derived_encoders_reach_the_reference_at_rank_32():
    """Theory notes, section 7: what is published has a total of .309; one trial must be within an eighth."""
    outcome = run_trial(Entry("4", 32, "bf16", "fourier-power", "S3", 1))
    assert outcome.totals[0] <= 0.345
    ranks = [a.rank for a in outcome.algorithms]
    assert ranks[0] == 32
    assert set(ranks[1:]) == set(range(33, rank_of_exact(TileFormat(4, 4, 4)) + 1))


@pytest.mark.slow
def test_a_trial_tells_its_stages():
    told = []
    outcome = run_trial(Entry("2", 5, "fp32", "known"), "", lambda *step: told.append(step))
    assert told == [("prune", 1, 2), ("prune", 2, 2), ("refine", 0, 2), ("refine", 2, 2)]
    assert [a.rank for a in outcome.algorithms][:2] == [5, 6]
