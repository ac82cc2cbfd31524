"""Whole conversions of tiny models: ratios, exactness, causality, repair, errors."""

import copy

import pytest
import torch
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_kernels import STLLinear
from stl_models import ConversionConfig, convert_
from stl_models.composites.composite import Composite
from stl_models.structure.tracing import run_model
from stl_models.training.distillation import distil, split

RECIPES = ("exact", "pivoted-low-rank", "shared-input", "neurons", "value-basis", "2:4")


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.slow
def test_exact_changes_rounding_only(llama, batches):
    dense = logits(llama, batches[0])
    report = convert_(llama, ConversionConfig(ratio=1.3, recipes=("exact",)), batches)
    assert report.ratios["core"] == pytest.approx(64 / 48)
    assert torch.allclose(logits(llama, batches[0]), dense, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.3, 1.6, 2.0])
def test_the_ratio_is_met_by_what_runs(bert, batches, ratio):
    report = convert_(bert, ConversionConfig(ratio=ratio), batches)
    assert report.ratios["core"] >= ratio * (1 - 1e-9)
    assert report.allocation.ratio == pytest.approx(report.ratios["core"])
    assert len([m for m in bert.modules() if isinstance(m, Composite)]) == 12
    assert report.ratios["everything"] < report.ratios["core"]
    assert isinstance(report.as_json()["decisions"], list)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_no_token_reaches_back_with_any_recipe(llama, batches, recipe):
    config = ConversionConfig(
        ratio=1.3 if recipe == "exact" else 2.0 if recipe == "2:4" else 1.45,
        recipes=tuple(dict.fromkeys((recipe,) if recipe == "2:4" else ("exact", recipe))),
        tiles="never" if recipe == "2:4" else "always",
    )  # fmt: skip
    convert_(llama, config, batches)
    batch = batches[0]["input_ids"].clone()
    before = logits(llama, {"input_ids": batch})
    batch[:, 9] = (batch[:, 9] + 7) % 61
    after = logits(llama, {"input_ids": batch})
    assert float((after[:, :9] - before[:, :9]).abs().max()) == 0.0
    assert float((after[:, 9:] - before[:, 9:]).abs().max()) > 0


@pytest.mark.slow
def test_every_recipe_takes_part(llama, batches):
    config = ConversionConfig(ratio=2.5, recipes=("exact", "shared-input", "neurons", "value-basis"))
    convert_(llama, config, batches)
    used = {m.recipe for m in llama.modules() if isinstance(m, Composite)}
    assert any("neurons" in name for name in used)
    assert any("shared-input" in name for name in used)


@pytest.mark.slow
def test_repair_is_kept_only_where_it_helps_on_held_out_rows(bert, batches):
    report = convert_(bert, ConversionConfig(ratio=2.0, held_out=0.34), batches)
    for block in report.blocks.values():
        errors = block["held_out_error"]
        assert set(errors) == {"plain", "repaired"}
        assert block["repaired"] == (errors["repaired"] < errors["plain"])


@pytest.mark.slow
def test_repair_helps_where_there_are_many_rows(bert):
    torch.manual_seed(2)
    data = [{"input_ids": torch.randint(0, 61, (16, 16))} for _ in range(24)]
    other = {"input_ids": torch.randint(0, 61, (32, 16))}
    dense = bert(**other).last_hidden_state.detach()
    errors = {}
    for repair in ("never", "always"):
        model = copy.deepcopy(bert)
        convert_(
            model, ConversionConfig(ratio=3.0, repair=repair, recipes=("exact", "pivoted-low-rank")), data
        )
        errors[repair] = float((model(**other).last_hidden_state.detach() - dense).square().sum())
    assert errors["always"] < errors["never"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model(bert, batches):
    other = copy.deepcopy(bert)
    convert_(bert, ConversionConfig(), batches)
    convert_(other, ConversionConfig(), batches)
    assert all(
        torch.equal(a, b)
        for a, b in zip(bert.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.slow
def test_overrides_and_skip(bert, batches):
    from stl_models import Override

    config = ConversionConfig(
        ratio=1.2, skip=("*.query",), overrides=(Override("*.value", ()), Override("*", ("exact",)))
    )
    convert_(bert, config, batches)
    names = {n for n, m in bert.named_modules() if isinstance(m, Composite)}
    assert not any(n.endswith(("query", "value")) for n in names)
    assert any(n.endswith("key") for n in names)


@pytest.mark.slow
def test_padding_does_not_count(bert):
    torch.manual_seed(0)
    ids = torch.randint(1, 61, (8, 16))
    mask = torch.ones_like(ids)
    mask[:, 12:] = 0
    spoiled = torch.where(mask == 1, ids, torch.full_like(ids, 5))
    models = [copy.deepcopy(bert), copy.deepcopy(bert)]
    for model, tokens in zip(models, (ids, spoiled), strict=True):
        convert_(
            model,
            ConversionConfig(sensitivity="error", held_out=0),
            [{"input_ids": tokens, "attention_mask": mask}] * 2,
        )
    one, two = (m.encoder.layer[0].attention.self.query.weight for m in models)
    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "at least one batch"),
        ([{"input_ids": torch.full((1, 1), 3)}], "rows that differ"),
        ([{"input_ids": torch.full((4, 8), 3)}], "rows that differ"),
        ([{"pixels": torch.zeros(1)}], "called with"),
    ],
)
def test_useless_calibration_is_named(llama, data, words):
    before = copy.deepcopy(llama.state_dict())
    with pytest.raises(InvalidInput, match=words):
        convert_(llama, ConversionConfig(), data)
    assert all(torch.equal(v, llama.state_dict()[k]) for k, v in before.items())


@pytest.mark.slow
def test_a_converted_model_is_not_converted_again(llama, batches):
    convert_(llama, ConversionConfig(ratio=1.3, recipes=("exact",)), batches)
    with pytest.raises(InvalidInput, match="converted already"):
        convert_(llama, ConversionConfig(), batches)


def test_a_target_out_of_reach_says_what_can_be_reached(llama, batches):
    with pytest.raises(InvalidInput, match=r"at most 1\.33"):
        convert_(llama, ConversionConfig(ratio=2.0, recipes=("exact",)), batches)


def test_a_layer_narrower_than_a_tile_and_odd_widths():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 21), nn.ReLU(), nn.Linear(21, 2))
    x = [torch.randn(64, 3) for _ in range(3)]
    dense = model(x[0]).detach()
    convert_(model, ConversionConfig(ratio=1.0, recipes=("exact",)), x)
    assert torch.allclose(model(x[0]), dense, atol=1e-5)
    convert_(
        copy.deepcopy(nn.Sequential(nn.Linear(9, 11), nn.ReLU(), nn.Linear(11, 7))),
        ConversionConfig(ratio=1.05),
        [torch.randn(99, 9)] * 2,
    )


def test_a_module_that_is_used_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(16, 16)
            self.two = self.one

        def forward(self, x):
            return self.two(torch.relu(self.one(x)))

    torch.manual_seed(0)
    model = Twice()
    x = [torch.randn(64, 16) for _ in range(4)]
    dense = model(x[0]).detach()
    report = convert_(model, ConversionConfig(ratio=1.3, recipes=("exact",)), x)
    assert model.one is model.two
    assert torch.allclose(model(x[0]), dense, atol=1e-5)
    assert any("more than once" in note for note in report.notes)


@pytest.mark.slow
def test_half_precision(llama, batches):
    model = llama.to(torch.bfloat16)
    dense = logits(model, batches[0]).float()
    convert_(model, ConversionConfig(ratio=1.3, recipes=("exact",)), batches)
    got = logits(model, batches[0]).float()
    assert float((got - dense).norm() / dense.norm()) < 0.05


@pytest.mark.slow
def test_distillation_lowers_the_held_out_loss(llama):
    torch.manual_seed(3)
    batches = [{"input_ids": torch.randint(0, 61, (16, 16))} for _ in range(24)]
    dense = copy.deepcopy(llama)
    fitted, held = split(batches)
    convert_(llama, ConversionConfig(ratio=4.0, sensitivity="error"), fitted)
    done = distil(llama, dense, fitted, held, steps=20)
    assert done.after < done.before
    assert 0 < done.steps <= 20


@pytest.mark.slow
def test_distillation_takes_back_steps_that_do_not_help(llama, batches):
    dense = copy.deepcopy(llama)
    fitted, held = split(batches)
    convert_(llama, ConversionConfig(ratio=2.0, sensitivity="error"), fitted)
    before = {name: value.clone() for name, value in llama.state_dict().items()}
    done = distil(llama, dense, fitted, held, steps=8, learning_rate=1e3, patience=2)
    assert done.after == done.before
    assert done.steps == 3
    assert all(torch.equal(value, before[name]) for name, value in llama.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(("tile", "exact"), [("8x8x8", 512 / 336), ("2x2x2", 8 / 7)])
def test_other_exact_tiles_share_the_ratio_otherwise(llama, batches, tile, exact):
    report = convert_(llama, ConversionConfig(ratio=1.6, tile=tile, recipes=("pivoted-low-rank",)), batches)
    assert report.ratios["core"] >= 1.6
    tiles = [m for m in llama.modules() if isinstance(m, STLLinear)]
    assert tiles
    assert all(m.tile.slug == tile and m.tile.products / m.rank == pytest.approx(exact) for m in tiles)


@pytest.mark.slow
def test_a_predicted_time_is_a_target(llama, batches):
    config = ConversionConfig(device="H200", dtype="", seconds=1.0, ratio=None, batch=4, length=8)
    assert convert_(llama, config, batches).ratios["core"] > 0


def test_configuration_goes_through_json():
    import json

    config = ConversionConfig(ratio=1.7, skip=("a*",), dtype="bf16")
    assert ConversionConfig.from_json(json.loads(json.dumps(config.as_json()))) == config
    with pytest.raises(InvalidInput, match="version"):
        ConversionConfig.from_json({"version": 99})
    with pytest.raises(InvalidInput, match="exactly one"):
        ConversionConfig(ratio=2.0, loss=0.1)
    with pytest.raises(InvalidInput, match="recipe"):
        ConversionConfig(recipes=("nothing",))
    with pytest.raises(InvalidInput, match="tile: expected sides of at most 8, got 4x16x4"):
        ConversionConfig(tile="4x16x4")
    with pytest.raises(InvalidInput, match='tile: expected a size such as "4"'):
        ConversionConfig(tile="four")
    assert config.with_changes(loss=0.1).ratio is None


def t5(kind, **sizes):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    return getattr(transformers, kind)(transformers.T5Config(vocab_size=61, **sizes)).eval()


@pytest.mark.slow
def test_an_encoder_and_decoder_whose_states_are_read_by_every_block():
    model = t5("T5Model", d_model=48, d_ff=96, num_layers=2, num_heads=4, d_kv=12, decoder_start_token_id=0)
    data = [{"input_ids": torch.randint(3, 61, (8, 16))} for _ in range(4)]
    data = [{**d, "decoder_input_ids": d["input_ids"].flip(1)} for d in data]
    report = convert_(model, ConversionConfig(ratio=1.8, held_out=0.3), data)
    assert report.ratios["core"] >= 1.8
    assert any("one block" in note for note in report.notes)


@pytest.mark.slow
def test_an_mlp_with_relu_on_sequences_stays_itself_on_exact_tiles():
    sizes = {"d_model": 32, "d_ff": 64, "num_layers": 2, "num_heads": 2, "d_kv": 16}
    model = t5("T5Model", **sizes, decoder_start_token_id=0)
    ids = torch.randint(6, 61, (8, 16))
    wanted = model(input_ids=ids, decoder_input_ids=ids).last_hidden_state
    data = [{"input_ids": d, "decoder_input_ids": d} for d in torch.randint(6, 61, (3, 8, 16))]
    assert convert_(model, ConversionConfig(ratio=1.3), data).ratios["core"] >= 1.3
    given = model(input_ids=ids, decoder_input_ids=ids).last_hidden_state
    torch.testing.assert_close(given, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_an_encoder_and_decoder_reads_a_window_and_writes_it():
    sizes = {"d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2, "d_kv": 16}
    model = t5("T5ForConditionalGeneration", **sizes, decoder_start_token_id=5)
    ids = torch.randint(6, 61, (3, 7))
    shifted = torch.cat([torch.full((3, 1), 5), ids[:, :-1]], dim=1)
    wanted = model(input_ids=ids, decoder_input_ids=shifted).logits
    torch.testing.assert_close(run_model(model, {"input_ids": ids}).logits, wanted)
    data = [{"input_ids": torch.randint(6, 61, (8, 16))} for _ in range(3)]
    assert convert_(model, ConversionConfig(ratio=1.8), data).ratios["core"] >= 1.8
