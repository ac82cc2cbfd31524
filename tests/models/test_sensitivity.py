"""Sensitivities block by block are those of the whole model."""

import pytest
import torch
from torch import nn

from stl_models.statistics.sensitivity import OneAtATime, gradient_moments
from stl_models.statistics.streams import Streams, pieces
from stl_models.structure.modules import find_blocks, find_structure


@pytest.mark.parametrize("objective", ["logits", "hidden", "pooled"])
def test_gradients_block_by_block_are_those_of_one_backward_pass(llama, batches, objective):
    names = list(find_structure(llama).linears)
    chained = Streams(llama, find_blocks(llama), batches)
    assert chained.answers is not None
    one = gradient_moments(chained, names, objective, seed=3)
    two = gradient_moments(Streams(llama, (), batches), names, objective, seed=3)
    assert one.keys() == two.keys() == set(names)
    for name in names:
        torch.testing.assert_close(one[name].read(), two[name].read(), rtol=1e-4, atol=1e-6)
    assert all(p.requires_grad and p.grad is None for p in llama.parameters())


def test_one_at_a_time_from_its_block_on_is_the_whole_model(bert, batches):
    name = "encoder.layer.0.output.dense"
    dense = bert.get_submodule(name)
    torch.manual_seed(0)
    other = nn.Linear(dense.in_features, dense.out_features)
    found = [
        OneAtATime(Streams(bert, blocks, batches), "pooled").distances(0, {name: other})[name]
        for blocks in (find_blocks(bert), ())
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert found[0] > 0
    assert bert.get_submodule(name) is dense


def test_padding_counts_neither_way(bert):
    torch.manual_seed(0)
    ids = torch.randint(1, 61, (4, 16))
    mask = torch.ones_like(ids)
    mask[:, 11:] = 0
    names = list(find_structure(bert).linears)
    found = []
    for blocks in (find_blocks(bert), ()):
        streams = Streams(bert, blocks, [{"input_ids": ids, "attention_mask": mask}])
        found.append(gradient_moments(streams, names, "hidden", seed=1))
    for name in names:
        torch.testing.assert_close(found[0][name].read(), found[1][name].read(), rtol=1e-4, atol=1e-7)


def test_pieces_hold_every_row_once():
    ids = torch.arange(6 * 50).view(6, 50)
    parts = pieces({"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert [len(p["input_ids"]) for p in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([p["input_ids"] for p in parts]), ids)
    assert [len(p) for p in pieces(torch.zeros(300, 16))] == [128, 128, 44]
    assert [len(p) for p in pieces(torch.zeros(3, 500, 16))] == [1, 1, 1]
    assert [tuple(len(x) for x in p) for p in pieces((torch.zeros(2, 200, 3), torch.zeros(2, 7)))] == [
        (1, 1)
    ] * 2
    odd = {"input_ids": ids, "temperature": 2.0}
    assert pieces(odd) == [odd]
