"""Orbits: the action keeps the tensor, stabilisers are right, refinement stays invariant."""

from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, TooLarge, matmul_tensor, sandwich, verify
from stl_algebra.algorithms.scores import nmse
from stl_algebra.exact.catalogue import exact_algorithm, strassen
from stl_algebra.families import Request, family
from stl_algebra.families.orbits import (
    MODES,
    Symmetry,
    algorithms_of,
    count_multisets,
    discretise_invariant,
    embedding,
    integral_forms,
    is_invariant,
    lattices,
    multiset_at,
    multisets,
    orbit_types,
    refine_invariant,
    representations_of_dimension,
    simplex,
)
from stl_algebra.families.orbits.invariant import orbit_weights, random_starts
from stl_algebra.families.orbits.symmetry import triples
from stl_algebra.groups import parse_group
from stl_algebra.numerics.cp.derivatives import cp_gram, cp_gram_within
from stl_algebra.numerics.cp.levenberg_marquardt import cp_levenberg_marquardt

SPELLINGS = [
    "S3/2/",
    "S3/2/cyclic",
    "S3/0+1/transpose",
    "C4/2/cyclic+transpose",
    "C3/0+1/cyclic",
    "Q8/1,0+2,1+3/",
    "S3/2,0+2,2/",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 9))
def test_multisets_are_all_combinations_with_the_total(sizes, total):
    expected = sorted(
        chosen
        for count in range(total + 1)
        for chosen in combinations_with_replacement(range(len(sizes)), count)
        if sum(sizes[i] for i in chosen) == total
    )
    assert list(multisets(sizes, total)) == expected
    assert count_multisets(sizes, total) == len(expected)
    assert [multiset_at(sizes, total, i) for i in range(len(expected))] == expected
    with pytest.raises(IndexError):
        multiset_at(sizes, total, len(expected))


@pytest.mark.parametrize("text", SPELLINGS)
def test_symmetries_round_trip_and_keep_the_tensor(text):
    symmetry = Symmetry.parse(text)
    assert Symmetry.parse(str(symmetry)) == symmetry
    action, tile = symmetry.action, symmetry.tile
    exact = triples(exact_algorithm(tile))
    rng = np.random.default_rng(0)
    some = rng.integers(len(action.maps), size=(2, 12))
    identity = np.eye(action.maps.shape[1])
    assert np.abs(action.maps[0] - identity).max() < 1e-12
    for i, j in some.T:
        first, second = action.maps[i], action.maps[j]
        assert np.abs(first @ first.T - identity).max() < 1e-10
        assert np.abs(first @ second - action.maps[action.group.table[i, j]]).max() < 1e-9
        x, w, z = np.split(exact @ first.T, np.cumsum(action.sides)[:-1], axis=1)
        y = z.reshape(-1, tile.m, tile.n).transpose(0, 2, 1).reshape(len(z), -1)
        assert nmse(BilinearAlgorithm(tile, x, w, y.T)) < 1e-24


@pytest.mark.parametrize("text", SPELLINGS)
def test_stabilisers_are_those_of_generic_products(text):
    symmetry = Symmetry.parse(text)
    action = symmetry.action
    rng = np.random.default_rng(1)

    def images(point):
        """Distinct images of the rank-one tensor of a triple, scaled to equal norms."""
        parts = np.split(point, np.cumsum(action.sides)[:-1])
        scaled = np.concatenate([p / np.linalg.norm(p) for p in parts])
        moved = action.maps[::4] @ scaled
        a, b, c = np.split(moved, np.cumsum(action.sides)[:-1], axis=1)
        grams = (a @ a.T) * (b @ b.T) * (c @ c.T)
        return len(np.unique(np.argmax(grams > 1 - 1e-9, axis=1)))

    types = orbit_types(symmetry)
    for orbit in types:
        assert orbit.size * len(orbit.stabiliser) == action.order
        assert len(action.group.generated(orbit.stabiliser.tolist())) == len(orbit.stabiliser)
        fixed = action.maps[orbit.stabiliser] @ orbit.basis
        assert np.abs(fixed - orbit.basis).max() < 1e-9
        assert images(orbit.basis @ rng.normal(size=orbit.basis.shape[1])) == orbit.size
    # Whatever two elements fix has one of the types.
    known = {(o.size, o.basis.shape[1]) for o in types}
    for pair in rng.integers(len(action.maps), size=(40, 2)):
        subgroup = action.group.generated(pair.tolist())
        mean = action.maps[subgroup].mean(axis=0)
        parts = np.split(mean @ rng.normal(size=len(mean)), np.cumsum(action.sides)[:-1])
        if min(np.linalg.norm(p) for p in parts) > 1e-6:
            scaled = np.concatenate([p / np.linalg.norm(p) for p in parts])
            fixing = np.flatnonzero(np.abs(action.maps @ scaled - scaled).max(axis=1) < 1e-8)
            dimension = round(float(np.trace(action.maps[fixing].mean(axis=0))))
            assert (action.order // len(fixing), dimension) in known


@pytest.mark.parametrize("text", SPELLINGS)
def test_rows_of_the_representatives_give_the_normal_matrix(text):
    symmetry = Symmetry.parse(text)
    types, tile = orbit_types(symmetry), symmetry.tile
    chosen = [types[i] for i in sorted(np.random.default_rng(0).integers(len(types), size=5))]
    space = torch.from_numpy(embedding(symmetry, chosen))
    sides = (tile.x_size, tile.w_size, tile.y_size)
    factors = [torch.from_numpy(f) for f in random_starts(space.numpy(), sides, 2, 0)]
    expected = space.mT @ cp_gram(factors) @ space
    for weights in (None, torch.from_numpy(orbit_weights(chosen))):
        found = cp_gram_within(factors, space, weights)
        assert (found - expected).abs().max() < 1e-12 * expected.abs().max()


def test_types_of_the_trivial_group_with_the_cyclic_shift():
    """Ballard, Ikenmeyer, Landsberg and Ryder 2019: triples A, B, C in threes, and cubes of one matrix."""
    types = orbit_types(Symmetry.parse("C1/0+0+0/cyclic"))
    assert [(o.size, o.free_parameters) for o in types] == [(3, 25), (1, 9)]


def test_representations_of_a_dimension():
    assert list(representations_of_dimension(parse_group("S3"), 2)) == [(0, 0), (0, 1), (1, 1), (2,)]
    assert count_multisets([1] * 32, 4) == len(list(representations_of_dimension(parse_group("C2^5"), 4)))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["S3/2/", "S3/0+2,2,2/", "C3/0+1/cyclic+transpose"])
def test_refinement_stays_in_the_invariant_space(text):
    symmetry = Symmetry.parse(text)
    sizes = [o.size for o in orbit_types(symmetry)]
    rank = next(r for r in range(6, 40) if count_multisets(sizes, r))
    chosen = [orbit_types(symmetry)[i] for i in next(multisets(sizes, rank))]
    space = embedding(symmetry, chosen)
    assert np.abs(space.T @ space - np.eye(space.shape[1])).max() < 1e-12
    fit = refine_invariant(symmetry, chosen, starts=2, schedule=((1e-2, 15),))
    flat = np.concatenate([f.reshape(2, -1).numpy() for f in fit.factors], axis=1)
    assert np.abs(flat @ space @ space.T - flat).max() < 1e-10 * np.abs(flat).max()
    for algorithm in algorithms_of(fit, symmetry, chosen):
        assert algorithm.rank == rank
        assert is_invariant(algorithm, symmetry)
        noise = 1e-3 * np.random.default_rng(0).normal(size=algorithm.decode.shape)
        assert not is_invariant(algorithm.with_factors(decode=algorithm.decode + noise), symmetry)


@pytest.mark.slow
def test_steps_in_a_basis_are_the_steps_of_the_reduced_problem():
    target = matmul_tensor(TileFormat(2, 2, 2))
    generator = torch.Generator().manual_seed(0)
    factors = [torch.randn(2, 4, 6, generator=generator, dtype=torch.float64) for _ in range(3)]
    turn = torch.linalg.qr(torch.randn(72, 72, generator=generator, dtype=torch.float64)).Q
    free = cp_levenberg_marquardt(target, factors, schedule=((1e-3, 20),))
    everything = cp_levenberg_marquardt(target, factors, schedule=((1e-3, 20),), basis=torch.eye(72))
    assert free.loss.tolist() == pytest.approx(everything.loss.tolist(), rel=1e-9)
    few = turn[:, :10]
    fit = cp_levenberg_marquardt(target, factors, schedule=((1e-3, 20),), basis=few)
    moved = torch.cat([(a - b).flatten(1) for a, b in zip(fit.factors, factors, strict=True)], dim=1)
    assert (moved - moved @ few @ few.mT).abs().max() < 1e-12
    gradient_left = (
        fit.objective
        - cp_levenberg_marquardt(target, fit.factors, schedule=((1e-3, 500),), basis=few).objective
    )
    assert (gradient_left >= 0).all()
    for bad, message in ((2 * few, "orthonormal"), (few[1:], "shape"), (few[:, 0], "shape")):
        with pytest.raises(InvalidInput, match=message):
            cp_levenberg_marquardt(target, factors, basis=bad)
    with pytest.raises(InvalidInput, match="both"):
        cp_levenberg_marquardt(target, factors, basis=few, frozen=[f > 0 for f in factors])
    for bad in ({"weights": torch.ones(6)}, {"weights": -torch.ones(6), "basis": few}):
        with pytest.raises(InvalidInput, match="weights"):
            cp_levenberg_marquardt(target, factors, **bad)


@pytest.mark.parametrize("t", [2, 3, 4, 5])
def test_simplex_algorithm_is_exact(t):
    algorithm = simplex(t)
    assert algorithm.rank == t**3 - t + 1
    assert verify(algorithm).ring == "Z"


@pytest.mark.slow
@pytest.mark.parametrize("t", [2, 3])
def test_simplex_algorithm_is_an_orbit_of_the_permutations_of_its_vertices(t):
    """In integers: changing bases by a permutation of e_0 = -sum e_i, e_1..e_t permutes the products."""

    def products(algorithm):
        terms = np.einsum("ra,rb,rc->rabc", *algorithm.factors).reshape(algorithm.rank, -1)
        return sorted(map(tuple, np.round(terms).astype(int)))

    algorithm = simplex(t)
    vertices = np.vstack([-np.ones(t, dtype=int), np.eye(t, dtype=int)])
    for order in permutations(range(t + 1)):
        change = np.array([vertices[i] for i in order[1:]])
        assert products(sandwich(algorithm, change, change, change)) == products(algorithm)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["S3/2/cyclic", "C4/0+2/cyclic+transpose", "S4/3/cyclic", "Q8/1,0+2,1+3/"])
def test_integral_forms_are_the_symmetry_in_other_bases(text):
    symmetry = Symmetry.parse(text)
    forms = list(integral_forms(symmetry))
    assert forms
    types, action = orbit_types(symmetry), symmetry.action
    for form in forms:
        some = np.random.default_rng(0).integers(len(action.maps), size=(2, 20))
        for i, j in some.T:
            assert np.array_equal(form.maps[i] @ form.maps[j], form.maps[action.group.table[i, j]])
        assert np.abs(form.change @ action.maps - form.maps @ form.change).max() < 1e-9
        for orbit in types:
            basis = form.basis(orbit)
            assert basis.shape == orbit.basis.shape
            assert np.array_equal(np.rint(basis), basis)
            assert all(np.array_equal(form.maps[k] @ basis, basis) for k in orbit.stabiliser)
        exact = form.transformed(exact_algorithm(symmetry.tile))
        assert nmse(exact) < 1e-24


def test_representations_that_are_not_rational_have_no_lattice():
    assert not list(lattices(parse_group("C5"), (1,)))
    assert list(integral_forms(Symmetry.parse("C5/1/"))) == []


def strassen_orbits(symmetry):
    types = orbit_types(symmetry)
    chosen = [types[i] for i in next(multisets([o.size for o in types], 7))]
    assert [o.size for o in chosen] == [6, 1]
    return chosen


@pytest.mark.slow
def test_strassen_is_found_from_s3():
    symmetry = Symmetry.parse("S3/2/")
    chosen = strassen_orbits(symmetry)
    # Ten of 16 starts become exact: that none of 24 does has probability 6e-11.
    found = algorithms_of(refine_invariant(symmetry, chosen, starts=24), symmetry, chosen)[0]
    assert nmse(found) < 1e-24
    assert is_invariant(found, symmetry)
    assert not is_invariant(strassen(), symmetry)
    exact, form = discretise_invariant(found, symmetry, chosen)
    assert verify(exact).ring == "Z"
    assert form.is_invariant(exact)
    assert not form.is_invariant(strassen())
    with pytest.raises(InvalidInput, match="rational"):
        form.is_invariant(found)
    with pytest.raises(InvalidInput, match="invariant under"):
        discretise_invariant(strassen(), symmetry, chosen)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spelling", "positions", "first"),
    [("C1/0+0+0/cyclic", (0,) * 7 + (1,) * 2, 3), ("C4/0+2/cyclic", (0, 3, 3, 6, 7), 0)],
)
def test_symmetric_algorithms_of_rank_23_are_found_and_rounded(spelling, positions, first):
    """Ballard, Ikenmeyer, Landsberg and Ryder 2019 have both symmetries: Z_3, and Z_4 x Z_3.

    Which starts become exact, and which of those can be rounded, depends on the processor. About one start in
    three becomes exact (results/numerics/orbits.json) and most of those round; were it one start in eight
    that does both, none of 128 would do it with probability 4e-8.
    """
    symmetry = Symmetry.parse(spelling)
    types = orbit_types(symmetry)
    chosen = [types[i] for i in positions]
    # Rounding in vain takes most of the time: the first of these seeds did not where this was written.
    for seed in range(first, first + 32):
        fit = refine_invariant(symmetry, chosen, starts=4, seed=seed)
        for found in algorithms_of(fit, symmetry, chosen):
            if nmse(found) >= 1e-24:
                continue
            assert found.rank == 23
            assert is_invariant(found, symmetry)
            rounded = discretise_invariant(found, symmetry, chosen, tries=2)
            if rounded is not None and max(np.abs(f).max() for f in rounded[0].factors) == 1:
                exact, form = rounded
                assert verify(exact).ring == "Z"
                assert verify(exact).exact
                assert form.is_invariant(exact)
                return
    pytest.fail("no start became exact and was rounded to -1, 0, 1")


@pytest.mark.slow
def test_the_family_says_what_it_used_and_keeps_it():
    request = Request(TileFormat(2, 2, 2), 7, parse_group("S3"), 4)
    algorithm = family("orbits").propose(request)
    parameters = algorithm.provenance.parameters
    assert is_invariant(algorithm, Symmetry.parse(parameters["symmetry"]))
    assert sum(parameters["orbit_sizes"]) == algorithm.rank == 7
    assert algorithm.provenance.family == "orbits"
    assert family("orbits").propose(request) == algorithm


@pytest.mark.parametrize(
    "bad", ["", "S3", "S3/2", "S3/9/", "S3/2/sideways", "S3/2,0+1/", "S3/2,0+1,2/cyclic", "S3/2+/"]
)
def test_malformed_symmetries_are_refused_in_words(bad):
    with pytest.raises(InvalidInput, match="expected"):
        Symmetry.parse(bad)


@pytest.mark.slow
def test_symmetries_that_are_too_large_say_so():
    with pytest.raises(TooLarge, match="order"):
        orbit_types(Symmetry.parse("S5/2/cyclic+transpose"))
    with pytest.raises(InvalidInput, match="symmetry"):
        is_invariant(strassen(), Symmetry.parse("C1/0+0+0/"))
    with pytest.raises(InvalidInput, match="t: expected"):
        simplex(1)
    assert set(MODES) == {"", "cyclic", "transpose", "cyclic+transpose"}
