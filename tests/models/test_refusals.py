"""What cannot be converted is refused by name before anything is changed; what looks odd and works, works."""

import copy

import pytest
import torch
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_models import ConversionConfig, convert_, load, save
from stl_models.composites.composite import Composite
from stl_models.text import token_batches

EXACT = ConversionConfig(ratio=1.3, recipes=("exact",))


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))


def refused(model, words, config=EXACT, data=None):
    modules = dict(model.named_modules())
    with pytest.raises(InvalidInput, match=words):
        convert_(model, config, [torch.randn(8, 16)] if data is None else data)
    assert {n: type(m) for n, m in model.named_modules()} == {n: type(m) for n, m in modules.items()}


def test_a_lazy_layer():
    refused(nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 16)), "0: it has no weights yet")


def test_a_quantised_layer():
    model = mlp()
    model[2].qweight = torch.zeros(4, dtype=torch.int32)
    refused(model, "2: its weights are quantised")
    whole = mlp()
    whole[0].weight = nn.Parameter(torch.zeros(32, 16, dtype=torch.int8), requires_grad=False)
    refused(whole, "0: its weights are quantised")


def test_a_converted_layer():
    model = mlp()
    convert_(model, EXACT, [torch.randn(8, 16)])
    refused(model, "0: it is converted already")


@pytest.mark.parametrize("rows", [torch.randn(1, 16), torch.ones(8, 16)], ids=["one row", "all alike"])
def test_calibration_that_tells_nothing(rows):
    refused(mlp(), "rows that differ", ConversionConfig(ratio=1.6), [rows])


def test_one_row_is_enough_for_exact_tiles_and_for_running():
    model = mlp()
    x = torch.randn(1, 16)
    expected = model(x).detach()
    convert_(model, EXACT, [x])
    assert torch.allclose(model(x), expected, atol=1e-5)
    assert torch.allclose(model(x[0]), expected[0], atol=1e-5)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_layer_narrower_than_a_tile(width):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, width))
    x = [torch.randn(64, width) for _ in range(3)]
    expected = model(x[0]).detach()
    report = convert_(copy.deepcopy(model), ConversionConfig(ratio=1.2), x)
    assert report.ratios["core"] >= 1.2
    convert_(model, ConversionConfig(ratio=1.0, recipes=("exact",)), x)
    assert torch.allclose(model(x[0]), expected, atol=1e-5)
    # Nothing is won on them, and they are not padded to tiles.
    assert all(p.shape[-1] > 1 for n, p in model.named_parameters() if "encoded" in n)


class Shared(nn.Module):
    """One layer by two names, called once by each."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.middle = nn.Linear(16, 16)
        self.again = self.first

    def forward(self, x):
        return self.again(torch.relu(self.middle(torch.relu(self.first(x)))))


def test_a_layer_with_two_names_is_converted_once_and_said(tmp_path):
    torch.manual_seed(0)
    model = Shared()
    skeleton = copy.deepcopy(model)
    x = torch.randn(32, 16)
    expected = model(x).detach()
    report = convert_(model, ConversionConfig(ratio=1.3, recipes=("exact", "pivoted-low-rank")), [x] * 2)
    assert isinstance(model.first, Composite)
    assert model.again is model.first
    assert any("more than once" in note and "first" in note for note in report.notes)
    assert torch.allclose(model(x), expected, atol=1e-5)
    save(model, tmp_path / "out")
    loaded = load(tmp_path / "out", skeleton)
    assert loaded.again is loaded.first
    assert torch.equal(loaded(x), model(x))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = (nn.Linear(16, 16) for _ in range(3))
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(torch.relu(self.middle(torch.relu(self.first(x)))))


def test_layers_with_one_weight_are_left_alone_and_listed():
    torch.manual_seed(0)
    model = Tied()
    report = convert_(model, EXACT, [torch.randn(8, 16)])
    assert model.last.weight is model.first.weight
    assert isinstance(model.middle, Composite)
    left = report.plan.structure.left
    assert left.keys() == {"first", "last"}
    assert all("tied" in why for why in left.values())


class Pieces:
    """A tokenizer that cuts words in two, the first of a text otherwise than others."""

    def __call__(self, text, add_special_tokens=False, **_):
        found = [i for n, word in enumerate(text.split()) for i in (1 if n else 3, len(word))]
        return {"input_ids": found}


def test_one_word_of_several_tokens():
    with pytest.raises(InvalidInput, match="one word over and over"):
        token_batches(Pieces(), "lobster " * 500, length=8)
    assert token_batches(Pieces(), "lobster salad " * 500, length=8)
