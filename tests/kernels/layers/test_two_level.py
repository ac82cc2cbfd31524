"""`TwoLevelLinear`: exact where both levels are, the algorithm written out where they are not."""

import pytest
import torch
from torch import nn

from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import strassen, winograd
from stl_algebra.published import encoders, two_level
from stl_kernels import Peaks, STLLinear, predict
from stl_kernels.layers.two_level import TwoLevelLinear

EXACT = TwoLevel(strassen(), winograd())
ROUGH = TwoLevel(strassen(), encoders("4x4x4", 32))


def linear(k, m, bias=True, dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Linear(k, m, bias, dtype=dtype)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 5), (1, 1, 1), (0,), (3, 0)])
@pytest.mark.parametrize("grouping", ["batch", "sequence", "rows"])
@pytest.mark.parametrize("bias", [True, False])
def test_exact_levels_are_the_dense_layer(shape, grouping, bias):
    dense = linear(10, 7, bias)
    layer = TwoLevelLinear.from_linear(dense, EXACT, row_grouping=grouping)
    x = torch.randn(*shape, 10, dtype=torch.float64)
    torch.testing.assert_close(layer(x), dense(x))


def test_approximate_levels_have_the_error_of_the_algorithm():
    dense = linear(128, 64, False)
    nn.init.normal_(dense.weight)
    layer = TwoLevelLinear.from_linear(dense, ROUGH, row_grouping="rows")
    x = torch.randn(512, 128, dtype=torch.float64)
    wanted = dense(x)
    error = ((layer(x) - wanted).square().sum() / wanted.square().sum()).item()
    assert error == pytest.approx(ROUGH.scores.nmse, rel=0.1)


def test_one_tile_is_what_the_written_out_layer_computes():
    # Row a n2 + p of the written out algorithm is row p n1 + a of the layer: a block has every n1-th row.
    t, n1 = ROUGH.tile, ROUGH.outer.tile.n
    order = torch.arange(t.n).view(-1, n1).t().flatten()
    dense = linear(t.k, t.m, False)
    x = torch.randn(t.n, t.k, dtype=torch.float64)
    flat = STLLinear.from_linear(dense, ROUGH.flat, row_grouping="rows")
    made = TwoLevelLinear.from_linear(dense, ROUGH, row_grouping="rows")
    torch.testing.assert_close(made(x)[order], flat(x[order]))


def test_nothing_crosses_a_sequence_by_default():
    dense = linear(16, 16)
    layer = TwoLevelLinear.from_linear(dense, ROUGH)
    x = torch.randn(8, 4, 16, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3] += 1
    assert torch.equal(layer(x)[:, :3], layer(changed)[:, :3])


@pytest.mark.slow
def test_gradients_and_training():
    layer = TwoLevelLinear(8, 8, EXACT, dtype=torch.float64)
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))
    layer(x).square().sum().backward()
    assert all(product.encoded_w.grad is not None for product in layer.products)


def test_state_dict_goes_round():
    one, two = (TwoLevelLinear(8, 4, EXACT) for _ in range(2))
    two.load_state_dict(one.state_dict())
    x = torch.randn(4, 8)
    assert torch.equal(one(x), two(x))


def test_it_reads_names_and_refuses_other_things():
    assert TwoLevelLinear(8, 8, "2x2x2-r7*2x2x2-r7").rank == 49
    for wrong in (strassen(), "4x4x4-r32", 3):
        with pytest.raises(InvalidInput):
            TwoLevelLinear(8, 8, wrong)
    with pytest.raises(InvalidInput, match="permutation"):
        TwoLevelLinear.from_linear(linear(4, 4), EXACT, permutation=(0, 1, 2, 3))
    with pytest.raises(InvalidInput, match="shape"):
        TwoLevelLinear(8, 8, EXACT)(torch.randn(4, 7))


def test_its_prediction_weighs_arithmetic_against_memory():
    large = two_level("4x4x4-r48*4x4x4-r32")
    shape = (8192, 8192, 8192)
    slow, fast = (Peaks("a device", {"float32": flops}, 1e11, 0.0, "made up") for flops in (1e11, 1e16))
    # Where arithmetic counts, 144 multiplications an element beat 1536; where memory does, one pass.
    for peaks, better in ((slow, large), (fast, large.flat)):
        totals = {name: predict(shape, a, "float32", peaks).total for name, a in
                  (("levels", large), ("flat", large.flat))}  # fmt: skip
        assert (totals["levels"] < totals["flat"]) == (better is large)
