"""Conversion with one block in memory at a time is the conversion of the whole model, bit for bit."""

import copy
import hashlib
import weakref

import pytest
import torch
from torch import nn

from stl_models import ConversionConfig, convert_, folders, load, make_plan
from stl_models.folders import Calibration, convert_folder, plan_folder
from stl_models.statistics import streams
from stl_models.statistics.keeping import Keep
from stl_models.storage.dense import load_dense, open_dense
from stl_models.storage.shards import contents, shard_of
from stl_models.structure.residence import Lazy, residence_of, resident

transformers = pytest.importorskip("transformers")


def calibration(folder):
    return Calibration(folder / "text.txt", rows=1024, length=16, batch=8)


def digests(folder):
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def both(folder, config, monkeypatch):
    """Folders of the streamed conversion and of the whole one."""
    streamed, _, _ = convert_folder(folder / "model", calibration(folder), folder / "streamed", config)
    with monkeypatch.context() as patch:
        patch.setattr(folders, "open_dense", lambda *_: (None, "the test wants it"))
        whole, _, _ = convert_folder(folder / "model", calibration(folder), folder / "whole", config)
    assert not any("held in memory" in note for note in streamed.notes)
    assert any("held in memory: the test wants it" in note for note in whole.notes)
    return streamed, whole


def same_files(folder):
    one, two = digests(folder / "streamed"), digests(folder / "whole")
    # Its seconds and notes are their own.
    assert one.pop("plan.json") != two.pop("plan.json")
    assert one == two
    assert sum(name.startswith("model-block-") for name in one) >= 2


def tied_llama(llama):
    config = llama.config
    config.tie_word_embeddings = True
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "tied", "bfloat16", "shards"])
def test_a_causal_model_comes_out_bit_identical(llama, make_folder, monkeypatch, kind):
    model = tied_llama(llama) if kind == "tied" else llama
    model = model.to(torch.bfloat16) if kind == "bfloat16" else model
    folder = make_folder(model, **({"max_shard_size": "60KB"} if kind == "shards" else {}))
    assert (len(list((folder / "model").glob("*.safetensors"))) > 1) == (kind == "shards")
    before = digests(folder / "model")
    streamed, whole = both(folder, ConversionConfig(ratio=2.0, held_out=0.25), monkeypatch)
    assert digests(folder / "model") == before
    same_files(folder)
    assert streamed.ratios == whole.ratios
    assert streamed.errors == whole.errors
    ids = torch.arange(8).view(1, 8)
    with torch.no_grad():
        assert torch.equal(load(folder / "streamed")(ids).logits, load(folder / "whole")(ids).logits)


@pytest.mark.slow
@pytest.mark.parametrize("sensitivity", ["kfac", "one-at-a-time", "error"])
def test_an_encoder_comes_out_bit_identical(bert, make_folder, monkeypatch, sensitivity):
    folder = make_folder(bert)
    both(folder, ConversionConfig(ratio=1.8, sensitivity=sensitivity, held_out=0.25), monkeypatch)
    same_files(folder)


@pytest.mark.slow
def test_exact_alone_comes_out_bit_identical(llama, make_folder, monkeypatch):
    folder = make_folder(llama)
    both(folder, ConversionConfig(ratio=1.3, recipes=("exact",)), monkeypatch)
    same_files(folder)


def test_one_block_at_a_time_is_in_memory(llama, make_folder, tmp_path):
    folder = make_folder(llama)
    model, why = open_dense(folder / "model", tmp_path / "scratch")
    assert not why
    most = []

    def count(*_):
        present = {n.split(".")[2] for n, p in model.named_parameters() if "layers" in n and not p.is_meta}
        most.append(len(present))

    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(count)
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, llama(ids).logits)
    assert max(most) == 1
    assert all(p.is_meta for p in model.parameters())
    with resident(model, "model.layers.1"):
        block = copy.deepcopy(model.model.layers[1])
    assert not any(p.is_meta for p in block.parameters())
    assert "forward" not in block.__dict__
    assert all(p.is_meta for p in model.parameters())
    assert residence_of(llama) is None


@pytest.mark.slow
def test_scratch_files_go(llama, make_folder, tmp_path):
    folder = make_folder(llama)
    convert_folder(folder / "model", calibration(folder), folder / "out", ConversionConfig())
    assert not [p for p in (folder / "out").iterdir() if p.is_dir() or p.name.startswith(".")]


@pytest.mark.slow
def test_a_plan_reads_no_more_than_a_block(llama, make_folder):
    folder = make_folder(llama)
    opened = plan_folder(folder / "model", calibration(folder), ConversionConfig())
    assert residence_of(opened.model) is not None
    whole, _ = load_dense(folder / "model")
    other = make_plan(whole, opened.config, opened.batches[0])
    assert opened.plan.as_json() == other.as_json()
    assert opened.plan.links.inputs == other.links.inputs
    assert opened.plan.links.residual == other.links.residual


def test_what_cannot_be_streamed_says_why(llama, make_folder):
    folder = make_folder(llama)
    (folder / "model" / "model.safetensors").unlink()
    torch.save(llama.state_dict(), folder / "model" / "pytorch_model.bin")
    opened = plan_folder(folder / "model", calibration(folder), ConversionConfig())
    assert residence_of(opened.model) is None
    assert "not in safetensors" in opened.plan.notes[-1]


def test_shards_are_safetensors_files(tmp_path):
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    tensors = {
        "a": torch.randn(3, 5), "b": torch.randn(4).bfloat16(), "c": torch.arange(7), "d": torch.zeros(0),
        "e": torch.tensor(2.5, dtype=torch.float64), "f": torch.ones(3, dtype=torch.bool),
    }  # fmt: skip
    (tmp_path / "ours").write_bytes(b"".join(shard_of({n: Lazy.of(t) for n, t in tensors.items()})))
    save_file(tensors, tmp_path / "theirs")
    for found in (
        load_file(tmp_path / "ours"),
        {n: t.read() for n, t in contents(tmp_path / "theirs").items()},
    ):
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[n], t) and found[n].dtype == t.dtype for n, t in tensors.items())


class Counting(Keep):
    """In memory, with the most tensors that were kept at a time."""

    def __init__(self):
        self.alive, self.most = weakref.WeakSet(), 0

    def put(self, tensor):
        kept = super().put(tensor)
        self.alive.add(kept)
        self.most = max(self.most, len(self.alive))
        return kept


@pytest.mark.slow
def test_each_stream_holds_its_states_once(llama, batches, monkeypatch):
    keep, begun = Counting(), []
    monkeypatch.setattr(streams, "keep_for", lambda _: keep)

    def progress(what, done, of):
        begun.append(len(keep.alive))

    config = ConversionConfig(ratio=2, recipes=("pivoted-low-rank",), sensitivity="error", held_out=0)
    convert_(llama, config, batches, progress=progress)
    # Curves need the first states beside their own; the two streams change theirs in place, batch by batch.
    assert keep.most <= min(begun) + len(batches) + 1
