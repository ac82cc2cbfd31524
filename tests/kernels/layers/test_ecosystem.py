"""A layer in other people's code: function transforms, readers of `.weight`, frozen and odd dense layers."""

import warnings

import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput, encoders
from stl_kernels import STLLinear, stl_matmul
from stl_kernels.layers.dense import is_dense, read_dense, sizes_of
from stl_kernels.layers.options import LayerOptions

EXACT, ROUGH = encoders("4", 49), encoders("4", 32)


@pytest.fixture(params=[EXACT, ROUGH], ids=["exact", "approximate"])
def layer(request):
    return STLLinear.from_linear(nn.Linear(12, 8).double(), request.param, tiling="strided")


@pytest.mark.slow
def test_function_transforms_see_the_layer(layer):
    x = torch.randn(5, 4, 12, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(layer, x[0])
    torch.testing.assert_close(torch.func.jacrev(layer)(x[0]), jacobian)
    torch.testing.assert_close(torch.func.jacfwd(layer)(x[0]), jacobian)
    tangent = torch.randn_like(x)
    value, derivative = torch.func.jvp(layer, (x,), (tangent,))
    torch.testing.assert_close(value, layer(x))
    torch.testing.assert_close(derivative, layer(tangent) - layer.bias)
    each = torch.stack([layer(part) for part in x])
    torch.testing.assert_close(torch.func.vmap(layer)(x), each)
    w = torch.randn(12, 8, dtype=torch.float64)
    gradient = torch.func.grad(lambda v: stl_matmul(x, v, EXACT).square().sum())(w)
    torch.testing.assert_close(gradient, 2 * torch.einsum("bik,bim->km", x, x @ w))


@pytest.mark.slow
def test_transforms_make_no_noise_of_their_own():
    dense, x = nn.Linear(8, 8), torch.randn(4, 8)
    ours = STLLinear.from_linear(dense, EXACT)
    torch.func.jvp(dense, (x,), (x,))  # torch has things to say when it is first asked
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        torch.func.jvp(ours, (x,), (x,))
        torch.func.vmap(ours)(x[:, None])


@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
@pytest.mark.parametrize("sizes", [(12, 8), (10, 7)])
def test_the_weight_is_what_a_row_sees_in_the_mean(tiling, sizes):
    dense = nn.Linear(*sizes).double()
    options = LayerOptions(tiling=tiling, permutation=tuple(torch.randperm(sizes[0]).tolist()))
    for algorithm in (EXACT, ROUGH):
        layer = STLLinear.from_linear(dense, algorithm, options=options)
        own = layer.effective_map().view(4, sizes[0], 4, sizes[1])
        mean = sum(own[i, :, i] for i in range(4)) / 4
        torch.testing.assert_close(layer.weight, mean.t())
        assert layer.weight.dtype == torch.float64
        assert not layer.weight.requires_grad
    torch.testing.assert_close(STLLinear.from_linear(dense, EXACT).weight, dense.weight.detach())
    with pytest.raises(AttributeError):
        layer.weight = torch.zeros(2)


def test_modules_that_read_weights_work():
    x = torch.randn(3, 5, 8)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    expected = encoder(x), attention(x, x, x)[0]
    for module, name in ((encoder, "linear1"), (encoder, "linear2"), (attention, "out_proj")):
        setattr(module, name, STLLinear.from_linear(getattr(module, name), EXACT))
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), expected[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(attention(x, x, x)[0], expected[1], atol=1e-5, rtol=1e-5)


def test_what_was_frozen_stays_frozen_and_no_random_number_is_drawn():
    dense = nn.Linear(8, 8)
    dense.weight.requires_grad_(False)
    state = torch.random.get_rng_state()
    layer = STLLinear.from_linear(dense, ROUGH)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (layer.encoded_w.requires_grad, layer.bias.requires_grad) == (False, True)


class Transposed(nn.Module):
    """As transformers' Conv1D: the weight is (K, M)."""

    def __init__(self, nf, nx):
        super().__init__()
        self.nf = nf
        self.weight = nn.Parameter(torch.randn(nx, nf))
        self.bias = nn.Parameter(torch.randn(nf))

    def forward(self, x):
        return x @ self.weight + self.bias


@pytest.mark.parametrize("sizes", [(12, 8), (8, 8)])
def test_transposed_layers_are_taken(sizes):
    module = Transposed(sizes[1], sizes[0])
    layer = STLLinear.from_linear(module, EXACT)
    x = torch.randn(4, sizes[0])
    torch.testing.assert_close(layer(x), module(x), atol=1e-5, rtol=1e-5)
    assert is_dense(module)
    assert sizes_of(module) == sizes_of(nn.Linear(*sizes)) == sizes
    assert not is_dense(nn.Embedding(4, 4))


def test_layers_without_numbers_are_refused_in_words():
    lazy = nn.LazyLinear(8)
    with pytest.raises(InvalidInput, match="not yet initialised; run the model once"):
        read_dense(lazy)
    quantised = nn.Linear(8, 8)
    quantised.weight = nn.Parameter(torch.zeros(8, 8, dtype=torch.int8), requires_grad=False)
    with pytest.raises(InvalidInput, match=r"floating-point weights, got Linear in torch\.int8; a quantised"):
        STLLinear.from_linear(quantised, EXACT)
    for other in (nn.Embedding(4, 4), nn.Conv2d(1, 1, 1), nn.ReLU()):
        with pytest.raises(InvalidInput, match=r"expected a torch\.nn\.Linear, got " + type(other).__name__):
            STLLinear.from_linear(other, EXACT)


def test_options_are_a_value():
    options = LayerOptions(tiling="strided", permutation=torch.tensor([1, 0]), fused=True)
    assert options.permutation == (1, 0)
    assert LayerOptions.from_json(options.as_json()) == options
    assert hash(options) == hash(LayerOptions.of(options, {}))
    assert LayerOptions.of(options, {"tiling": "consecutive"}).tiling == "consecutive"
    with pytest.raises(InvalidInput, match="version 2; upgrade"):
        LayerOptions.from_json({"version": 2})
    with pytest.raises(InvalidInput, match="row_groups: expected one of the options row_grouping"):
        STLLinear(8, 8, EXACT, row_groups="rows")
    with pytest.raises(InvalidInput, match="permutation: expected each index from 0 to 7 once, got 2"):
        STLLinear(8, 8, EXACT, options=options)
