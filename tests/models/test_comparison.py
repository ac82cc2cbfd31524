"""Figures of whole models, and the usual methods beside a converted one."""

import copy

import pytest
import torch

from stl_algebra.errors import InvalidInput
from stl_models import ConversionConfig, convert_
from stl_models.comparison import PEERS, figures, measured_seconds, peers
from stl_models.metrics import metric_for, perplexity, pooled_states, predicts_tokens, spread


@pytest.fixture
def windows(batches):
    return torch.cat([b["input_ids"] for b in batches])[:10]


def test_structure_decides_which_figure_suits(llama, bert, windows):
    assert predicts_tokens(llama, windows)
    assert not predicts_tokens(bert, windows)
    assert metric_for(llama, windows).name == "perplexity"
    cosine = metric_for(bert, windows)
    assert cosine.of(bert) == pytest.approx(1.0, abs=1e-12)
    assert not cosine.lower_is_better


def test_perplexity_is_the_definition(llama, windows):
    with torch.no_grad():
        chances = llama(input_ids=windows).logits.double().softmax(-1)
    next_ones = chances[:, :-1].gather(2, windows[:, 1:, None])
    assert perplexity(llama, windows) == pytest.approx(float(torch.exp(-next_ones.log().mean())), rel=1e-5)


def test_pooled_states_are_unit_means(bert, windows):
    with torch.no_grad():
        mean = bert(input_ids=windows).last_hidden_state.double().mean(1)
    expected = mean / mean.norm(dim=1, keepdim=True)
    torch.testing.assert_close(pooled_states(bert, windows), expected, rtol=1e-5, atol=1e-6)


def test_windows_are_spread_over_the_text():
    parts = [torch.arange(12).view(4, 3), torch.arange(12, 24).view(4, 3)]
    assert spread(parts, 3)[:, 0].tolist() == [0, 12, 21]
    assert len(spread(parts, 100)) == 8
    with pytest.raises(InvalidInput, match="evaluation"):
        metric_for(torch.nn.Linear(2, 2), torch.zeros(2, 2, dtype=torch.int64))


@pytest.mark.slow
def test_peers_are_converted_at_the_same_ratio(llama, batches, windows):
    before = {k: v.clone() for k, v in llama.state_dict().items()}
    metric = metric_for(llama, windows)
    converted = copy.deepcopy(llama)
    report = convert_(converted, ConversionConfig(ratio=2.0, length=16), batches)
    rows = peers(llama, report, batches, metric)
    assert [row["method"] for row in rows] == list(PEERS)
    for row in rows:
        assert row["core"] >= 2.0 - 1e-9
        assert 0 < row["error"] < 1
        assert row["perplexity"] > 1
    own = figures(converted, report, metric)
    assert own["core"] == report.ratios["core"]
    assert all(torch.equal(llama.state_dict()[k], v) for k, v in before.items())


@pytest.mark.slow
def test_what_a_peer_cannot_reach_is_said(llama, batches):
    report = convert_(copy.deepcopy(llama), ConversionConfig(ratio=3.0, length=16), batches)
    rows = {row["method"]: row for row in peers(llama, report, batches, None)}
    assert "ratio" in rows["2:4, SparseGPT"]["why"]
    assert rows["activation-aware low rank"]["core"] >= 3.0


def test_times_alternate_at_the_batch_of_the_configuration(llama, windows):
    seen = []
    converted = copy.deepcopy(llama)
    converted.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    times = measured_seconds(llama, converted, windows, ConversionConfig(batch=3, length=7))
    assert set(seen) == {(3, 7)}
    assert times["dense"]["rounds"] == times["converted"]["rounds"] >= 3
