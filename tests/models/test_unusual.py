"""Models as nobody foresaw them: they are converted rightly, or refused in words before any work."""

import copy

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_models import ConversionConfig, convert_, load
from stl_models.composites.composite import Composite
from stl_models.planning.plan import make_plan
from stl_models.text import read_text
from stl_search.cli.main import main

transformers = pytest.importorskip("transformers")
EXACT = ConversionConfig(ratio=1.2, recipes=("exact",))
CHEAP = ConversionConfig(ratio=2.0, repair="always", sensitivity="kfac", objective="hidden")


def states(width=16, seed=0):
    torch.manual_seed(seed)
    return [torch.randn(8, 6, width) for _ in range(4)]


class Twice(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Pair(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y, y.argmax(-1)


class Own(nn.Linear):
    def forward(self, x):
        return x @ self.weight.t() + self.bias


class Router(nn.Module):
    """Layers of classes that derive from a linear one, the middle one by the class."""

    def __init__(self, kind):
        super().__init__()
        self.up, self.middle, self.down = Own(16, 32), kind(32, 32), nn.Linear(32, 16)

    def forward(self, x):
        y = self.middle(self.up(x).relu())
        return self.down(y[0] * (1 + y[1][..., None]) if isinstance(y, tuple) else y)


@pytest.mark.parametrize("kind", [Twice, Pair])
def test_a_layer_that_answers_more_than_its_product_is_left_alone(kind):
    torch.manual_seed(0)
    model, x = Router(kind), states()
    expected = model(x[0]).detach()
    report = convert_(model, EXACT, x)
    assert isinstance(model.middle, kind)
    assert "something else than the product" in report.plan.structure.left["middle"]
    # A class of its own that computes the product is converted.
    assert isinstance(model.up, Composite)
    assert isinstance(model.down, Composite)
    assert torch.allclose(model(x[0]), expected, atol=1e-4 * float(expected.abs().max()))


class Keyword(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return self.down(self.up(input=x).relu())


def test_a_layer_that_is_called_by_keyword_is_left_alone_and_said():
    torch.manual_seed(0)
    model = Keyword()
    report = convert_(model, EXACT, states())
    assert report.plan.structure.left == {"up": "it is not called with one tensor by position"}
    assert isinstance(model.down, Composite)


class Gate(nn.Module):
    """Hidden channels that meet as many others, made of all channels of another layer: none can go."""

    def __init__(self):
        super().__init__()
        self.gate, self.value, self.down = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(self.gate(x).sigmoid() * self.value(x).cumsum(-1))


def test_channels_that_cannot_be_left_out_are_no_neurons():
    torch.manual_seed(0)
    model, x = nn.Sequential(Gate(), Gate()), states()
    assert make_plan(model, CHEAP, x[0]).links.neurons == ()
    report = convert_(model, CHEAP, x)
    assert report.ratios["core"] >= 2
    assert model(x[0]).shape == x[0].shape


class Scaled(nn.Module):
    """Scales what a layer answered as some attentions do their queries; nothing before it has gradients."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(61, 16)
        self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, ids):
        hidden = self.first(self.words(ids))
        hidden /= 3
        return self.second(hidden.relu())


def test_a_model_may_change_a_layers_answer_in_place():
    torch.manual_seed(0)
    x = [torch.randint(0, 61, (8, 6)) for _ in range(4)]
    assert convert_(Scaled(), CHEAP, x).ratios["core"] >= 2


class Experts(nn.Module):
    """Rows go to one of three layers, as their first channel says; a router may be wrong about poison."""

    def __init__(self):
        super().__init__()
        self.router = nn.Linear(16, 3)
        self.experts = nn.ModuleDict({str(i): nn.Sequential(nn.Linear(16, 32), nn.ReLU()) for i in range(3)})
        self.down = nn.Linear(32, 16)

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        chosen = self.router(rows).argmax(-1)
        hidden = rows.new_zeros(len(rows), 32)
        for i in range(3):
            if bool((chosen == i).any()):
                hidden[chosen == i] = self.experts[str(i)](rows[chosen == i])
        return self.down(hidden).view_as(x)


def test_values_that_hardly_vary_do_not_drown_the_others_in_a_short_dtype():
    # Two layers without a bend: 16 of the 48 dimensions between them vary, and narrow values keep 32.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 48), nn.Linear(48, 16)).to(torch.bfloat16)
    dense, x = copy.deepcopy(model).float(), [y.to(torch.bfloat16) for y in states()]
    report = convert_(model, ConversionConfig(ratio=1.2, recipes=("exact", "value-basis")), x)
    assert [d.cut.recipe for d in report.allocation.decisions] == ["value-basis"]
    wanted = dense(x[0].float())
    assert (model(x[0]).float() - wanted).norm() < 0.03 * wanted.norm()


def test_layers_that_a_router_chooses():
    torch.manual_seed(0)
    model, x = Experts(), states()
    dense = copy.deepcopy(model)
    convert_(model, EXACT, x)
    assert isinstance(model.experts["0"][0], Composite)
    assert torch.allclose(model(x[0]), dense(x[0]), atol=1e-4)


class Towers(nn.Module):
    def __init__(self):
        super().__init__()
        self.pictures = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(2))
        self.words = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.ReLU()) for _ in range(2))

    def forward(self, x, pictures=None):
        for block in [] if pictures is None else self.pictures:
            x = x + block(pictures)
        for block in self.words:
            x = block(x)
        return x


def test_a_tower_that_the_calibration_does_not_reach_is_left_alone():
    torch.manual_seed(0)
    model = Towers()
    report = convert_(model, EXACT, states())
    assert report.plan.structure.blocks == ("words.0", "words.1")
    assert report.plan.chained
    assert set(report.plan.structure.left.values()) == {"not reached by the example"}
    assert isinstance(model.words[1][0], Composite)


class Stacked(nn.Module):
    """Experts in one tensor of three axes."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 16)
        self.experts = nn.Parameter(torch.randn(3, 16, 16))

    def forward(self, x):
        return torch.einsum("bti,eij->btj", self.up(x), self.experts)


def test_weights_in_no_linear_layer_are_said():
    report = convert_(Stacked(), EXACT, states())
    assert any(note.startswith("75% of the weights are in no linear layer") for note in report.notes)
    assert report.plan.structure.others == {"experts": 768}
    normed = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(16, 16)), nn.ReLU())
    assert make_plan(normed, EXACT, states()[0]).structure.others == {}


def test_what_a_models_own_code_raises_is_said_with_what_it_was_given():
    class Picture(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 16)

        def forward(self, x, picture=None):
            return self.layer(x) * picture.shape[0]

    with pytest.raises(
        InvalidInput, match=r"Picture can be called with, got AttributeError on x \[2, 6, 16\]"
    ):
        convert_(Picture(), EXACT, [{"x": states()[0]}])


def test_another_dtype_is_refused_before_any_work(llama, batches):
    with pytest.raises(InvalidInput, match="dtype: expected the model's own, float32"):
        convert_(llama, ConversionConfig(dtype="bf16"), batches)


def command(place, *more):
    given = ["convert", place / "model", "--calibrate", place / "text.txt", "--out", place / "out"]
    given += ["--tokens", 512, "--length", 16, "--repair", "never", "--recipe", "exact", "--ratio", 1.2]
    return CliRunner().invoke(main, [str(a) for a in (*given, *more)])


def refused(place, words, *more):
    done = command(place, *more)
    assert done.exit_code == 2
    assert words in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1
    assert not (place / "out").exists()


@pytest.mark.slow
def test_a_refused_command_leaves_nothing_and_may_be_mended(llama, make_folder):
    place = make_folder(llama)
    refused(place, "core ratio of at most", "--ratio", "50")
    # The same folder is free for the next try; windows' mark of UTF-8 is no word.
    (place / "text.txt").write_bytes(b"\xef\xbb\xbf" + (place / "text.txt").read_bytes())
    assert read_text(place / "text.txt").startswith("word")
    done = command(place, "--dtype", "bf16")
    assert done.exit_code == 0, done.output
    assert load(place / "out").dtype == torch.bfloat16


@pytest.mark.slow
def test_a_folder_or_a_text_that_cannot_be_used_is_refused_in_words(llama, make_folder):
    llama.config.num_hidden_layers = 3
    place = make_folder(llama)
    refused(place, "without model.layers.2.")
    short = transformers.GPT2Config(vocab_size=61, n_embd=16, n_layer=2, n_head=2, n_positions=12)
    make_folder(transformers.GPT2LMHeadModel(short))
    refused(place, "GPT2LMHeadModel can be called with, got IndexError on input_ids [1, 16]")
    few = transformers.GPT2Config(
        vocab_size=9, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    make_folder(transformers.GPT2LMHeadModel(few))
    refused(place, "tokenizer: expected tokens below 9")
    (place / "text.txt").write_text("word1 word2 " * 500, "utf-16")
    refused(place, "text: expected a text in UTF-8")
    (place / "model" / "config.json").write_text("[1]")
    (place / "text.txt").write_text("word1 word2 " * 500)
    refused(place, "expected a config.json that describes a model")
