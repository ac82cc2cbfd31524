"""DDP and FSDP2 on two CPU processes (gloo): one step trains as one process on the whole batch does."""

import copy
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from stl_algebra import TileFormat, definition
from stl_kernels import STLLinear


def make_layer():
    torch.manual_seed(0)
    return STLLinear(8, 6, definition(TileFormat(2, 2, 2)), trainable_factors=True)


def step(model, x):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(x).square().mean().backward()
    optimizer.step()


def train(rank, kind):
    torch.manual_seed(1)
    x = torch.randn(8, 8)
    alone = make_layer()
    together = copy.deepcopy(alone)
    step(alone, x)
    mine = x[4 * rank : 4 * rank + 4]
    if kind == "ddp":
        model = DistributedDataParallel(together)
    else:
        model = fully_shard(together, mesh=init_device_mesh("cpu", (2,)))
    step(model, mine)
    for (name, expected), parameter in zip(alone.named_parameters(), together.parameters(), strict=True):
        value = parameter.full_tensor() if kind == "fsdp2" else parameter
        torch.testing.assert_close(value.detach(), expected.detach(), msg=lambda m, n=name: f"{n}: {m}")


def work(rank, store, kind):
    # A file and not a port: a port that was free a moment ago may be taken by another test process.
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        # What holds the group is gone when it is destroyed: freed after it, it hangs once in thirty times.
        train(rank, kind)
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_train_as_one(kind, tmp_path):
    # Fresh processes: a fork would inherit locks that threads of earlier tests hold.
    command = [sys.executable, __file__, str(tmp_path / "store"), kind]
    processes = [subprocess.Popen([*command, str(rank)], stderr=subprocess.PIPE) for rank in range(2)]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors.decode()
    finally:
        for process in processes:
            process.kill()


def test_the_step_changes_every_parameter():
    layer = make_layer()
    before = copy.deepcopy(layer)
    step(layer, torch.randn(8, 8))
    assert isinstance(layer, nn.Module)
    assert all(not torch.equal(a, b) for a, b in zip(layer.parameters(), before.parameters(), strict=True))


if __name__ == "__main__":
    work(int(sys.argv[3]), sys.argv[1], sys.argv[2])
