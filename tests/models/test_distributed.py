"""Converted models on several devices: dispatch with offload by accelerate, FSDP2 on two gloo processes."""

import copy
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from stl_models import ConversionConfig, convert_
from stl_models.composites.composite import Borrowed, Composite

CONFIG = ConversionConfig(
    ratio=2.2, recipes=("exact", "pivoted-low-rank", "shared-input"), sensitivity="error"
)


class Block(nn.Module):
    """Two layers that share an input, a gated product, and a residual stream."""

    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(24, 32), nn.Linear(24, 32), nn.Linear(32, 24)

    def forward(self, x):
        return x + self.down(torch.sigmoid(self.gate(x)) * self.up(x))


def converted():
    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    convert_(model, CONFIG, [torch.randn(8, 6, 24) for _ in range(4)])
    return model


def test_the_model_has_shared_parts():
    model = converted()
    assert any(isinstance(m, Borrowed) for m in model.modules())
    assert {m.recipe for m in model.modules() if isinstance(m, Composite)} >= {"shared-input"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "places",
    [{"0": "cpu", "1": "cpu"}, {"0": "cpu", "1": "disk"}, {"0": "disk", "1": "disk"}],
    ids=["cpu", "half on disk", "all on disk"],
)
def test_dispatched_models_give_the_same(places, tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model = converted()
    x = torch.randn(4, 6, 24)
    with torch.no_grad():
        expected = model(x)
        placed = accelerate.dispatch_model(
            copy.deepcopy(model), device_map=places, offload_dir=tmp_path, main_device="cpu", force_hooks=True
        )
        assert torch.equal(placed(x), expected)
        assert torch.equal(placed(x), expected)
    on_disk = [n for n, p in placed.named_parameters() if p.is_meta]
    assert bool(on_disk) == ("disk" in places.values())


def step(model, x):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(x).square().mean().backward()
    optimizer.step()


def train(rank):
    alone = converted()
    together = copy.deepcopy(alone)
    mesh = init_device_mesh("cpu", (2,))
    for block in together:
        fully_shard(block, mesh=mesh)
    fully_shard(together, mesh=mesh)
    torch.manual_seed(1)
    x = torch.randn(8, 6, 24)
    step(alone, x)
    step(together, x[4 * rank : 4 * rank + 4])
    for (name, expected), parameter in zip(alone.named_parameters(), together.parameters(), strict=True):
        value = parameter.full_tensor().detach()
        torch.testing.assert_close(value, expected.detach(), msg=lambda m, n=name: f"{n}: {m}")


def work(rank, store):
    # A file and not a port: a port that was free a moment ago may be taken by another test process.
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        # What holds the group is gone when it is destroyed; freed after it, it may hang.
        train(rank)
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_a_converted_model_as_one(tmp_path):
    # Fresh processes: a fork would inherit locks that threads of earlier tests hold.
    command = [sys.executable, __file__, str(tmp_path / "store")]
    processes = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE) for rank in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=200)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in processes:
            process.kill()


if __name__ == "__main__":
    work(int(sys.argv[2]), sys.argv[1])
