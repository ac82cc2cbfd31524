"""What is found in a model: by its modules and by asking it, never by names."""

import copy

import pytest
import torch
from torch import nn

from stl_models import convert_
from stl_models.planning.config import ConversionConfig
from stl_models.planning.plan import make_plan
from stl_models.structure.modules import find_structure
from stl_models.structure.probing import find_pairs
from stl_models.structure.tracing import trace


def names_of(pairs):
    return {(*p.producers, p.consumer) for p in pairs}


@pytest.mark.slow
def test_llama_is_understood(llama, batches):
    structure = find_structure(llama)
    assert len(structure.linears) == 14
    assert structure.left == {"lm_head": "outside the blocks"}
    seen = trace(llama, list(structure.linears), structure.blocks, batches[0])
    assert seen.chained
    block = "model.layers.0"
    assert (
        f"{block}.self_attn.q_proj",
        f"{block}.self_attn.k_proj",
        f"{block}.self_attn.v_proj",
    ) in seen.inputs
    assert (f"{block}.mlp.gate_proj", f"{block}.mlp.up_proj") in seen.inputs
    ends = {f"model.layers.{i}.{n}" for i in (0, 1) for n in ("self_attn.o_proj", "mlp.down_proj")}
    assert seen.residual == ends
    neurons, values = find_pairs(llama, list(seen.calls), batches[0])
    assert names_of(neurons) == {
        tuple(f"model.layers.{i}.mlp.{n}_proj" for n in ("gate", "up", "down")) for i in (0, 1)
    }
    assert {(v.value, v.output) for v in values} == {
        (f"model.layers.{i}.self_attn.v_proj", f"model.layers.{i}.self_attn.o_proj") for i in (0, 1)
    }
    # Four heads of 12 channels in two groups.
    assert values[0].heads.shape == (2, 2, 12)
    assert torch.equal(values[0].sources, torch.arange(24).view(2, 12))
    assert torch.equal(values[0].heads.flatten(), torch.arange(48))


@pytest.mark.slow
def test_bert_is_understood(bert, batches):
    structure = find_structure(bert)
    assert len(structure.linears) == 12
    seen = trace(bert, list(structure.linears), structure.blocks, batches[0])
    neurons, values = find_pairs(bert, list(seen.calls), batches[0])
    assert len(neurons) == len(values) == 2
    assert values[0].heads.shape == (4, 1, 12)
    assert len(seen.residual) == 4


def test_fused_projections_are_not_taken_for_values(batches):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=61, n_embd=48, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2Model(config).eval()
    structure = find_structure(model)
    seen = trace(model, list(structure.linears), structure.blocks, batches[0])
    neurons, values = find_pairs(model, list(seen.calls), batches[0])
    assert not values
    assert len(neurons) == 2
    # An addition inside an activation function is no residual stream.
    assert not any(n.endswith("c_fc") for n in seen.residual)


class ReadTwice(nn.Module):
    """Hidden channels that `down` reads one by one, and that something else reads too."""

    def __init__(self, also):
        super().__init__()
        self.up, self.down, self.other = nn.Linear(16, 32), nn.Linear(32, 8), nn.Linear(32, 8)
        self.also = also

    def forward(self, x):
        hidden = self.up(x).relu()
        y = self.down(hidden)
        if self.also == "a layer":
            return y + self.other(hidden.flip(-1).cumsum(-1))
        return (y, hidden) if self.also == "the output" else y


@pytest.mark.parametrize("also", ["nothing", "a layer", "the output"])
def test_channels_that_something_else_reads_are_no_neurons(also):
    torch.manual_seed(0)
    model = ReadTwice(also)
    layers = ["up", "down", *(["other"] if also == "a layer" else [])]
    neurons, values = find_pairs(model, layers, torch.randn(4, 16))
    assert not values
    assert names_of(neurons) == ({("up", "down")} if also == "nothing" else set())


def test_a_plain_network_without_blocks():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
    plan = make_plan(model, ConversionConfig(), torch.randn(4, 16))
    assert names_of(plan.links.neurons) == {("0", "2")}
    assert not plan.chained
    assert not plan.problems


class Stages(nn.Module):
    """Stages of layers, a list of lists or of dictionaries, and blocks of another kind after them."""

    def __init__(self, kind):
        super().__init__()
        layer = lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))  # noqa: E731
        make = (lambda a, b: nn.ModuleList([a, b])) if kind == "lists" else (
            lambda a, b: nn.ModuleDict({"a": a, "b": b})
        )  # fmt: skip
        self.stages = nn.ModuleList(make(layer(), layer()) for _ in range(2))
        self.last = nn.ModuleList([layer()])

    def forward(self, x):
        for stage in self.stages:
            for layer in stage if isinstance(stage, nn.ModuleList) else stage.values():
                x = x + layer(x)
        for layer in self.last:
            x = layer(x)
        return x


@pytest.mark.parametrize("kind", ["lists", "dictionaries"])
def test_layers_in_lists_of_lists_are_all_converted(kind):
    torch.manual_seed(0)
    model = Stages(kind)
    dense, x = copy.deepcopy(model), [torch.randn(4, 6, 16) for _ in range(3)]
    if kind == "lists":
        blocks = [f"stages.{i}.{j}" for i in (0, 1) for j in (0, 1)]
        assert find_structure(model).blocks == (*blocks, "last.0")
    report = convert_(model, ConversionConfig(ratio=1.3), x)
    assert len(report.errors) == 10
    assert report.ratios["core"] >= 1.3
    torch.testing.assert_close(model(x[0]), dense(x[0]), rtol=1e-4, atol=1e-5)


BENDS = {
    "relu": torch.relu,
    "leaky relu": nn.LeakyReLU(),
    "absolute": torch.abs,
    "clamped at 8": lambda y: y.clamp(-8, 8),
    "the largest": lambda y: y * (y >= y.topk(8, -1).values[..., -1:]),
    "hard tanh": nn.Hardtanh(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
}


class Bent(nn.Module):
    """An MLP on sequences; with `attends` tokens are averaged, as one head of equal weights would do."""

    def __init__(self, bend, attends=False):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 8)
        self.bend, self.attends = bend, attends

    def forward(self, x):
        hidden = self.bend(self.up(x))
        return self.down(hidden.mean(1, keepdim=True).expand_as(hidden) if self.attends else hidden)


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("bend", BENDS.values(), ids=BENDS)
def test_what_bends_is_never_taken_for_values_that_are_added_up(bend, attends):
    torch.manual_seed(0)
    model, batch = Bent(bend, attends), torch.randn(2, 5, 16)
    neurons, values = find_pairs(model, ["up", "down"], batch)
    assert not values
    # A channel that counts only where others do not is no neuron either.
    assert names_of(neurons) == (set() if bend is BENDS["the largest"] else {("up", "down")})
    straight = find_pairs(Bent(nn.Identity(), attends), ["up", "down"], batch)[1]
    assert [tuple(v.heads.shape) for v in straight] == [(1, 1, 32)]


def test_what_is_left_alone_is_listed_with_its_reason(llama):
    structure = find_structure(llama, ("*.q_proj",))
    assert structure.left["model.layers.0.self_attn.q_proj"] == "skipped by '*.q_proj'"
    llama.lm_head.weight = llama.model.embed_tokens.weight
    assert find_structure(llama, everything=True).left["lm_head"].startswith("its weight is tied")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda layer: layer.weight.data.fill_(float("nan")), "NaN"),
        (lambda layer: layer.to("meta"), "meta device"),
        (lambda layer: setattr(layer.weight, "quant_state", 1), "quantised"),
    ],
)
def test_problems_name_the_layer(llama, spoil, words):
    spoil(llama.model.layers[1].mlp.up_proj)
    plan = make_plan(llama, ConversionConfig())
    assert len(plan.problems) == 1
    assert "model.layers.1.mlp.up_proj" in plan.problems[0]
    assert words in plan.problems[0]


def test_a_lazy_layer_is_named():
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, 8))
    assert "no weights yet" in find_structure(model).problems["0"]


@pytest.mark.slow
def test_the_plan_counts_from_shapes(llama, batches):
    plan = make_plan(llama, ConversionConfig(ratio=2.0, recipes=("exact", "pivoted-low-rank")), batches[0])
    totals = plan.totals()
    assert totals["dense"] == sum(k * m for k, m in plan.structure.linears.values())
    assert totals["core_ratio"] >= 2.0
    assert totals["full_ratio"] < totals["core_ratio"]
    assert all(r.verdict.startswith("convert: pivoted-low-rank, on tiles") for r in plan.rows)
    dense = make_plan(llama, ConversionConfig(tiles="never", recipes=("pivoted-low-rank",)), batches[0])
    assert all("dense" in r.verdict for r in dense.rows)
    assert dense.totals()["full_ratio"] == pytest.approx(dense.totals()["core_ratio"])


def test_a_device_in_the_table_gives_times_and_verdicts(llama, batches):
    config = ConversionConfig(
        device="H200", dtype="bf16", tiles="where-faster", recipes=("exact", "pivoted-low-rank")
    )
    plan = make_plan(llama, config, batches[0])
    assert all(r.seconds is not None and r.seconds[0] > 0 for r in plan.rows)
    # 48 features are far below what a GPU needs: no tiles there, and the plan says so.
    assert all("tiles do not pay" in r.verdict for r in plan.rows)
