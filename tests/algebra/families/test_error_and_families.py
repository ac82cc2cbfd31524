"""Closed-form errors against sampling and independent formulas; candidate families against their contract."""

import subprocess
import sys

import numpy as np
import pytest

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, kronecker, matmul_tensor, verify
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.fit import best_decoder, refit_decoder, truncate
from stl_algebra.algorithms.scores import (
    amplification,
    column_row_nmse,
    nmse,
    rounding_constant,
    total,
)
from stl_algebra.errors import NoCandidate
from stl_algebra.exact.catalogue import NAMED, exact_algorithm, rank_of_exact, strassen
from stl_algebra.exact.discretise import discretise, polish_to_exact
from stl_algebra.families import FAMILIES, Request, family
from stl_algebra.families.fourier import fourier_algorithm
from stl_algebra.groups import parse_group
from stl_algebra.precision import PRECISIONS
from stl_algebra.triples.property import Triple, find_triple


def random_algorithm(tile, rank, seed=0):
    rng = np.random.default_rng(seed)
    return BilinearAlgorithm(
        tile,
        rng.normal(size=(rank, tile.x_size)),
        rng.normal(size=(rank, tile.w_size)),
        rng.normal(size=(tile.y_size, rank)),
    )


@pytest.mark.parametrize("name", sorted(NAMED))
def test_named_algorithms_are_exact(name):
    assert verify(NAMED[name]()).ring == "Z"


@pytest.mark.parametrize("sides", [(2, 2, 3), (3, 3, 3), (2, 3, 4), (4, 4, 4), (5, 2, 4), (1, 4, 4)])
def test_composed_algorithms_are_exact_and_have_the_announced_rank(sides):
    tile = TileFormat(*sides)
    algorithm = exact_algorithm(tile)
    assert verify(algorithm).exact
    assert algorithm.rank == rank_of_exact(tile) <= tile.products


@pytest.mark.slow
def test_white_nmse_is_the_sampled_error_of_gaussian_tiles():
    algorithm = refit_decoder(random_algorithm(TileFormat(2, 3, 2), 8))
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(600, 600)), rng.normal(size=(600, 600))
    exact = x @ w
    sampled = np.sum((algorithm.multiply(x, w) - exact) ** 2) / np.sum(exact**2)
    assert sampled == pytest.approx(nmse(algorithm), rel=0.02)


@pytest.mark.slow
def test_coloured_nmse_is_the_sampled_error_of_coloured_tiles():
    tile = TileFormat(2, 2, 2)
    algorithm = truncate(strassen(), 5)
    rng = np.random.default_rng(2)
    mix_x, mix_w = rng.normal(size=(2, 4, 4))
    colour = Colour.from_second_moments(mix_x @ mix_x.T, mix_w @ mix_w.T)
    size = 400
    x = (rng.normal(size=(size, size, 4)) @ mix_x.T).reshape(size, size, 2, 2).transpose(0, 2, 1, 3)
    w = (rng.normal(size=(size, size, 4)) @ mix_w.T).reshape(size, size, 2, 2).transpose(0, 2, 1, 3)
    x, w = x.reshape(2 * size, -1), w.reshape(2 * size, -1)
    sampled = np.sum((algorithm.multiply(x, w) - x @ w) ** 2) / np.sum((x @ w) ** 2)
    assert sampled == pytest.approx(nmse(algorithm, colour), rel=0.03)
    assert nmse(algorithm, colour) != pytest.approx(nmse(algorithm), rel=0.05)
    assert tile == algorithm.tile


def test_best_decoder_is_the_least_squares_solution():
    tile = TileFormat(2, 3, 2)
    algorithm = random_algorithm(tile, 9)
    terms = np.einsum("ra,rb->rab", algorithm.encode_x, algorithm.encode_w).reshape(9, -1)
    expected = np.linalg.lstsq(terms.T, matmul_tensor(tile).reshape(-1, tile.y_size), rcond=None)[0].T
    found = best_decoder(tile, algorithm.encode_x, algorithm.encode_w)
    assert np.allclose(found, expected, atol=1e-9)


def test_penalised_decoder_minimises_nmse_plus_penalty_times_amplification():
    algorithm = random_algorithm(TileFormat(2, 2, 2), 5)
    best = refit_decoder(algorithm, 0.05)
    value = nmse(best) + 0.05 * amplification(best)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = best.with_factors(decode=best.decode + 1e-3 * rng.normal(size=best.decode.shape))
        assert nmse(other) + 0.05 * amplification(other) > value


def test_kronecker_law_of_optimal_factors():
    first = refit_decoder(random_algorithm(TileFormat(2, 2, 2), 5, 1))
    second = refit_decoder(random_algorithm(TileFormat(2, 1, 2), 3, 2))
    product = 1 - nmse(kronecker(first, second))
    assert product == pytest.approx((1 - nmse(first)) * (1 - nmse(second)), rel=1e-10)


def test_truncation_removes_what_costs_least_and_is_at_least_as_good_as_dropping_blindly():
    start = exact_algorithm(TileFormat(4, 4, 4))
    kept = truncate(start, 40)
    assert kept.rank == 40
    blind = refit_decoder(
        BilinearAlgorithm(start.tile, start.encode_x[:40], start.encode_w[:40], start.decode[:, :40])
    )
    assert nmse(kept) <= nmse(blind)
    with pytest.raises(InvalidInput, match="rank"):
        truncate(start, 50)


def test_amplification_and_totals():
    algorithm = strassen()
    assert amplification(algorithm) == pytest.approx(4.0)
    assert total(algorithm, "bf16") == pytest.approx(4 * rounding_constant("bf16"))
    assert column_row_nmse(TileFormat(4, 4, 4), 32) == 0.5
    constants = [rounding_constant(d) for d in PRECISIONS]
    assert constants == sorted(constants, reverse=True)
    assert rounding_constant("bf16") == pytest.approx(8.1e-6, rel=0.05)  # theory notes, section 2
    with pytest.raises(InvalidInput, match="bf16"):
        rounding_constant("int8")


@pytest.mark.parametrize(
    "bad", [np.ones((4, 3)), -np.eye(4), np.full((4, 4), np.nan), np.zeros((4, 4)), np.triu(np.ones((4, 4)))]
)
def test_colour_refuses_what_is_no_second_moment(bad):
    with pytest.raises(InvalidInput, match="second_x"):
        Colour.from_second_moments(bad, np.eye(4))


def test_three_transpositions_of_s3_have_the_triple_product_property():
    """Cohn and Umans 2003: three subgroups of order 2 of S3 realise <2,2,2> with 8 > 6."""
    group = parse_group("S3")
    involutions = [int(g) for g in np.flatnonzero(group.element_orders == 2)]
    subsets = [np.array([0, g]) for g in involutions]
    triple = Triple(group, *subsets)
    assert triple.collisions() == 0
    algorithm = fourier_algorithm(triple)
    assert nmse(algorithm) < 1e-28
    same = Triple(group, subsets[0], subsets[0], subsets[1])
    assert same.collisions() > 0


@pytest.mark.parametrize(
    ("name", "tile"), [("C2^3", "2"), ("Q8", "2"), ("S3", "2"), ("A4", "2"), ("S4", "3x2x2")]
)
def test_zero_collisions_mean_an_exact_algorithm(name, tile):
    triple = find_triple(parse_group(name), TileFormat.parse(tile), seed=0)
    algorithm = fourier_algorithm(triple)
    assert (triple.collisions() == 0) == (nmse(algorithm) < 1e-24)


def test_collisions_are_the_wrong_terms_of_the_group_algebra_product():
    rng = np.random.default_rng(0)
    group = parse_group("D5")
    triple = Triple(group, *(rng.choice(10, size, replace=False) for size in (2, 3, 2)))
    algorithm = fourier_algorithm(triple)
    assert np.sum(np.round(algorithm.tensor())) == triple.collisions() + 12


#: (family, tile, rank); refining orbits takes seconds.
CONTRACT = [
    pytest.param(*case, marks=[pytest.mark.slow] if case[0] == "orbits" else [])
    for case in ((f, *t) for f in sorted(FAMILIES) for t in (("2", 7), ("4", 32), ("2x3x2", 9)))
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tile", "rank"), CONTRACT)
def test_every_family_keeps_the_contract(name, tile, rank):
    entry = family(name)
    for group in ["S3", "C2^5", "Q8"] if entry.uses_group else [None]:
        request = Request(TileFormat.parse(tile), rank, parse_group(group) if group else None, 3)
        try:
            first, second = entry.propose(request), entry.propose(request)
        except NoCandidate:
            continue
        assert first == second
        assert first.tile == request.tile
        assert first.rank >= rank
        assert first.provenance.family == name


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(InvalidInput, match="fourier-power"):
        family("magic")
    with pytest.raises(InvalidInput, match="group"):
        family("fourier").propose(Request(TileFormat(2, 2, 2), 7))


@pytest.mark.slow
def test_float_solutions_become_integers():
    rng = np.random.default_rng(5)
    from stl_algebra import sandwich

    hidden = sandwich(strassen(), *rng.normal(size=(3, 2, 2)))
    noisy = hidden.with_factors(hidden.encode_x + 1e-3 * rng.normal(size=hidden.encode_x.shape))
    assert not verify(noisy).exact
    found = discretise(noisy)
    assert found is not None
    assert verify(found).ring == "Z"
    assert set(np.unique(np.concatenate([f.ravel() for f in found.factors]))) <= {-1.0, 0.0, 1.0}


@pytest.mark.slow
def test_no_exact_neighbour_below_the_rank():
    assert polish_to_exact(random_algorithm(TileFormat(2, 2, 2), 6)) is None
    assert discretise(random_algorithm(TileFormat(2, 2, 2), 6)) is None


@pytest.mark.slow
def test_the_order_of_plans_is_the_same_whichever_family_is_imported_first():
    source = "import stl_algebra.families.orbits; from stl_algebra.families import FAMILIES; print(*FAMILIES)"
    shown = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout
    assert shown.split() == list(FAMILIES)
    assert shown.startswith("fourier")
