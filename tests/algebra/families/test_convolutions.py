"""Sums of convolutions: exact placements, degrees, what truncation and signs do, and the comparison."""

import numpy as np
import pytest

from benchmarks.convolutions import gaussian_comparison, svd_error
from stl_algebra import InvalidInput, TileFormat
from stl_algebra.algorithms.fit import refit_decoder, truncate
from stl_algebra.algorithms.scores import nmse
from stl_algebra.exact.catalogue import strassen
from stl_algebra.families import Request, family
from stl_algebra.families.convolutions import (
    Placement,
    add,
    annealed_placement,
    convolution,
    degrees,
    simultaneous_placements,
)
from stl_algebra.families.fourier import fourier_algorithm
from stl_algebra.groups import parse_group
from stl_algebra.representations import fourier_basis
from stl_algebra.triples.property import Triple, find_triple


@pytest.mark.parametrize(
    ("m", "tile"), [(3, "2x4x2"), (3, "2x3x2"), (4, "3x6x3"), (4, "2x5x3"), (3, "1x1x2")]
)
def test_simultaneous_placements_are_exact_in_one_convolution(m, tile):
    """Cohn, Kleinberg, Szegedy and Umans 2005, section 5."""
    shape = TileFormat.parse(tile)
    algorithm = convolution(parse_group(f"C{m}^3"), shape, simultaneous_placements(m, shape))
    assert nmse(algorithm) < 1e-24


def test_placements_that_do_not_fit_are_refused():
    with pytest.raises(InvalidInput, match="sides n and m of at most 2"):
        simultaneous_placements(3, TileFormat(3, 4, 2))
    with pytest.raises(InvalidInput, match="placements"):
        convolution(parse_group("C2"), TileFormat(2, 2, 2), [])
    with pytest.raises(InvalidInput, match="products"):
        convolution(
            parse_group("C3^3"), TileFormat(2, 2, 2), simultaneous_placements(3, TileFormat(2, 2, 2)), 0
        )


@pytest.mark.slow
def test_one_placement_without_signs_is_the_fourier_algorithm():
    group, tile = parse_group("S3"), TileFormat(2, 3, 2)
    triple = find_triple(group, tile, 1)
    ones = (np.ones(2), np.ones(3), np.ones(2))
    sides = (np.arange(2), np.arange(3), np.arange(2))
    placed = convolution(group, tile, [Placement(*sides, triple.s, triple.t, triple.u, *ones)])
    assert np.allclose(placed.tensor(), fourier_algorithm(triple).tensor(), atol=1e-12)


@pytest.mark.parametrize(("name", "m", "k"), [("C2^5", 2, 5), ("C3^3", 3, 3), ("C4^2", 4, 2), ("C7", 7, 1)])
def test_degrees_are_hamming_weights(name, m, k):
    counted = np.zeros(k + 1, dtype=int)
    for block, degree in degrees(parse_group(name)).items():
        counted[degree] += block.stop - block.start
    binomial = np.array([len(np.flatnonzero(weights_of(m, k) == d)) for d in range(k + 1)])
    assert np.array_equal(counted, binomial)


def weights_of(m, k):
    return (np.indices((m,) * k).reshape(k, -1) > 0).sum(axis=0)


def test_low_degrees_come_first_and_are_a_part_of_the_whole():
    group, tile = parse_group("C2^5"), TileFormat(4, 4, 4)
    placement = annealed_placement(group, tile, np.random.default_rng(0), np.arange(4))
    whole = convolution(group, tile, [placement])
    assert whole.rank == 32 == len(fourier_basis(group).blocks)
    errors = []
    for products, degree in ((1, 0), (6, 1), (16, 2), (26, 3), (31, 4), (32, 5)):
        part = convolution(group, tile, [placement], products)
        assert part.rank == products
        assert part.provenance.parameters["degree"] == degree
        assert np.array_equal(part.encode_x, whole.encode_x[:products])
        errors.append(nmse(refit_decoder(part)))
    assert errors == sorted(errors, reverse=True)


def test_random_signs_make_collisions_cancel_on_average():
    """The error of the mean of c convolutions on one triple falls like 1 / c with signs, not without."""
    group, tile = parse_group("C2^3"), TileFormat(3, 3, 3)
    triple = Triple(group, *(np.arange(3) for _ in range(3)))
    assert triple.collisions() > 0
    rng = np.random.default_rng(0)
    sides = (np.arange(3),) * 3

    def mean(count, signed):
        parts = []
        for _ in range(count):
            signs = rng.choice([-1.0, 1.0], size=(3, 3)) if signed else np.ones((3, 3))
            parts.append(convolution(group, tile, [Placement(*sides, triple.s, triple.t, triple.u, *signs)]))
        return nmse(add(parts, [1 / count] * count))

    single = triple.collisions() / tile.products
    assert mean(1, True) == pytest.approx(single)
    assert mean(50, False) == pytest.approx(single)
    assert mean(50, True) < 0.2 * single


@pytest.mark.slow
@pytest.mark.parametrize(("group", "tile", "rank"), [("C2^5", "4", 32), ("C3^3", "2", 6), ("Q8", "2x3x2", 9)])
def test_the_family_is_at_least_as_good_as_its_truncation(group, tile, rank):
    kinds = set()
    for seed in range(4):
        algorithm = family("convolutions").propose(
            Request(TileFormat.parse(tile), rank, parse_group(group), seed)
        )
        assert rank <= algorithm.rank
        assert nmse(algorithm) <= nmse(truncate(algorithm, rank)) + 1e-12 <= 1 + 1e-12
        kinds.add(tuple(algorithm.provenance.parameters["placements"]))
    if group == "C3^3":
        assert any(2 in kind for kind in kinds)


def test_the_comparison_is_consistent_with_the_closed_form():
    algorithm = truncate(strassen(), 5)
    found = gaussian_comparison(algorithm, 32, samples=10)
    assert found["error"] ** 2 == pytest.approx(nmse(algorithm), rel=0.1)
    assert found["svd_rank"] == pytest.approx(5 / 8 * 32)
    assert found["multiplications"] * found["ratio"] == pytest.approx(32**3)
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(6, 6))
    left, values, right = np.linalg.svd(matrix)
    best = (left[:, :2] * values[:2]) @ right[:2]
    assert svd_error(matrix, 2) == pytest.approx(np.linalg.norm(matrix - best) / np.linalg.norm(matrix))
    assert svd_error(matrix, 0) == 1
    assert svd_error(matrix, 6) == svd_error(matrix, 9) == 0
    assert svd_error(matrix, 2) > svd_error(matrix, 2.5) > svd_error(matrix, 3)
    with pytest.raises(InvalidInput, match="samples"):
        gaussian_comparison(algorithm, 4, samples=0)
