"""Captures of whole models of every kind, built here from their configs: right, or left out by name."""

import json

import numpy as np
import pytest
import torch

from stl_algebra.errors import InvalidInput
from stl_models.activations import CaptureOptions, capture
from stl_models.activations.captured import _aliases, stored_as
from stl_search.matrices.readers import load_matrices

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = [f"w{i}" for i in range(60)]
LENGTH, WINDOWS = 32, 40
TEXT = " ".join(np.random.default_rng(0).choice(WORDS, LENGTH * WINDOWS))
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
OPTIONS = CaptureOptions(rows=16, length=LENGTH)


@pytest.fixture
def saved(tmp_path):
    """Saves a model with a tokenizer of one id a word, and the text; gives (folder, text)."""

    def save(model):
        vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
        words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
        words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        fast = transformers.PreTrainedTokenizerFast(
            tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]"
        )
        fast.save_pretrained(folder)
        (tmp_path / "text.txt").write_text(TEXT)
        return folder, tmp_path / "text.txt"

    return save


def made(config, kind, seed=0):
    torch.manual_seed(seed)
    return kind(config).eval()


def bert(kind="BertModel", **more):
    return made(transformers.BertConfig(vocab_size=64, **SMALL, **more), getattr(transformers, kind))


def captured(saved, model, options=OPTIONS):
    folder, text = saved(model)
    out = folder.parent / "out.safetensors"
    report = capture(folder, text, out, options)
    pairs = {p.name.removeprefix("out:"): p for p in load_matrices(str(out))}
    assert list(pairs) == sorted(v.name for v in report.layers)
    for pair in pairs.values():
        assert len(pair.x) == len(pair.calibration) == options.rows
        assert all(np.isfinite(v).all() for v in (pair.x, pair.w, pair.calibration, pair.moments.second))
    return report, pairs


def inputs_of(model, name, forward):
    """What a layer reads in every window, by a hook of our own: (windows, rows, K)."""
    model.float()
    ids = torch.tensor([[2 + int(w[1:]) for w in TEXT.split()]]).reshape(WINDOWS, LENGTH)
    seen = []
    handle = model.get_submodule(name).register_forward_pre_hook(
        lambda _, args: seen.append(args[0].double())
    )
    per_window = []
    for window in ids:
        seen.clear()
        with torch.no_grad():
            forward(model, window[None])
        per_window.append(torch.cat([s.reshape(-1, s.shape[-1]) for s in seen]))
    handle.remove()
    return torch.stack(per_window).numpy()


def agrees(pair, rows):
    """Kept rows are rows of the test and calibration windows; moments are of all the latter."""
    testing = -(-len(pair.x) // (LENGTH // 8))
    calibration, test = (
        rows[:-testing].reshape(-1, rows.shape[-1]),
        rows[-testing:].reshape(-1, rows.shape[-1]),
    )
    scale = np.abs(rows).max()
    for kept, source in ((pair.x, test), (pair.calibration, calibration)):
        nearest = np.abs(kept[:, None] - source[None]).max(axis=2).min(axis=1)
        assert nearest.max() < 2e-3 * scale
    assert pair.moments.count == len(calibration)
    assert np.allclose(pair.moments.mean, calibration.mean(axis=0), rtol=1e-5, atol=1e-6 * scale)
    second = calibration.T @ calibration / len(calibration)
    assert np.abs(pair.moments.second - second).max() < 2e-3 * np.abs(second).max()


def plain(model, ids):
    model(input_ids=ids)


def written(model, ids):
    start = torch.full((1, 1), model.config.decoder_start_token_id)
    model(input_ids=ids, decoder_input_ids=torch.cat([start, ids[:, :-1]], dim=1))


@pytest.mark.slow
def test_bert_and_its_pooler_that_is_called_once_a_window(saved):
    model = bert()
    report, pairs = captured(saved, model)
    assert list(report.skipped) == ["pooler.dense"]
    assert "called once a window" in report.skipped["pooler.dense"]
    for name in ("encoder.layer.1.attention.self.key", "encoder.layer.0.output.dense"):
        agrees(pairs[name], inputs_of(model, name, plain))
        weight = model.get_submodule(name).weight.detach()
        assert np.allclose(pairs[name].w, weight.T, atol=1e-3 * float(weight.abs().max()))
    # Query, key and value read one tensor: its moments are stored once.
    layers = {v.name: v for v in report.layers}
    assert layers["encoder.layer.1.attention.self.key"].notes[0].endswith("layer.1.attention.self.query")
    self = "encoder.layer.0.attention.self"
    assert pairs[f"{self}.key"].moments is pairs[f"{self}.value"].moments
    assert pairs[f"{self}.key"].moments is not pairs["encoder.layer.0.intermediate.dense"].moments
    # As many windows as rows: the pooler has enough.
    short = CaptureOptions(("pooler*", "*.1.output.dense"), rows=16, length=8)
    report, pairs = captured(saved, model, short)
    assert {v.name: v.calls for v in report.layers} == {"pooler.dense": 1, "encoder.layer.1.output.dense": 1}
    assert pairs["pooler.dense"].moments.count < pairs["encoder.layer.1.output.dense"].moments.count
    assert "fewer than 4096" in report.layers[0].notes[-1]


@pytest.mark.slow
def test_t5_reads_each_window_and_writes_it(saved):
    config = transformers.T5Config(
        vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    model = made(config, transformers.T5ForConditionalGeneration)
    report, pairs = captured(saved, model)
    assert not report.skipped
    for name in ("encoder.block.1.layer.1.DenseReluDense.wo", "decoder.block.1.layer.1.EncDecAttention.k"):
        agrees(pairs[name], inputs_of(model, name, written))
    agrees(pairs["lm_head"], inputs_of(model, "lm_head", written))
    notes = {v.name: v.notes for v in report.layers}
    cross = "reads the same input as decoder.block.0.layer.1.EncDecAttention.k"
    assert cross in notes["decoder.block.1.layer.1.EncDecAttention.v"]
    assert any("tied to" in note and "shared" in note for note in notes["lm_head"])


@pytest.mark.slow
def test_gpt2_stores_its_weights_the_other_way_and_has_a_tied_head(saved):
    config = transformers.GPT2Config(vocab_size=64, n_positions=LENGTH, n_embd=16, n_layer=2, n_head=2)
    model = made(config, transformers.GPT2LMHeadModel)
    report, pairs = captured(saved, model, CaptureOptions(("*", "!*c_proj"), rows=16, length=LENGTH))
    assert not any("c_proj" in name for name in pairs)
    name = "transformer.h.1.attn.c_attn"
    assert pairs[name].w.shape == (16, 48)
    agrees(pairs[name], inputs_of(model, name, plain))
    notes = {v.name: v.notes for v in report.layers}
    assert any("tied to transformer.wte" in note for note in notes["lm_head"])
    folder, text = saved(model)
    with pytest.raises(InvalidInput, match="windows of 64 token ids") as long:
        capture(folder, text, folder / "o.safetensors", CaptureOptions(rows=4, length=64))
    assert "\n" not in str(long.value)


@pytest.mark.slow
def test_a_bf16_llama_beyond_what_float16_holds(saved):
    config = transformers.LlamaConfig(vocab_size=64, num_key_value_heads=2, **SMALL)
    model = made(config, transformers.LlamaForCausalLM)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(1e-7)
            layer.mlp.up_proj.weight.mul_(3e4)
            layer.mlp.gate_proj.weight.mul_(300)
    report, pairs = captured(saved, model.bfloat16())
    layers = {v.name: v for v in report.layers}
    down, q = (f"model.layers.0.{n}" for n in ("mlp.down_proj", "self_attn.q_proj"))
    assert np.abs(pairs[down].x).max() > 65504
    assert layers[down].dtypes[0] != "float16"
    assert layers[q].dtypes == ("float16", "float16", "bfloat16")
    assert np.array_equal(pairs[q].w, model.get_submodule(q).weight.detach().double().T)
    assert 0 < np.abs(pairs[q].w).max() < 1e-7
    agrees(pairs[down], inputs_of(model, down, plain))


@pytest.mark.slow
def test_layers_that_are_called_several_times_count_every_call(saved):
    config = transformers.AlbertConfig(vocab_size=64, embedding_size=16, **SMALL)
    model = made(config, transformers.AlbertModel)
    report, pairs = captured(saved, model)
    name = "encoder.albert_layer_groups.0.albert_layers.0.ffn"
    assert {v.name: v.calls for v in report.layers}[name] == 2
    agrees(pairs[name], inputs_of(model, name, plain))


@pytest.mark.slow
def test_what_cannot_be_captured_is_left_out_and_named(saved):
    model = bert(add_cross_attention=False)
    with torch.no_grad():
        model.encoder.layer[1].output.dense.weight[0, 0] = float("nan")
        model.encoder.layer[0].attention.self.query.weight.zero_()
    report, pairs = captured(saved, model)
    assert "NaN" in report.skipped["encoder.layer.1.output.dense"]
    assert "zero" in report.skipped["encoder.layer.0.attention.self.query"]
    assert "NaN" in report.skipped["pooler.dense"]
    assert "encoder.layer.1.intermediate.dense" in pairs


@pytest.mark.slow
def test_weights_that_the_files_lack_are_not_made_up(saved):
    folder, text = saved(bert("BertForMaskedLM"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    report = capture(folder, text, folder / "o.safetensors", CaptureOptions(rows=2, length=8))
    assert "do not hold" in report.skipped["pooler.dense"]


@pytest.mark.slow
def test_models_that_do_not_fit_are_refused_in_one_line(saved, tmp_path):
    pictures = transformers.ViTConfig(**SMALL, image_size=8, patch_size=4)
    folder, text = saved(made(pictures, transformers.ViTModel))
    out = tmp_path / "o.safetensors"
    with pytest.raises(InvalidInput, match="ViTModel") as refused:
        capture(folder, text, out)
    assert "\n" not in str(refused.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="model"):
        capture(tmp_path / "empty", text, out)
    folder, text = saved(bert())
    with pytest.raises(InvalidInput, match=r"encoder\.layer\.0\.attention\.self\.query"):
        capture(folder, text, out, CaptureOptions(("nothing*",)))
    text.write_text("w1 w2")
    with pytest.raises(InvalidInput, match="2 tokens"):
        capture(folder, text, out)
    assert not out.exists()
    few = transformers.BertConfig(vocab_size=20, **SMALL)
    folder, text = saved(made(few, transformers.BertModel))
    with pytest.raises(InvalidInput, match="ids below 20"):
        capture(folder, text, out, OPTIONS)


@pytest.mark.parametrize(
    ("field", "value"), [("rows", 0), ("moment_rows", 100), ("length", 1), ("seed", -1), ("rows", True)]
)
def test_options_are_checked(field, value):
    with pytest.raises(InvalidInput, match=field):
        CaptureOptions(**{field: value})


def test_the_narrowest_dtype_that_holds_the_values():
    torch.manual_seed(0)
    values = torch.randn(40, 30)
    assert stored_as(values).dtype == torch.float16
    assert stored_as(1e5 * values).dtype == torch.float32
    assert stored_as((1e5 * values).bfloat16()).dtype == torch.bfloat16
    assert stored_as(2e-9 * values).dtype == torch.float32
    # A negligible column does not ask for a wider one.
    values[:, 0] *= 1e-9
    assert stored_as(values).dtype == torch.float16
    for scale in (1e-12, 1e-3, 1e30):
        held = stored_as(scale * values)
        assert torch.isfinite(held).all()
        assert (held.double() - scale * values.double()).norm() < 2**-10 * (scale * values.double()).norm()


def test_shared_modules_and_tied_weights_are_noticed():
    first, second, third = (torch.nn.Linear(4, 4) for _ in range(3))
    third.weight = first.weight
    notes = _aliases(torch.nn.ModuleDict({"a": first, "b": first, "c": second, "d": third}))
    assert notes["a"] == ["the same module as b", "its weight is tied to d"]
    assert "c" not in notes
    assert notes["d"] == ["its weight is tied to a, b"]
