"""Composites: structure as JSON, shared parts, masks that stay."""

import copy
import json

import pytest
import torch
from torch import nn

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm
from stl_models.composites.building import Builder, describe
from stl_models.composites.composite import (
    Borrowed,
    Composite,
    Masked,
    Scatter,
    Select,
    Sequence,
    Shared,
    Shift,
    Sum,
    effective,
    on_tiles,
    product,
)

EXACT = exact_algorithm(TileFormat(4, 4, 4))


def random_composite(tiles):
    torch.manual_seed(0)
    index = torch.tensor([1, 3, 4, 9])
    one, two = product(torch.randn(8, 4)), product(torch.randn(4, 12), torch.randn(12))
    parts = [on_tiles(p, EXACT, "batch") if tiles else p for p in (one, two)]
    rest = torch.tensor([0, 2, 5, 6, 7, 8, 10, 11])
    root = Sequence(
        Shift(torch.randn(12)), Sum(Select(index, 12), Sequence(Select(rest, 12), parts[0])), parts[1],
        Scatter(torch.arange(12) + 2, 16),
    )  # fmt: skip
    return Composite(root, 12, 16, "test")


@pytest.mark.parametrize("tiles", [False, True])
def test_effective_map_is_what_runs(tiles):
    module = random_composite(tiles)
    x = torch.randn(5, 3, 12)
    weight, bias = effective(module)
    assert torch.allclose(module(x).double(), x.double() @ weight + bias, atol=1e-5)
    assert torch.allclose(module.weight.double(), weight.t(), atol=1e-6)
    assert module.bias.shape == (16,)


@pytest.mark.parametrize("tiles", [False, True])
def test_structure_goes_through_json_and_the_state_dict_is_plain(tiles):
    module = random_composite(tiles)
    data = json.loads(json.dumps(describe(module)))
    other = Builder({("4x4x4", EXACT.rank): EXACT}, torch.float32).build(data)
    state = module.state_dict()
    assert all(type(t) is torch.Tensor for t in state.values())
    other.load_state_dict(state, assign=True)
    x = torch.randn(4, 2, 12)
    assert torch.equal(other(x), module(x))
    assert describe(other) == describe(module)


def test_a_wrong_description_is_named():
    with pytest.raises(InvalidInput, match="description"):
        Builder({}, torch.float32).build({"part": "dense", "in": 3})
    with pytest.raises(InvalidInput, match="part"):
        describe(nn.ReLU())


class Counting(nn.Linear):
    calls = 0

    def forward(self, x):
        Counting.calls += 1
        return super().forward(x)


def shared_pair():
    torch.manual_seed(0)
    Counting.calls = 0
    shared = Shared(Counting(8, 4), "a", 2)
    first = Composite(Sequence(shared, product(torch.randn(4, 8))), 8, 8)
    second = Composite(Sequence(Borrowed(shared, 1), product(torch.randn(4, 8))), 8, 8)
    return nn.ModuleDict({"a": first, "b": second})


def test_a_shared_part_is_computed_once_and_owned_once():
    both = shared_pair()
    x = torch.randn(3, 8)
    one, two = both["a"](x), both["b"](x)
    assert Counting.calls == 1
    assert sum(p.numel() for p in both.parameters()) == 32 + 4 + 2 * 32
    assert torch.allclose(
        one.double(), x.double() @ effective(both["a"])[0] + effective(both["a"])[1], atol=1e-5
    )
    assert torch.allclose(
        two.double(), x.double() @ effective(both["b"])[0] + effective(both["b"])[1], atol=1e-5
    )


def test_a_shared_part_never_answers_from_another_input_or_other_parameters():
    both = shared_pair()
    x = torch.randn(3, 8)
    both["a"](x)
    assert torch.equal(both["b"](x.clone()), both["b"](x.clone()))
    both["a"](x)
    x.mul_(2)
    after = both["b"](x)
    assert torch.allclose(
        after.double(), x.double() @ effective(both["b"])[0] + effective(both["b"])[1], atol=1e-5
    )
    both["a"](x)
    with torch.no_grad():
        both["a"].root.parts[0].part.weight.mul_(3)
    after = both["b"](x)
    assert torch.allclose(
        after.double(), x.double() @ effective(both["b"])[0] + effective(both["b"])[1], atol=1e-4
    )


def test_gradients_reach_a_shared_part_from_both_readers():
    both = shared_pair()
    x = torch.randn(3, 8)
    (both["a"](x).sum() + both["b"](x).sum()).backward()
    together = both["a"].root.parts[0].part.weight.grad.clone()
    both.zero_grad()
    both["a"](x.clone()).sum().backward()
    both["b"](x.clone()).sum().backward()
    assert torch.allclose(together, both["a"].root.parts[0].part.weight.grad, atol=1e-5)


def test_copies_share_among_themselves_only():
    both = shared_pair()
    x = torch.randn(3, 8)
    both["a"](x)
    copied = copy.deepcopy(both)
    assert copied["b"].root.parts[0].shared is copied["a"].root.parts[0]
    assert copied["b"].root.parts[0].shared is not both["a"].root.parts[0]


def test_a_mask_stays_through_training():
    torch.manual_seed(0)
    mask = (torch.rand(6, 8) > 0.5).float()
    layer = Masked(torch.randn(6, 8), mask, torch.zeros(6))
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        optimiser.zero_grad()
        layer(torch.randn(4, 8)).square().sum().backward()
        optimiser.step()
    with torch.no_grad():
        x = torch.eye(8)
        assert bool((layer(x) - layer(torch.zeros(1, 8)))[mask.t() == 0].abs().max() == 0)
