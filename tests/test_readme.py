"""What README shows is run: every command and every Python block, in a folder of its own and in order."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.search.cli.calling import call

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (stl-search .*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)

#: What stands for files of the reader's, and what would take minutes: (pattern, in its place).
INSTEAD = (
    (r"--budget 120s", "--trials 2 --matrices layer.npz"),
    (r"\./all-MiniLM-L6-v2", "./model-folder"),
    # The same search, which takes a minute or two for <4,4,4>.
    (
        r"find 4x4x4 --rank 48 --symmetry rational-48 --budget 10m",
        "find 2 --rank 7 --symmetry strassen",
    ),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the files that README's reader has: a layer, a model, texts."""
    path = tmp_path_factory.mktemp("readme")
    rng = np.random.default_rng(0)
    np.savez(path / "layer.npz", x=rng.normal(size=(64, 16)), w=rng.normal(size=(16, 12)))
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    transformers.BertModel(config).save_pretrained(path / "model-folder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij"]
    vocabulary = path / "model-folder" / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(path / "model-folder")
    (path / "book.txt").write_text("a b c d e f g h i j " * 14000)
    (path / "other.txt").write_text("j i h g f e d c b a " * 200)
    return path


def test_there_is_something_to_run():
    assert len(COMMANDS) >= 5
    assert len(BLOCKS) >= 3


@pytest.mark.slow
def test_every_command_does_what_it_is_shown_for(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for command in COMMANDS:
        for pattern, other in INSTEAD:
            command = re.sub(pattern, other, command)
        outcome = call(*shlex.split(command)[1:])
        assert outcome.exit_code == 0, f"{command}\n{outcome.output}"


@pytest.mark.slow
def test_every_block_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    namespace = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), namespace)
    assert namespace["found"].rank == 7
