"""Layers by name, and conversions, run exact algorithms in bases that amplify rounding errors less."""

import pytest
import torch

from stl_algebra import encoders
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm
from stl_kernels import STLLinear
from stl_kernels.layers.functional import as_algorithm


def _excess(algorithm, seed=0, size=240):
    """Error of a bfloat16 layer beyond that of the dense one, relative to the output."""
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(size, size, generator=generator).bfloat16()
    x = torch.randn(size, size, generator=generator).bfloat16()
    linear = torch.nn.Linear(size, size, bias=False, dtype=torch.bfloat16)
    linear.weight.data.copy_(w)
    layer = STLLinear.from_linear(linear, algorithm, row_grouping="rows")
    true = x.double() @ w.double().t()
    with torch.no_grad():
        errors = [(f(x).double() - true).square().sum() / true.square().sum() for f in (layer, linear)]
    return float(errors[0] - errors[1])


@pytest.mark.slow
@pytest.mark.parametrize("sides", [(3, 3, 3), (3, 4, 4), (2, 4, 4), (2, 3, 3)])
def test_the_bfloat16_error_of_exact_layers_halves(sides):
    exact = exact_algorithm(TileFormat(*sides))
    assert _excess(companion(exact)) < _excess(exact) / 2


@pytest.mark.slow
def test_the_default_of_conversions_has_half_the_error_of_strassen_twice():
    """The exact <4,4,4> of plans: 48 products, A = 8, where Strassen's algorithm twice has 16."""
    assert _excess(companion(exact_algorithm(TileFormat(4, 4, 4)))) < 0.52 * _excess(encoders("4x4x4", 49))


@pytest.mark.slow
def test_a_published_name_gives_half_precision_the_companion_and_a_value_itself():
    exact = encoders("4x4x4", 49)
    for dtype in (torch.float16, torch.bfloat16):
        assert as_algorithm("4x4x4-r49", dtype) == companion(exact) != exact
        assert as_algorithm(exact, dtype) == exact
    for dtype in (None, torch.float32, torch.float64):
        assert as_algorithm("4x4x4-r49", dtype) == exact
    assert as_algorithm("4x4x4-r32") == encoders("4x4x4", 32)


def test_a_layer_that_changed_its_dtype_keeps_its_bases():
    layer = STLLinear(8, 12, "4x4x4-r49", bias=False, dtype=torch.bfloat16, row_grouping="rows").float()
    weight, x = torch.randn(12, 8), torch.randn(16, 8)
    layer.set_weight(weight, "4x4x4-r49")
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ weight.t(), rtol=1e-4, atol=1e-4)
