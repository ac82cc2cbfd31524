"""Fresh layers: where they start, what is trained, and how their steps differ from the dense layer's."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_kernels import STLLinear
from stl_kernels.layers.effective import map_metric, tile_maps
from stl_models import replace_linears_
from stl_models.training import MapDecay, Rates, parameter_groups, random_encoders
from stl_models.training.controls import low_rank_linears_
from stl_models.training.replacing import along_weights

STEPS, RATE, DECAY = 50, 0.05, 0.02
RATES = Rates(lr=RATE, encoded_lr=RATE, weight_decay=DECAY, decay="map")


def network(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 16), nn.GELU(), nn.Linear(16, 8)).to(dtype)


def problem(dtype=torch.float64):
    torch.manual_seed(1)
    x = torch.randn(32, 12, dtype=dtype)
    return x, torch.sin(x @ torch.randn(12, 8, dtype=dtype))


def train(model, optimiser):
    x, y = problem()
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return torch.tensor(losses, dtype=torch.float64)


def train_dense():
    model = network()
    groups = parameter_groups(model, RATES)
    return train(model, torch.optim.SGD(groups, RATE)), model


def train_exact(gradient):
    model = network()
    replace_linears_(model, "4x4x4-r49", gradient=gradient)
    optimiser = torch.optim.SGD(parameter_groups(model, RATES), RATE)
    MapDecay(model, DECAY).attach(optimiser)
    return train(model, optimiser), model


def encoder_of(name):
    from stl_kernels.layers.functional import as_algorithm

    return torch.tensor(as_algorithm(name).encode_w)


@pytest.mark.slow
def test_steps_along_the_weights_are_the_dense_layers():
    dense, reference = train_dense()
    exact, model = train_exact("weight")
    assert dense[-1] < 0.9 * dense[0]
    torch.testing.assert_close(exact, dense, rtol=0, atol=1e-10)
    for layer, wanted in ((model[0], reference[0]), (model[2], reference[2])):
        assert layer.distance(wanted) < 1e-18


class MapLayer(nn.Module):
    """A dense map of whole tiles, trained itself: x (n rows) to vec(x) B."""

    def __init__(self, layer):
        super().__init__()
        self.map = nn.Parameter(layer.effective_map())
        self.bias = nn.Parameter(layer.bias.detach().clone())
        self.shape = (layer.tile.n, layer.out_features)

    def forward(self, x):
        n, columns = self.shape
        return (x.reshape(len(x) // n, -1) @ self.map).reshape(-1, columns) + self.bias


@pytest.mark.slow
def test_free_steps_move_the_map_by_the_preconditioner_and_by_nothing_else():
    """B <- B - lr A A^T (dL/dB + decay B / n): the layers' maps trained with it have the same losses."""
    free, model = train_exact("encoded")
    dense, _ = train_dense()
    assert float((free - dense).abs().max()) > 1e-3
    fresh = network()
    layers = replace_linears_(fresh, "4x4x4-r49")
    maps = nn.Sequential(MapLayer(layers["0"]), nn.GELU(), MapLayer(layers["2"]))
    chain = tile_maps(layers["0"].factors).detach().double()
    preconditioner = chain @ chain.t()

    def precondition(module):
        n, k, m = 4, 4, 4

        def along(grad):
            total = grad + DECAY * module.map.detach() / n
            inner, columns = total.shape[0] // n, total.shape[1] // n
            blocks = total.view(n, inner // k, k, n, columns // m, m).permute(0, 2, 3, 5, 1, 4)
            moved = (preconditioner @ blocks.reshape(n * k * n * m, -1)).view(
                n, k, n, m, inner // k, columns // m
            )
            return moved.permute(0, 4, 1, 2, 5, 3).reshape(total.shape)

        module.map.register_hook(along)

    for place in (0, 2):
        precondition(maps[place])
    assert float((train(maps, torch.optim.SGD(maps.parameters(), RATE)) - free).abs().max()) < 1e-10
    torch.testing.assert_close(model[0].effective_map(), maps[0].map.detach(), rtol=0, atol=1e-10)


def test_the_gradient_through_an_encoded_weight_is_the_chain_of_decode_and_encode():
    """A C = K for an exact algorithm: a step along C C^T moves the weight by the dense gradient."""
    layer = STLLinear(8, 8, "4x4x4-r49", dtype=torch.float64)
    encode_w = encoder_of("4x4x4-r49")
    chain = tile_maps(layer.factors).detach() @ encode_w
    w = torch.randn(4, 4, dtype=torch.float64)
    kron = torch.einsum("ij,ab->iajb", torch.eye(4, dtype=torch.float64), w)
    torch.testing.assert_close((chain @ w.reshape(-1)).view(4, 4, 4, 4), kron)
    z = torch.randn(49, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(along_weights(z, encode_w).flatten(1), encode_w @ encode_w.t() @ z.flatten(1))


@pytest.mark.parametrize("rank", [24, 49])
def test_decay_is_the_derivative_of_the_maps_norm(rank):
    model = network()
    layer = replace_linears_(model, f"4x4x4-r{rank}")["0"]
    z = layer.encoded_w.detach().clone().requires_grad_()
    encode_x, decode = (p.detach() for p in layer.factors())
    blocks = torch.einsum("ra,rlj,yr->alyj", encode_x, z, decode)
    (blocks.square().sum() / 2 / layer.tile.n).backward()
    torch.testing.assert_close(MapDecay(model, 1.0).gradient(layer), z.grad)
    if rank == 49:
        power = (map_metric(layer.factors) @ z.flatten(1) * z.flatten(1)).sum()
        torch.testing.assert_close(power, network()[0].weight.square().sum())


@pytest.mark.parametrize("initialisation", ["scaled", "draw"])
@pytest.mark.parametrize("encoders", ["4x4x4-r24", "sorted", "random"])
def test_outputs_start_with_the_dense_variance(initialisation, encoders):
    from stl_algebra.published import encoders as published_encoders

    chosen = {
        "sorted": lambda: published_encoders("4x4x4", 24, profile="sorted"),
        "random": lambda: random_encoders("4x4x4", 24, seed=3),
    }.get(encoders, lambda: encoders)()
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Linear(64, 96, bias=False)).double()
    x = torch.randn(4096, 64, dtype=torch.float64)
    wanted = dense(x).square().mean()
    replace_linears_(dense, chosen, initialisation=initialisation)
    assert 0.9 < float((dense(x).square().mean() / wanted).detach()) < 1.1


def test_encoded_starts_are_those_of_from_linear_and_keep_the_output_where_exact():
    x, _ = problem()
    dense = network()
    wanted = dense(x)
    replace_linears_(dense, "4x4x4-r49")
    torch.testing.assert_close(dense(x), wanted)
    rough = network()
    replace_linears_(rough, 64 / 24)
    twin = STLLinear.from_linear(network()[0], "4x4x4-r24")
    assert rough[0].rank == 24
    assert torch.equal(rough[0].encoded_w, twin.encoded_w)


def test_factors_are_frozen_trained_by_layer_or_shared():
    for factors, pairs in (("frozen", 0), ("layer", 2), ("shared", 1)):
        model = network()
        layers = replace_linears_(model, "4x4x4-r24", factors=factors)
        groups = {g["name"]: g for g in parameter_groups(model, Rates(lr=1e-3, factor_lr=1e-5))}
        assert len(groups.get("factors", {"params": []})["params"]) == 2 * pairs
        assert len({id(layer.factors) for layer in layers.values()}) == (1 if factors == "shared" else 2)
        assert len(groups["encoded"]["params"]) == 2
        assert len(groups["others"]["params"]) == 2
        if pairs:
            assert groups["factors"]["lr"] == 1e-5
            assert groups["factors"]["weight_decay"] == 0.0


@pytest.mark.parametrize("rank", [24, 49])
def test_steps_on_encoded_weights_are_as_long_as_on_dense_ones(rank):
    """Random signs in every entry; and decay shrinks map and dense weights alike."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64)).double()
    replace_linears_(model, f"4x4x4-r{rank}", skip=("1",))
    rates = Rates(lr=1e-2, weight_decay=0.3)
    groups = {g["name"]: g for g in parameter_groups(model, rates)}
    before, layer = model[0].effective_map(), model[0]
    with torch.no_grad():
        layer.encoded_w.add_(torch.randn_like(layer.encoded_w).sign(), alpha=groups["encoded"]["lr"])
    moved = (layer.effective_map() - before).norm() / layer.tile.n**0.5
    assert float(moved) == pytest.approx(1e-2 * 64, rel=0.05)
    for group in ("encoded", "weights"):
        assert groups[group]["lr"] * groups[group]["weight_decay"] == pytest.approx(3e-3)


def test_gradients_of_weights_and_factors_are_those_of_differences():
    model = network()
    replace_linears_(model, "4x4x4-r24", factors="layer")
    x, y = problem()
    for p in model[0].parameters():
        assert p.requires_grad

    def loss():
        return F.mse_loss(model(x), y)

    loss().backward()
    torch.manual_seed(5)
    for p in (model[0].encoded_w, model[0].factors.encode_x, model[0].factors.decode):
        direction = torch.randn_like(p)
        with torch.no_grad():
            p.add_(direction, alpha=1e-6)
            above = loss()
            p.sub_(direction, alpha=2e-6)
            below = loss()
            p.add_(direction, alpha=1e-6)
        assert float((above - below) / 2e-6) == pytest.approx(float((p.grad * direction).sum()), rel=1e-5)


def test_autocast_trains_in_bfloat16_near_float32():
    model = network(dtype=torch.float32)
    replace_linears_(model, "4x4x4-r24")
    x, y = (t.float() for t in problem())
    wide = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        narrow = model(x)
        F.mse_loss(narrow.float(), y).backward()
    assert narrow.dtype == torch.bfloat16
    # Two layers, each of relative error sqrt(8.1e-6 A) at the encoders' amplification A.
    assert float((narrow - wide).detach().norm() / wide.detach().norm()) < 0.15
    assert model[0].encoded_w.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"initialisation": "zeros"}, "initialisation"),
        ({"factors": "some"}, "factors"),
        ({"gradient": "none"}, "gradient"),
        ({"skip": ("*",)}, "model"),
    ],
)
def test_refusals_name_the_argument(changes, named):
    with pytest.raises(InvalidInput) as raised:
        replace_linears_(network(), "4x4x4-r24", **changes)
    assert raised.value.argument == named


def test_a_ratio_that_nothing_reaches_and_a_converted_model_are_refused():
    with pytest.raises(InvalidInput, match="core ratio up to 4"):
        replace_linears_(network(), 5.0)
    model = network()
    replace_linears_(model, 2.0)
    assert model[0].rank == 32
    with pytest.raises(InvalidInput, match="converted already"):
        replace_linears_(copy.deepcopy(model), 2.0)
    with pytest.raises(InvalidInput) as raised:
        Rates(decay="some")
    assert raised.value.argument == "decay"


def test_a_layer_with_two_names_is_replaced_under_both():
    for replaced in (lambda m: replace_linears_(m, "2x2x2-r7"), lambda m: low_rank_linears_(m, 2.0)):
        shared = nn.Linear(8, 8)
        model = nn.Sequential(shared, nn.ReLU(), shared)
        (made,) = replaced(model).values()
        assert model[0] is model[2] is made
