"""Tiny random models, made here; no file and no network."""

from pathlib import Path

import pytest
import torch

transformers = pytest.importorskip("transformers")
HERE = Path(__file__).parent
WORDS = [f"word{i}" for i in range(17)]


def pytest_collection_modifyitems(items):
    """None of these belongs to the quick part: transformers alone loads for seconds."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def llama():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=61, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture
def bert():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=61, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64,
    )  # fmt: skip
    return transformers.BertModel(config).eval()


@pytest.fixture
def batches():
    torch.manual_seed(1)
    return [{"input_ids": torch.randint(0, 61, (8, 16))} for _ in range(6)]


@pytest.fixture
def make_folder(tmp_path):
    """Writes a model with a tokenizer of a few words, and a text beside it."""

    def make(model, **options):
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Whitespace

        tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(["<unk>", *WORDS])}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = Whitespace()
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")
        fast.save_pretrained(tmp_path / "model")
        model.save_pretrained(tmp_path / "model", **options)
        torch.manual_seed(0)
        picks = torch.randint(0, len(WORDS), (2000,)).tolist()
        (tmp_path / "text.txt").write_text(" ".join(WORDS[i] for i in picks))
        return tmp_path

    return make
