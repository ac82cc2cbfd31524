"""Models whose linear layers are all replaced by hand: forward, LoRA, saving; right, or refused in words.

The models are built here: BERT with its pooler, T5, GPT-2 (Conv1D, tied head), a bf16 llama whose activations
are beyond float16 and whose weights are tiny. Conversion with statistics is tested in test_convert.py.
"""

import pytest
import torch
from torch import nn

from stl_algebra import InvalidInput
from stl_kernels import STLLinear
from stl_kernels.layers.dense import is_dense
from stl_models.adapters import with_stl_layers

transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")


def small_bert():
    config = transformers.BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    return transformers.BertModel(config), ["query", "value"]


def small_t5():
    config = transformers.T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    return transformers.T5ForConditionalGeneration(config), ["q", "v"]


def small_gpt2():
    config = transformers.GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=32)
    return transformers.GPT2LMHeadModel(config), ["c_attn"]


def small_llama():
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        # Activations beyond float16's largest number, and weights that float16 would flush to zero.
        model.model.layers[1].mlp.up_proj.weight.mul_(1e7)
        model.model.layers[1].mlp.down_proj.weight.mul_(1e-7)
    return model.to(torch.bfloat16), ["q_proj", "v_proj"]


def outputs(model, ids):
    start = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return model(input_ids=ids, **start)[0]


@pytest.fixture(params=[small_bert, small_t5, small_gpt2, small_llama])
def replaced(request):
    """The model's output, the model with every linear layer replaced, ids, targets of LoRA."""
    torch.manual_seed(0)
    model, targets = request.param()
    model.eval()
    ids = torch.randint(2, 64, (4, 8))
    with torch.no_grad():
        expected = outputs(model, ids)
    names = [name for name, module in model.named_modules() if is_dense(module)]
    assert len(names) >= 8
    if request.param is small_llama:
        seen = []
        hook = model.model.layers[1].mlp.down_proj.register_forward_pre_hook(
            lambda _, args: seen.append(args[0])
        )
        outputs(model, ids)
        hook.remove()
        assert seen[0].abs().max() > 65504
    for name in names:
        parent, _, leaf = name.rpartition(".")
        layer = STLLinear.from_linear(model.get_submodule(name), "4x4x4-r49")
        setattr(model.get_submodule(parent), leaf, layer)
    return expected, model, ids, targets


@pytest.mark.slow
def test_exact_tiles_give_what_the_model_gave(replaced):
    expected, model, ids, _ = replaced
    with torch.no_grad():
        got = outputs(model, ids)
    assert got.dtype == expected.dtype
    assert got.isfinite().all()
    tolerance = 0.05 if expected.dtype == torch.bfloat16 else 1e-4
    assert (got - expected).double().norm() < tolerance * expected.double().norm()


def test_a_channel_a_million_times_its_neighbours_takes_their_digits():
    # What README says of rounding: it is relative to the largest entries of a tile.
    torch.manual_seed(0)
    layer, x = nn.Linear(16, 16, bias=False), torch.randn(16, 16)
    with torch.no_grad():
        layer.weight[0] *= 1e6
    for dtype, least, most in ((torch.float32, 0.0, 0.5), (torch.bfloat16, 10.0, 1e6)):
        tiled = STLLinear.from_linear(layer.to(dtype), "4x4x4-r49")
        with torch.no_grad():
            change = (tiled(x.to(dtype)) - layer(x.to(dtype)))[:, 1:4].float()
            assert least <= change.norm() / layer(x.to(dtype))[:, 1:4].float().norm() < most


@pytest.mark.slow
def test_lora_trains_and_merging_is_refused(replaced):
    _, model, ids, targets = replaced
    adapted = peft.get_peft_model(model, with_stl_layers(peft.LoraConfig(target_modules=targets, r=2)))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert trained
    outputs(adapted, ids).float().square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    with pytest.raises(InvalidInput, match="merge"):
        adapted.merge_adapter()


def test_state_dicts_go_round(replaced):
    _, model, ids, _ = replaced
    with torch.no_grad():
        expected = outputs(model, ids)
        kept = {name: value.clone() for name, value in model.state_dict().items()}
        for parameter in model.parameters():
            parameter.zero_()
        assert not torch.equal(outputs(model, ids), expected)
        model.load_state_dict(kept)
        assert torch.equal(outputs(model, ids), expected)


def test_embeddings_can_be_resized_and_tied_heads_are_named():
    model, _ = small_gpt2()
    layer = STLLinear.from_linear(model.lm_head, "4x4x4-r49")
    assert not any(p is model.transformer.wte.weight for p in layer.parameters())
    assert isinstance(model.resize_token_embeddings(72), nn.Embedding)
    assert model.lm_head.weight.shape == (72, 16)
