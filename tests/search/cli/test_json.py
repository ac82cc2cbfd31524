"""What commands print with `--json` is what `stl-search schema` says, key by key, failures included."""

import json
import subprocess
import sys

import click
import jsonschema
import numpy as np
import pytest

from stl_kernels.device.peaks import Peaks
from stl_search.cli import main
from stl_search.cli.common import echo_json
from stl_search.cli.schemas import SCHEMAS, document
from tests.search.cli.calling import call

MODEL = ("model", "--calibrate", "book.txt", "--ratio", "1.3", "--length", "16", "--tokens", "320")
#: Command -> argument lists that together print every form it has; each runs in a folder made once, in order.
CASES = {
    "verify": ["verify 2x2x2-r7", "verify 2x2x2-r7 --ring Q"],
    "symmetry": ["symmetry 2x2x2-r7"],
    "evaluate": ["evaluate 2x2x2-r7 --matrices layer.npz"],
    "balance": ["balance 2x2x2-r7 --out balanced.safetensors"],
    "import": ["import balanced.safetensors --out again.safetensors"],
    "find": ["find 2 --rank 7 --out found"],
    "descend": ["descend 2x2x2 --lowest 6 --highest 7 --width 1 --branch 1 --out descent"],
    "frontier": ["frontier found --into best", "frontier --exact",
                 "frontier --ratio 1.7 --shape 64x64x64 --device h200"],
    "groups": ["groups --order 6"],
    "group": ["group S3"],
    "tpp": ["tpp S3", "tpp C7", "tpp --census --order 5..6"],
    "profile": ["profile --matrices layer.npz --beside layer.npz"],
    "run": ["run --group S3 --family fourier --tile 2 --rank 7 --trials 1 --matrices layer.npz --out run"],
    "report": ["report run"],
    "watch": ["watch run"],
    "worker": ["worker --storage sqlite:///run/study.db --study {study}"],
    "capture": ["capture model --text book.txt --rows 40 --length 32 --layers *q_proj --out it.safetensors"],
    "convert": [f"convert {' '.join(MODEL)} --plan-only",
                f"convert {' '.join(MODEL)} --out converted --evaluate other.txt --distil 1"],
    "train lm": ["train lm --model model --text book.txt --evaluate other.txt --out tuned --steps 1 "
                 "--warmup 0 --length 16 --batch 4 --windows 1 --device cpu"],
    "train vision": ["train vision --data images.npz --model t2t-vit-small-32 --out trained --epochs 1 "
                     "--batch 4 --warmup 0 --device cpu"],
    "bench layer": ["bench layer 2x2x2-r7 --shape 16"],
}  # fmt: skip


def commands(group, prefix=""):
    """(name, command) of all commands, those of groups by both words."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name, command


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With all that the commands read: a layer, pictures, texts, a model."""
    import transformers

    path = tmp_path_factory.mktemp("json")
    rng = np.random.default_rng(0)
    np.savez(path / "layer.npz", x=rng.normal(size=(64, 16)), w=rng.normal(size=(16, 12)))
    pictures = rng.integers(0, 256, size=(12, 32, 32, 3)).astype("uint8")
    labels = np.arange(12) % 2
    np.savez(path / "images.npz", train_images=pictures, train_labels=labels,
             test_images=pictures[:4], test_labels=labels[:4])  # fmt: skip
    config = transformers.LlamaConfig(
        vocab_size=15, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        tie_word_embeddings=False,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path / "model")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    (path / "model" / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(path / "model" / "vocab.txt")).save_pretrained(path / "model")
    (path / "book.txt").write_text("a b c d e f g h i j " * 1400)
    (path / "other.txt").write_text("j i h g f e d c b a " * 100)
    return path


def test_every_command_that_prints_json_has_a_schema_and_is_run_here():
    printing = {name for name, command in commands(main) if any("--json" in p.opts for p in command.params)}
    assert printing == set(CASES)
    assert printing | {"error"} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_strict_and_say_what_things_are(name):
    jsonschema.Draft202012Validator.check_schema(document(name))
    assert json.loads(call("schema", *name.split()).stdout) == document(name)

    def look(schema, path):
        if "properties" in schema:
            assert schema["additionalProperties"] is False, path
            for key, inner in schema["properties"].items():
                assert inner.get("description") or inner["type"] == "array", f"{path}.{key}"
                look(inner, f"{path}.{key}")
        for inner in (schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", ())):
            if inner:
                look(inner, path)

    assert document(name)["description"]
    look(document(name), name)


@pytest.mark.slow
def test_commands_print_what_their_schema_says_and_nothing_else(folder, monkeypatch):
    """One test: some commands read what those before them have written."""
    monkeypatch.chdir(folder)
    # Measuring what a processor reaches takes a minute, and is not what this is about.
    rates = Peaks("cpu", {"float32": 1e10}, 1e10, 1e-6, "made up")
    monkeypatch.setattr("stl_kernels.load_peaks", lambda device: rates)
    for name, line in [(name, line) for name, lines in CASES.items() for line in lines]:
        if "{study}" in line:
            line = line.format(study=json.loads((folder / "run" / "run.json").read_text())["study"])
        outcome = call(*line.split(), "--json")
        assert outcome.exit_code == 0, f"{line}: {outcome.output}"
        jsonschema.validate(json.loads(outcome.stdout), document(name), jsonschema.Draft202012Validator)


def test_a_key_too_many_or_too_few_is_not_what_a_schema_says():
    found = json.loads(call("verify", "2x2x2-r7", "--json").stdout)
    for wrong in ({**found, "more": 1}, {k: v for k, v in found.items() if k != "ring"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, document("verify"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        ("verify nowhere --json", 2, "InvalidInput"),
        ("group S99 --json", 2, "TooLarge"),
        ("find 2 --rank 6 --budget 0.1s --json", 1, "NothingFound"),
        ("verify --json", 2, "MissingParameter"),
        ("verify 2x2x2-r7 --nonsense --json", 2, "NoSuchOption"),
        ("nonsense --json", 2, "NoSuchCommand"),
        ("train lm --json", 2, "MissingParameter"),
        ("convert model --calibrate book.txt --json", 2, "UsageError"),
    ],
)
def test_a_failure_is_a_document_on_stdout_and_a_line_on_stderr(line, code, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = call(*line.split())
    assert outcome.exit_code == code, outcome.output
    found = json.loads(outcome.stdout)
    jsonschema.validate(found, document("error"))
    assert (found["error"]["kind"], found["error"]["exit_code"]) == (kind, code)
    assert found["error"]["message"] in outcome.stderr
    assert not call(*(word for word in line.split() if word != "--json")).stdout


def test_numbers_that_json_lacks_are_null(capsys):
    echo_json({"a": [float("inf"), 1.0], "b": (float("nan"),)})
    assert json.loads(capsys.readouterr().out) == {"a": [None, 1.0], "b": [None]}


def test_schema_lists_what_there_is_and_says_what_there_is_not():
    assert set(SCHEMAS) == {line[:14].strip() for line in call("schema").stdout.splitlines()}
    assert call("schema", "export").exit_code == 2


@pytest.mark.slow
def test_progress_of_a_search_stays_out_of_stdout(tmp_path):
    """In a process of its own, where nothing catches what a library prints."""
    program = [sys.executable, "-c", "from stl_search.cli import main; main()"]
    command = [*program, "find", "2", "--rank", "7", "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["rank"] == 7
