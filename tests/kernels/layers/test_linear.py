"""STLLinear: what it computes, which rows see each other, how it is saved, copied and compiled."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from stl_algebra import BilinearAlgorithm, InvalidInput, TileFormat, save_encoders
from stl_kernels import STLFactors, STLLinear

STRASSEN = BilinearAlgorithm(
    "2",
    [[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0], [-1, 0, 1, 0], [0, 1, 0, -1]],
    [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]],
    [[1, 0, 0, 1, -1, 0, 1], [0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 0], [1, -1, 1, 0, 0, 1, 0]],
    "strassen",
)


def noisy(rank=5, tile="2x3x4"):
    t = TileFormat.parse(tile)
    rng = np.random.default_rng(3)
    return BilinearAlgorithm(
        t, *(rng.normal(size=s) for s in ((rank, t.x_size), (rank, t.w_size), (t.y_size, rank)))
    )


@pytest.mark.parametrize("shape", [(10,), (3, 10), (5, 3, 10), (2, 3, 4, 10), (0, 10), (0, 3, 10)])
@pytest.mark.parametrize("grouping", ["batch", "sequence", "rows"])
def test_strassen_layer_is_the_dense_layer(shape, grouping, tmp_path):
    linear = nn.Linear(10, 9).double()
    path = save_encoders(tmp_path / "s.safetensors", STRASSEN)
    for tiling in ("consecutive", "strided"):
        layer = STLLinear.from_linear(
            linear, path, row_grouping=grouping, tiling=tiling, permutation=torch.randperm(10)
        )
        x = torch.randn(shape, dtype=torch.float64)
        torch.testing.assert_close(layer(x), linear(x), rtol=1e-12, atol=1e-12)
        assert layer.distance(linear) < 1e-24


@pytest.mark.parametrize("batch_axis", [0, 1])
def test_batch_grouping_is_causal_and_sequence_grouping_is_not(batch_axis):
    linear = nn.Linear(12, 8)
    x = torch.randn(4, 6, 12)
    future = x.clone()
    (future[:, 3] if batch_axis == 0 else future[3]).add_(1.0)

    def past_changes(**arguments):
        layer = STLLinear.from_linear(linear, noisy(), **arguments)
        change = (layer(future) - layer(x)).detach()
        return bool((change[:, :3] if batch_axis == 0 else change[:3]).any())

    assert not past_changes(row_grouping="batch", batch_axis=batch_axis)
    if batch_axis == 0:
        assert past_changes(row_grouping="sequence")


@pytest.mark.parametrize("tiling", ["consecutive", "strided"])
def test_effective_map_is_the_layer_on_a_tile_row(tiling):
    linear = nn.Linear(10, 7).double()
    layer = STLLinear.from_linear(linear, noisy(), tiling=tiling, permutation=torch.randperm(10))
    x = torch.randn(2, 10, dtype=torch.float64)
    expected = (layer(x) - layer.bias).reshape(-1)
    torch.testing.assert_close(x.reshape(-1) @ layer.effective_map(), expected)
    dense = torch.kron(torch.eye(2, dtype=torch.float64), linear.weight.detach().t().contiguous())
    distance = float((layer.effective_map() - dense).square().sum() / dense.square().sum())
    assert layer.distance(linear) == pytest.approx(distance, rel=1e-10)


def test_factors_are_frozen_trainable_or_shared():
    linear = nn.Linear(8, 8)
    assert not STLLinear.from_linear(linear, STRASSEN).factors.encode_x.requires_grad
    shared = STLFactors(STRASSEN, trainable=True)
    first, second = (STLLinear.from_linear(linear, STRASSEN, factors=shared) for _ in range(2))
    second(first(torch.randn(4, 8))).sum().backward()
    assert shared.encode_x.grad is not None
    assert first.encoded_w.grad is not None
    assert len(list(nn.ModuleList([first, second]).parameters())) == 6
    with pytest.raises(InvalidInput, match="factors"):
        STLLinear.from_linear(linear, noisy(), factors=shared)


def test_copies_pickles_state_and_dtypes():
    layer = STLLinear.from_linear(nn.Linear(10, 9), noisy(), permutation=torch.randperm(10))
    x = torch.randn(3, 10)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    fresh = STLLinear(10, 9, noisy(), permutation=range(10))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(other(x), layer(x))
    assert all(type(v) is torch.Tensor for v in layer.state_dict().values())
    assert copy.deepcopy(layer).half()(x.half()).dtype == torch.float16
    assert copy.deepcopy(layer).bfloat16()(x.bfloat16()).dtype == torch.bfloat16
    assert copy.deepcopy(layer).to("meta")(x.to("meta")).shape == (3, 9)
    for part in ("tile=<2,3,4>", "rank=5", "row_grouping='batch'", "permuted"):
        assert part in repr(layer)


def test_a_layer_on_the_meta_device_gets_its_values_later():
    order = torch.randperm(10)
    layer = STLLinear.from_linear(nn.Linear(10, 9), noisy(), permutation=order)
    with torch.device("meta"):
        empty = STLLinear(10, 9, noisy(), permutation=range(10))
    assert all(t.is_meta for t in (*empty.parameters(), *empty.buffers()))
    assert all(p.is_meta for p in STLLinear(10, 9, noisy(), device="meta").parameters())
    empty.load_state_dict(layer.state_dict(), assign=True)
    x = torch.randn(3, 10)
    assert torch.equal(empty(x), layer(x))


@pytest.mark.slow
def test_inductor_compiles_the_whole_layer():
    layer = nn.Sequential(STLLinear.from_linear(nn.Linear(10, 9), noisy()), nn.GELU(), nn.Linear(9, 2))
    compiled = torch.compile(layer, fullgraph=True)
    x = torch.randn(5, 10)
    torch.testing.assert_close(compiled(x), layer(x))
    compiled(x).sum().backward()
    gradients = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    layer(x).sum().backward()
    torch.testing.assert_close(gradients, [p.grad for p in layer.parameters() if p.grad is not None])


@pytest.mark.slow
def test_compile_and_export_give_the_same_values():
    layer = STLLinear.from_linear(nn.Linear(10, 9), noisy())
    for x in (torch.randn(5, 10), torch.randn(3, 4, 10)):
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), layer(x))
        compiled(x).sum().backward()
        dynamic = {"x": {0: torch.export.Dim("batch", min=2)}}
        program = torch.export.export(layer, (x,), dynamic_shapes=dynamic).module()
        other = torch.randn(7, *x.shape[1:])
        torch.testing.assert_close(program(other), layer(other))


@pytest.mark.parametrize(
    ("argument", "change"),
    [
        ("row_grouping", {"row_grouping": "tokens"}),
        ("tiling", {"tiling": "diagonal"}),
        ("backend", {"backend": "gpu"}),
        ("permutation", {"permutation": [0] * 8}),
        ("encoders", {"encoders": 3}),
    ],
)
def test_wrong_arguments_are_named(argument, change):
    with pytest.raises(InvalidInput) as caught:
        STLLinear.from_linear(nn.Linear(8, 8), **{"encoders": STRASSEN, **change})
    assert caught.value.argument == argument


def test_wrong_layers_and_inputs_are_named():
    broken = nn.Linear(8, 8)
    broken.weight.data[0, 0] = float("nan")
    with pytest.raises(InvalidInput, match=r"linear\.weight: expected finite"):
        STLLinear.from_linear(broken, STRASSEN)
    with pytest.raises(InvalidInput, match=r"linear\.weight: expected a tensor with values, .*to_empty"):
        STLLinear.from_linear(nn.Linear(8, 8, device="meta"), STRASSEN)
    with pytest.raises(InvalidInput, match="weight: expected a tensor with values"):
        STLLinear(8, 8, STRASSEN).set_weight(torch.empty(8, 8, device="meta"), STRASSEN)
    with pytest.raises(InvalidInput, match="encode_x: expected finite"):
        STLFactors(STRASSEN.with_factors(encode_x=1e6 * STRASSEN.encode_x), dtype=torch.float16)
    with pytest.raises(InvalidInput, match="x: expected a tensor of shape"):
        STLLinear(8, 8, STRASSEN)(torch.randn(3, 7))
