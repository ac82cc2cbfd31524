"""Weights kept in oneDNN's order: the same product, made anew when the weights change, gone with them."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stl_kernels import STLLinear, unpacked
from stl_kernels.backends import packed as packing

pytestmark = pytest.mark.skipif(
    not (torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"),
    reason="packs on CPUs with AVX-512 only",
)


@pytest.fixture
def counted(monkeypatch):
    """How often weights were packed, as a list of their shapes."""
    made = []
    pack = packing._pack

    def counting(encoded_w):
        made.append(tuple(encoded_w.shape))
        return pack(encoded_w)

    monkeypatch.setattr(packing, "_pack", counting)
    return made


def layer_and_dense(wide=128, high=192, **options):
    torch.manual_seed(1)
    dense = torch.nn.Linear(wide, high)
    return STLLinear.from_linear(dense, "4x4x4-r49", row_grouping="rows", **options), dense


@pytest.mark.parametrize("tiling", ["strided", "consecutive"])
@pytest.mark.parametrize("rows", [512, 1024, 1027, 1500, 1700, 2048])
@torch.no_grad()
def test_product_is_the_dense_one_for_full_and_partial_blocks(counted, rows, tiling):
    layer, dense = layer_and_dense(tiling=tiling)
    x = torch.randn(rows, 128)
    y = layer(x)
    assert counted == [(49, 32, 48)]
    torch.testing.assert_close(y, dense(x), rtol=0, atol=2e-5)
    with unpacked():
        torch.testing.assert_close(y, layer(x), rtol=0, atol=2e-5)


@torch.no_grad()
def test_the_same_input_gives_the_same_bits_every_time_and_packs_once(counted):
    layer, _ = layer_and_dense()
    x = torch.randn(1100, 128)
    first = layer(x)
    assert all(torch.equal(first, layer(x)) for _ in range(4))
    layer(x[:600])
    assert len(counted) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.mul_(-2.0),
        lambda w: w.data.mul_(-2.0),
        lambda w: setattr(w, "data", -2.0 * w.data),
        lambda w: w.detach().numpy().__imul__(-2.0),
    ],
)
@torch.no_grad()
def test_changed_weights_are_packed_anew(counted, change):
    layer, _ = layer_and_dense()
    layer.bias.zero_()
    x = torch.randn(1024, 128)
    before = layer(x)
    change(layer.encoded_w)
    assert torch.equal(layer(x), -2.0 * before)
    assert len(counted) == 2


@torch.no_grad()
def test_a_loaded_state_is_used(counted):
    layer, _ = layer_and_dense()
    x = torch.randn(1024, 128)
    layer(x)
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    state["encoded_w"] *= 0.5
    layer.load_state_dict(state)
    with unpacked():
        expected = layer(x)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_weights_that_are_trained_are_not_packed_and_frozen_ones_are(counted):
    layer, dense = layer_and_dense()
    x = torch.randn(1024, 128, requires_grad=True)
    layer(x).square().sum().backward()
    assert counted == []
    layer.encoded_w.requires_grad_(False)
    x.grad = None
    layer(x).square().sum().backward()
    assert len(counted) == 1
    own, x.grad = x.grad, None
    dense(x).square().sum().backward()
    torch.testing.assert_close(own, x.grad, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_tensors_that_stand_in_for_the_parameter_are_not_packed(counted):
    layer, dense = layer_and_dense()
    x = torch.randn(1024, 128)
    given = {name: value.detach().clone() for name, value in layer.named_parameters()}
    y = torch.func.functional_call(layer, given, x)
    torch.testing.assert_close(y, dense(x), rtol=0, atol=2e-5)
    assert counted == []


@torch.no_grad()
def test_threads_share_one_copy(counted):
    layer, dense = layer_and_dense()
    inputs = [torch.randn(1024, 128) for _ in range(8)]
    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(torch.no_grad()(layer), inputs))
    for x, y in zip(inputs, outputs, strict=True):
        torch.testing.assert_close(y, dense(x), rtol=0, atol=2e-5)
    assert len(counted) == 1


@pytest.mark.parametrize(
    ("wide", "rows", "dtype"),
    [(128, 64, torch.float32), (120, 1024, torch.float32), (128, 1024, torch.bfloat16)],
)
@torch.no_grad()
def test_few_rows_odd_widths_and_other_dtypes_take_the_batched_product(counted, wide, rows, dtype):
    layer, dense = layer_and_dense(wide)
    x = torch.randn(rows, wide)
    error = layer.to(dtype)(x.to(dtype)).float() - dense(x)
    assert float(error.norm() / dense(x).norm()) < (1e-5 if dtype == torch.float32 else 0.05)
    assert counted == []


@torch.no_grad()
def test_the_copy_goes_with_the_layer_and_where_it_is_not_wanted():
    gc.collect()
    before = len(packing._kept)
    layer, _ = layer_and_dense()
    x = torch.randn(1024, 128)
    layer(x)
    assert len(packing._kept) == before + 1
    del layer
    gc.collect()
    assert len(packing._kept) == before
    layer, _ = layer_and_dense()
    layer(x)
    with unpacked():
        layer(x)
        assert len(packing._kept) == 0


def test_weights_made_in_inference_mode_still_run():
    with torch.inference_mode():
        layer, dense = layer_and_dense()
        x = torch.randn(1024, 128)
        torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=2e-5)


@torch.no_grad()
def test_a_compiled_layer_follows_its_weights(counted):
    layer, _ = layer_and_dense()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = torch.randn(1024, 128)
    assert torch.equal(compiled(x), layer(x))
    assert len(counted) == 1
    layer.encoded_w.mul_(3.0)
    assert torch.equal(compiled(x), layer(x))
