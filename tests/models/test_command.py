"""`stl-search convert` on a tiny model with a tokenizer made here."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from click.testing import CliRunner

from stl_models import load
from stl_search.cli.main import main

WORDS = [f"word{i}" for i in range(17)]


@pytest.fixture
def folder(llama, tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {w: i for i, w in enumerate(["<unk>", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(tmp_path / "model")
    llama.save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    picks = torch.randint(0, len(WORDS), (3000,)).tolist()
    (tmp_path / "text.txt").write_text(" ".join(WORDS[i] for i in picks))
    return tmp_path


def arguments(folder, *more):
    return ["convert", str(folder / "model"), "--calibrate", str(folder / "text.txt"), "--length", "16",
            "--tokens", "1024", *more]  # fmt: skip


def run(*args):
    return CliRunner().invoke(main, list(args))


def snapshot(path):
    return {p.name: p.read_bytes() for p in sorted(path.iterdir())}


@pytest.mark.slow
def test_convert_writes_a_model_and_its_report(folder):
    before = snapshot(folder / "model")
    done = run(*arguments(folder, "--ratio", "2.0", "--out", str(folder / "out"), "--json"))
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data["ratios"]["core"] >= 2.0
    assert snapshot(folder / "model") == before
    model = load(folder / "out")
    assert model(input_ids=torch.zeros(2, 4, dtype=torch.int64)).logits.shape == (2, 4, 61)
    names = {p.name for p in (folder / "out").iterdir()}
    assert {"config.json", "plan.json", "report.html", "report.md", "tokenizer.json"} <= names
    assert "progress.json" not in names
    assert "model.layers.0.mlp.up_proj" in (folder / "out" / "report.md").read_text()
    again = run(*arguments(folder, "--out", str(folder / "out")))
    assert again.exit_code == 2
    assert "holds a model" in again.stderr
    second = run(
        "convert", str(folder / "out"), "--calibrate", str(folder / "text.txt"), "--out", str(folder / "x")
    )
    assert second.exit_code == 2
    assert "converted already" in second.stderr


@pytest.mark.slow
def test_plan_only_writes_nothing(folder):
    before = set(folder.iterdir())
    done = run(*arguments(folder, "--plan-only", "--json"))
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["rows"]) == 14
    assert set(folder.iterdir()) == before
    shown = run(*arguments(folder, "--plan-only"))
    assert "left alone: lm_head" in shown.stdout
    on_gpu = run(*arguments(folder, "--plan-only", "--device", "H200"))
    assert "predicted" in on_gpu.stdout


@pytest.mark.slow
def test_a_model_is_judged_beside_the_usual_methods(folder):
    held_out = folder / "held-out.txt"
    held_out.write_text(" ".join(WORDS[(i * i) % len(WORDS)] for i in range(600)))
    done = run(
        *arguments(folder, "--ratio", "2.0", "--out", str(folder / "out"), "--json"),
        *("--distil", "4", "--evaluate", str(held_out), "--compare"),
    )
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    steps = data["distillation"]["steps"]
    assert 1 <= steps <= 4
    rows = {row["method"]: row for row in data["peers"]}
    assert list(rows)[:2] == ["dense", "this model"]
    assert {"2:4, SparseGPT", "2:4, Wanda", "activation-aware low rank"} <= set(rows)
    assert all(row["perplexity"] > 1 for row in rows.values())
    assert data["times"]["dense"]["rounds"] >= 3
    report = (folder / "out" / "report.md").read_text()
    assert "2:4, SparseGPT with a refit" in report
    assert f"Distillation: {steps} steps" in report
    assert "Beside what people use today" in (folder / "out" / "report.html").read_text()
    # The steps that were taken are in the folder, and it is the only copy.
    assert not list((folder / "out").glob("model-block-*"))
    model = load(folder / "out")
    windows = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])
    assert torch.isfinite(model(input_ids=windows).logits).all()


def test_what_judging_needs_is_asked_for_before_anything_else(folder):
    out = folder / "out"
    assert "needs --evaluate" in run(*arguments(folder, "--out", str(out), "--compare")).stderr
    missing = run(*arguments(folder, "--out", str(out), "--evaluate", str(folder / "none.txt")))
    assert missing.exit_code == 2
    assert "existing text file" in missing.stderr
    assert not list(folder.glob("out/model*"))


@pytest.mark.parametrize(
    ("text", "words"), [("", "empty"), ("lobster " * 500, "one word over and over"), ("the sea", "at least")]
)
def test_useless_texts_are_named(folder, text, words):
    (folder / "text.txt").write_text(text)
    done = run(*arguments(folder, "--out", str(folder / "out")))
    assert done.exit_code == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_wrong_arguments_are_named(folder):
    assert "--out is needed" in run(*arguments(folder)).stderr
    assert "recipe" in run(*arguments(folder, "--recipe", "none", "--plan-only")).stderr
    assert "ratio" in run(*arguments(folder, "--ratio", "0.5", "--plan-only")).stderr
    assert "device" in run(*arguments(folder, "--device", "abacus", "--plan-only")).stderr
    nothing = run("convert", str(folder / "nothing"), "--calibrate", str(folder / "text.txt"), "--plan-only")
    assert "config.json" in nothing.stderr
    config = folder / "model" / "config.json"
    data = {**json.loads(config.read_text()), "quantization_config": {"quant_method": "gptq"}}
    config.write_text(json.dumps(data))
    assert "quantised (gptq)" in run(*arguments(folder, "--plan-only")).stderr


@pytest.mark.slow
def test_a_killed_command_goes_on(folder):
    out = folder / "out"
    program = "from stl_search.cli.main import main; main()"
    command = [sys.executable, "-c", program, *arguments(folder, "--out", str(out))]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(600):
        if list(out.glob("model-block-*.safetensors")) or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = run(*arguments(folder, "--out", str(out)))
    assert done.exit_code == 0 or "holds a model" in done.stderr
    assert load(out) is not None
