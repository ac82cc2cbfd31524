"""Companions for half precision: exact still, held by eight bits, nearly at the least amplification."""

import numpy as np
import pytest

from stl_algebra import encoders, verify
from stl_algebra.algorithms.balance import PARENT, balance
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.scores import amplification
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, strassen

PARENTS = {
    "2x2x2-r7": strassen(),
    "4x4x4-r49": encoders("4x4x4", 49),
    **{
        f"{a.tile.slug}-r{a.rank}": a
        for a in (exact_algorithm(TileFormat.parse(s)) for s in ("2x3x3", "2x4x4", "3x3x3", "3x4x4", "4x4x5"))
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARENTS)
def test_companions_are_exact_and_bfloat16_holds_them(name):
    import torch

    parent = PARENTS[name]
    found = companion(parent)
    assert verify(found).exact
    for factor in found.factors:
        there = torch.from_numpy(np.ascontiguousarray(factor))
        assert torch.equal(there.bfloat16().double(), there)
    assert found.provenance.parameters[PARENT]["digest"] == parent.digest


@pytest.mark.slow
@pytest.mark.parametrize("name", PARENTS)
def test_companions_are_nearly_at_the_least_amplification(name):
    parent = PARENTS[name]
    least = amplification(balance(parent))
    assert least * (1 - 1e-9) <= amplification(companion(parent)) <= 1.25 * least
    assert amplification(companion(parent)) < 0.75 * amplification(parent)


@pytest.mark.slow
def test_what_is_at_its_minimum_or_not_exact_stays_as_it_is():
    for algorithm in (encoders("4x4x4", 48), encoders("4x4x4", 32), balance(strassen())):
        companion.cache_clear()  # It remembers equal algorithms.
        assert companion(algorithm) is algorithm
