"""Fine-tuning: what is trained and what stays, causality, and the command from folder to folder."""

import json

import pytest
import torch
from click.testing import CliRunner

from stl_algebra.errors import InvalidInput
from stl_kernels import STLLinear
from stl_models import load
from stl_models.composites.composite import Masked
from stl_models.metrics import perplexity, predicts_tokens
from stl_models.training.language import LanguageRecipe, fine_tune, make_trainable
from stl_models.training.parameters import Rates
from stl_search.cli import main

transformers = pytest.importorskip("transformers")
FAST = Rates(lr=3e-3, weight_decay=0.0)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def windows():
    """Every token is followed by the next one."""
    starts = torch.arange(48) % 32
    return (starts[:, None] + torch.arange(12)) % 32


def recipe(**changes):
    fields = {"steps": 30, "warmup": 2, "judge_every": 15, "batch": 8, "rates": FAST, "rank": 24, **changes}
    return LanguageRecipe(**fields)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["stl", "2:4", "lora", "dense"])
@pytest.mark.parametrize("loss", ["next-token", "distillation"])
def test_every_method_learns_and_leaves_the_rest(model, windows, tmp_path, method, loss):
    if method == "lora":
        pytest.importorskip("peft")
    chosen = recipe(method=method, loss=loss, rank=24 if method == "stl" else 4)
    torch.manual_seed(1)
    teacher = transformers.LlamaForCausalLM(model.config).eval()
    made = make_trainable(model, chosen, windows)
    before = {n: p.detach().clone() for n, p in made.named_parameters()}
    found = fine_tune(made, windows, windows[:8], chosen, tmp_path, teacher=teacher)
    changed = {n for n, p in made.named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in made.named_parameters() if p.requires_grad}
    assert changed <= trained
    assert not {n for n in trained if "embed" in n or "norm" in n or "lm_head" in n}
    assert found["trained"] == sum(before[n].numel() for n in trained)
    first, last = found["rows"][0], found["rows"][-1]
    assert last["loss"] < first["loss"]
    assert last["tokens"] == 30 * 8 * 12
    if loss == "next-token":
        assert last["perplexity"] < found["before"]


def test_masks_stay_two_of_four(model, windows, tmp_path):
    chosen = recipe(method="2:4", rates=Rates(lr=3e-3, weight_decay=0.1))
    made = make_trainable(model, chosen, windows)
    fine_tune(made, windows, windows[:8], chosen, tmp_path)
    masked = [m for m in made.modules() if isinstance(m, Masked)]
    assert len(masked) == 7
    for layer in masked:
        assert int((layer.weight != 0).view(layer.out_features, -1, 4).sum(-1).max()) == 2


def test_tiles_keep_a_causal_model_causal(model, windows, tmp_path):
    chosen = recipe(method="stl", steps=2)
    made = make_trainable(model, chosen, windows)
    fine_tune(made, windows, windows[:8], chosen, tmp_path)
    assert predicts_tokens(made, windows)


@pytest.mark.slow
def test_trained_factors_move_with_their_own_rate(model, windows, tmp_path):
    chosen = recipe(method="stl", factors="shared", rates=Rates(lr=3e-3, factor_lr=0.0))
    made = make_trainable(model, chosen, windows)
    layers = [m for m in made.modules() if isinstance(m, STLLinear)]
    before = layers[0].factors.decode.detach().clone()
    assert len({id(layer.factors) for layer in layers}) == 1
    fine_tune(made, windows, windows[:8], chosen, tmp_path)
    assert torch.equal(layers[0].factors.decode, before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 2}, "batch: expected at least 4 windows a process, the rows of a tile"),
        ({"batch": 64}, "text: expected at least 64 windows"),
        ({"loss": "distillation"}, "teacher"),
        ({"method": "pruned"}, "method"),
        ({"method": "converted"}, "model: expected a converted model"),
    ],
)
def test_refusals(model, windows, tmp_path, changes, words):
    def run():
        chosen = recipe(**changes)
        fine_tune(make_trainable(model, chosen, windows), windows, windows, chosen, tmp_path)

    with pytest.raises(InvalidInput, match=words):
        run()


@pytest.mark.slow
def test_the_command_tunes_a_dense_folder_and_then_what_came_out(model, make_folder):
    place = make_folder(model)

    def run(source, target, *more):
        done = CliRunner().invoke(
            main,
            [
                *("train", "lm", "--model", str(source), "--text", str(place / "text.txt")),
                *("--evaluate", str(place / "text.txt"), "--out", str(place / target), "--steps", "3"),
                *(
                    "--warmup",
                    "1",
                    "--length",
                    "12",
                    "--judge-every",
                    "2",
                    "--device",
                    "cpu",
                    "--json",
                    *more,
                ),
            ],
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    first = run(place / "model", "run")
    assert first["dense"] > 1
    assert {p.name for p in (place / "run").iterdir()} == {
        "checkpoint.safetensors", "log.csv", "result.json", "curve.png", "model",
    }  # fmt: skip
    kept = load(place / "run" / "model")
    assert sum(isinstance(m, STLLinear) for m in kept.modules()) == 7
    again = run(place / "run" / "model", "next", "--dense", str(place / "model"))
    assert again["recipe"]["method"] == "converted"
    assert again["before"] == pytest.approx(first["rows"][-1]["perplexity"], rel=1e-4)
    assert perplexity(kept, torch.arange(12).view(1, 12)) > 1
