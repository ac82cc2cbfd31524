"""Tiny random models, made here; no file and no network."""

import pytest
import torch

transformers = pytest.importorskip("transformers")


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
