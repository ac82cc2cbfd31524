"""Least amplification: the minimum is one, it is the literature's, and the companion names its parent."""

import numpy as np
import pytest

from stl_algebra import BilinearAlgorithm, InvalidInput, kronecker, sandwich, verify
from stl_algebra.algorithms.balance import PARENT, balance
from stl_algebra.algorithms.scores import amplification, nmse
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, strassen, winograd


@pytest.mark.parametrize("start", [strassen, winograd])
def test_all_algorithms_of_rank_7_have_the_same_least_amplification(start):
    """De Groote: they are one orbit, so the minimum 25/9 is one number."""
    assert amplification(balance(start())) == pytest.approx(25 / 9, abs=1e-10)


def test_least_amplifications_multiply():
    two = kronecker(strassen(), strassen())
    assert amplification(balance(two)) == pytest.approx((25 / 9) ** 2, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sides", "at_most"),
    [
        ((2, 3, 3), 4.1),
        ((2, 4, 4), 5.61),
        ((3, 3, 3), 5.52),
        ((3, 4, 4), 7.04),
        ((4, 4, 4), 8.0001),
        ((5, 5, 5), 10.47),
    ],
)
def test_shipped_algorithms_reach_the_values_of_the_notes(sides, at_most):
    algorithm = exact_algorithm(TileFormat(*sides))
    companion = balance(algorithm)
    assert amplification(companion) <= at_most
    assert amplification(companion) <= amplification(algorithm) * (1 + 1e-9)
    assert nmse(companion) < 1e-26


@pytest.mark.slow
def test_the_minimum_does_not_depend_on_the_bases_it_is_looked_for_from():
    rng = np.random.default_rng(3)
    algorithm = exact_algorithm(TileFormat(2, 3, 3))
    least = amplification(balance(algorithm))
    for _ in range(4):
        gauge = [np.eye(side) + 0.4 * rng.normal(size=(side, side)) for side in (2, 3, 3)]
        moved = sandwich(algorithm, *gauge)
        assert amplification(balance(moved)) == pytest.approx(least, rel=1e-8)


def test_the_definition_is_at_its_minimum():
    assert amplification(balance(definition(TileFormat(3, 2, 4)))) == pytest.approx(1.0, abs=1e-12)


def test_the_companion_is_not_called_exact_and_names_its_exact_parent():
    parent = strassen()
    companion = balance(parent)
    told = companion.provenance.parameters[PARENT]
    assert not verify(companion).exact
    assert told["digest"] == parent.digest
    assert told["verified"].startswith("exact over Z")
    norms = [np.linalg.norm(f, axis=1) for f in companion.factors]
    assert np.allclose(norms, norms[0])


def test_an_algorithm_whose_amplification_has_no_minimum_is_refused():
    x, w, d = np.zeros((3, 1, 4))
    x[0, 1] = w[0, 1] = d[0, 0] = 1.0
    with pytest.raises(InvalidInput, match="minimum"):
        balance(BilinearAlgorithm("2", x, w, d.T))
