"""Folders: bit-identical after a round trip, loud without the import, resumable, never half a model."""

import copy
import json
import subprocess
import sys

import pytest
import torch

from stl_algebra.errors import InvalidInput
from stl_models import ConversionConfig, convert_, load, save
from stl_models.planning.allocate import Allocation
from stl_models.storage.saving import Folder, model_config

CONFIG = ConversionConfig(ratio=2.2, recipes=("exact", "shared-input", "neurons", "value-basis"))


def logits(model, batch):
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_is_bit_identical(llama, batches, tmp_path, dtype):
    skeleton = copy.deepcopy(llama).to(dtype)
    model = llama.to(dtype)
    report = convert_(model, CONFIG, batches)
    save(model, tmp_path / "out", report.as_json())
    wanted = logits(model, batches[0])
    assert torch.equal(logits(load(tmp_path / "out", skeleton), batches[0]), wanted)
    got = logits(load(tmp_path / "out"), batches[0])
    # In bfloat16 transformers keeps the rotary frequencies in float32, which `model.to` rounds.
    assert torch.equal(got, wanted) or dtype == torch.bfloat16
    assert torch.allclose(got.float(), wanted.float(), atol=2e-2)
    assert not any(p.suffix in (".pt", ".bin", ".pkl") for p in (tmp_path / "out").iterdir())
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["config"]["ratio"] == 2.2


@pytest.mark.slow
def test_a_fresh_process_and_save_pretrained(llama, batches, tmp_path):
    convert_(llama, CONFIG, batches)
    save(llama, tmp_path / "one")
    llama.save_pretrained(tmp_path / "two")
    torch.save({"x": batches[0]["input_ids"]}, tmp_path / "ids.pt")
    wanted = logits(llama, batches[0])
    program = (
        "import torch, sys, stl_models\n"
        "from transformers import AutoModelForCausalLM\n"
        "m = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()\n"
        "x = torch.load(sys.argv[2])['x']\n"
        "torch.save({'y': m(input_ids=x).logits.detach()}, sys.argv[3])\n"
    )
    for name in ("one", "two"):
        out = tmp_path / f"{name}.pt"
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / name, tmp_path / "ids.pt", out],
            check=True,
            capture_output=True,
        )
        assert torch.equal(torch.load(out)["y"], wanted)


@pytest.mark.slow
def test_loading_without_the_import_fails_loudly(llama, batches, tmp_path):
    convert_(llama, CONFIG, batches)
    save(llama, tmp_path / "out")
    program = (
        "import sys\nfrom transformers import AutoModelForCausalLM\n"
        "AutoModelForCausalLM.from_pretrained(sys.argv[1])"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "out"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "mismatched" in done.stderr


@pytest.mark.slow
def test_a_base_model_loads_from_a_head_models_folder(llama, batches, tmp_path):
    from transformers import AutoModel

    convert_(llama, CONFIG, batches)
    save(llama, tmp_path / "out")
    base = AutoModel.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        states = base(**batches[0]).last_hidden_state
        assert torch.equal(states, llama.model(**batches[0]).last_hidden_state)


class Killed(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2])
def test_a_conversion_that_was_stopped_goes_on_and_ends_the_same(llama, batches, tmp_path, after):
    whole = copy.deepcopy(llama)
    convert_(whole, CONFIG, batches)
    stopped = copy.deepcopy(llama)

    def kill(what, done, of):
        if what == "blocks" and done == after:
            raise Killed

    with pytest.raises(Killed):
        convert_(stopped, CONFIG, batches, store=Folder(tmp_path / "out", {"a": 1}), progress=kill)
    assert len(list((tmp_path / "out").glob("model-block-*.safetensors"))) == after
    with pytest.raises(InvalidInput, match="not finished"):
        load(tmp_path / "out")
    store = Folder(tmp_path / "out", {"a": 1})
    seen = []
    report = convert_(llama, CONFIG, batches, store=store, progress=lambda w, d, n: seen.append(w))
    store.finish(llama, report.as_json(), model_config(llama))
    assert "curves" not in seen
    state = llama.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in whole.state_dict().items())
    assert torch.equal(logits(load(tmp_path / "out"), batches[0]), logits(whole, batches[0]))


@pytest.mark.slow
def test_a_full_disk_is_named_and_finished_blocks_are_kept(llama, batches, tmp_path, monkeypatch):
    from stl_algebra.errors import Unavailable
    from stl_models.storage import saving

    write = saving.write_atomically

    def full(path, content):
        if "block-00001" in str(path):
            raise Unavailable(f"cannot write {path}: No space left on device")
        return write(path, content)

    monkeypatch.setattr(saving, "write_atomically", full)
    store = Folder(tmp_path / "out", {"a": 1})
    with pytest.raises(Unavailable, match="No space left"):
        convert_(copy.deepcopy(llama), CONFIG, batches, store=store)
    monkeypatch.setattr(saving, "write_atomically", write)
    store = Folder(tmp_path / "out", {"a": 1})
    assert list(store.state["blocks"]) == ["model.layers.0"]
    report = convert_(llama, CONFIG, batches, store=store)
    store.finish(llama, report.as_json(), model_config(llama))
    assert torch.equal(logits(load(tmp_path / "out"), batches[0]), logits(llama, batches[0]))


@pytest.mark.slow
def test_foreign_folders_are_refused(llama, batches, tmp_path):
    convert_(llama, CONFIG, batches)
    save(llama, tmp_path / "out")
    with pytest.raises(InvalidInput, match="holds a model"):
        save(llama, tmp_path / "out")
    Folder(tmp_path / "other", {"a": 1}).keep_decisions(Allocation((), 1.0, 0.0, ()), {})
    with pytest.raises(InvalidInput, match="other settings"):
        Folder(tmp_path / "other", {"a": 2})
    with pytest.raises(InvalidInput, match="folder"):
        load(tmp_path / "nothing")
    shard = next((tmp_path / "out").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(InvalidInput, match="shard"):
        load(tmp_path / "out", copy.deepcopy(llama))


@pytest.mark.slow
def test_importing_costs_no_transformers():
    program = "import sys, stl_models\nassert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
