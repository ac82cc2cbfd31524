"""Fresh STL layers under FSDP2 on two gloo processes train as in one, factors and decay included."""

import copy
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from stl_models.training import MapDecay, Rates, parameter_groups, replace_linears_

RATES = Rates(lr=0.1, weight_decay=0.1)


def steps(model, x):
    optimiser = torch.optim.SGD(parameter_groups(model, RATES), RATES.lr)
    MapDecay(model, RATES.weight_decay).attach(optimiser)
    for _ in range(2):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()


def work(rank, store):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        alone = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 8))
        replace_linears_(alone, "4x4x4-r24", factors="layer")
        started = copy.deepcopy(alone)
        together = copy.deepcopy(alone)
        mesh = init_device_mesh("cpu", (2,))
        for layer in together:
            fully_shard(layer, mesh=mesh)
        fully_shard(together, mesh=mesh)
        x = torch.randn(8, 12)
        steps(alone, x)
        steps(together, x)
        for one, other, before in zip(
            alone.parameters(), together.parameters(), started.parameters(), strict=True
        ):
            whole = other.full_tensor()
            torch.testing.assert_close(whole, one, rtol=1e-5, atol=1e-6)
            assert not torch.equal(whole, before)
    finally:
        dist.destroy_process_group()


@pytest.mark.slow
def test_sharded_layers_train_as_whole_ones(tmp_path):
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
