"""Costs that are said: multiplications, weights against tensors, neighbours against replacing them."""

import pytest
import torch

from stl_algebra import TileFormat, encoders
from stl_kernels import STLLinear
from stl_kernels.layers.costs import costs, neighbour_dependence_of


@pytest.mark.parametrize(
    ("rank", "width", "low", "high"),
    [(24, 256, 1.7, 2.0), (24, 576, 2.1, 2.25), (49, 576, 1.06, 1.08), (24, 2048, 2.45, 2.55)],
)
def test_the_ratio_with_everything_is_the_formula(rank, width, low, high):
    found = costs(TileFormat(4, 4, 4), rank, width, width)
    assert found.core == 64 / rank
    assert found.all == pytest.approx(1 / (rank / 64 + 2 * rank / width))
    assert low < found.all < high
    assert found.weights == rank / 16


@pytest.mark.parametrize("sizes", [(8, 12), (10, 7)])
def test_weights_are_those_of_the_layer(sizes):
    layer = STLLinear(*sizes, encoders("4", 32))
    found = costs(layer.tile, layer.rank, *sizes)
    assert found.numbers == layer.encoded_w.numel()
    assert found.weights == layer.encoded_w.numel() / (sizes[0] * sizes[1])
    assert "core 2.00x" in repr(layer) or sizes == (10, 7)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [16, 32, 49])
def test_neighbours_are_replaced(rank):
    torch.manual_seed(0)
    layer = STLLinear(256, 256, encoders("4", rank), bias=False, row_grouping="rows", dtype=torch.float64)
    x, other = torch.randn(2, 400, 256, dtype=torch.float64)
    y = layer(x)
    moved = 0.0
    for row in range(4):
        changed = other.clone()
        changed[row::4] = x[row::4]
        moved += float((layer(changed)[row::4] - y[row::4]).detach().square().sum())
    expected = (moved / float(y.detach().square().sum())) ** 0.5
    assert layer.neighbour_dependence() == pytest.approx(expected, rel=0.03, abs=2e-6)
    assert neighbour_dependence_of(encoders("4", rank)) == pytest.approx(expected, rel=0.05, abs=2e-6)
