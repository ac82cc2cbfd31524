"""Additions in place of the small matrix products: which factors, and that they compute the same."""

import numpy as np
import pytest
import torch

from stl_algebra.algorithms.additions import share_sums
from stl_algebra.algorithms.compose import kronecker
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, strassen, winograd
from stl_kernels.backends.sums import decode_sums, encode_sums, ladder, split_levels

PAIRS = {
    "winograd squared": kronecker(winograd(), winograd()),
    "strassen squared": kronecker(strassen(), strassen()),
    "winograd, strassen": kronecker(winograd(), strassen()),
    "three levels": kronecker(kronecker(winograd(), winograd()), strassen()),
}


def factors(algorithm, dtype=torch.float64):
    return (torch.tensor(f, dtype=dtype) for f in (algorithm.encode_x, algorithm.decode))


@pytest.mark.parametrize("algorithm", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sums_are_the_matrix_products(algorithm, dtype):
    encode, decode = factors(algorithm, dtype)
    t = algorithm.tile
    generator = torch.Generator().manual_seed(0)
    # Integers: the order of additions does not matter, so equality is exact.
    tiles = torch.randint(-9, 10, (3, t.n * t.k, 5), generator=generator).to(dtype)
    products = torch.randint(-9, 10, (algorithm.rank, 3, 5), generator=generator).to(dtype)

    def memory(size):
        return torch.full((size,), torch.nan, dtype=dtype)

    out = torch.full((algorithm.rank, 3, 5), torch.nan, dtype=dtype)
    encode_sums(ladder(encode, (t.n, t.k), False), tiles, out, memory)
    assert torch.equal(out, torch.einsum("re,iel->ril", encode, tiles))
    back, kept = torch.full((3, t.n * t.m, 5), torch.nan, dtype=dtype), products.clone()
    decode_sums(ladder(decode, (t.n, t.m), True), products, back, memory)
    assert torch.equal(back, torch.einsum("er,ril->iel", decode, products))
    assert torch.equal(products, kept)


def test_a_ladder_counts_additions_as_the_literature_does():
    # Winograd's form: 4, 4 and 7 additions; Strassen's: 5, 5 and 8, where nothing is shared.
    assert [share_sums(f).additions for f in (winograd().encode_x, winograd().decode)] == [4, 7]
    assert [share_sums(f).additions for f in (strassen().encode_x, strassen().decode)] == [5, 8]
    encode, decode = factors(PAIRS["winograd squared"])
    for steps, each in ((ladder(encode, (4, 4), False), 4), (ladder(decode, (4, 4), True), 7)):
        assert (steps.outer.sums.additions, steps.inner.sums.additions) == (each, each)
        assert steps.ranks == (7, 7)


def test_factors_without_two_levels_or_with_other_entries_stay_matrices():
    for algorithm in (
        strassen(),
        exact_algorithm(TileFormat.parse("3x3x3")),
        definition(TileFormat(2, 2, 2)),
    ):
        encode, decode = factors(algorithm)
        t = algorithm.tile
        assert ladder(encode, (t.n, t.k), False) is None
        assert ladder(decode, (t.n, t.m), True) is None
    encode, _ = factors(PAIRS["strassen squared"])
    assert ladder(encode * 0.5, (4, 4), False) is None
    assert ladder(torch.zeros_like(encode), (4, 4), False) is None
    shuffled = encode[torch.randperm(49, generator=torch.Generator().manual_seed(1))]
    assert ladder(shuffled, (4, 4), False) is None


def test_split_levels_finds_rectangular_levels():
    rng = np.random.default_rng(0)
    outer, inner = rng.integers(-1, 2, (5, 6)).astype(float), rng.integers(-1, 2, (3, 4)).astype(float)
    whole = np.einsum("aij,bkl->abikjl", outer.reshape(5, 2, 3), inner.reshape(3, 2, 2)).reshape(15, 24)
    found = split_levels(whole, (4, 6))
    assert found is not None
    left, right, (n1, k1) = found
    assert (n1, k1) == (2, 3)
    again = np.einsum("aij,bkl->abikjl", left.reshape(5, 2, 3), right.reshape(3, 2, 2)).reshape(15, 24)
    assert np.array_equal(again, whole)
