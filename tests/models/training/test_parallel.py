"""Two gloo processes, as torchrun starts them: a run with averaged gradients, and FSDP2 as in one process."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from stl_algebra.errors import InvalidInput
from stl_kernels import LayerOptions
from stl_models.training import MapDecay, Rates, TrainingOptions, parameter_groups, replace_linears_
from stl_models.training.loop import CHECKPOINT
from stl_models.training.parallel import processes
from stl_models.training.vision import VisionRecipe, train_vision
from stl_models.vision.images import read_images

RATES = Rates(lr=0.1, weight_decay=0.1, decay="map")
RECIPE = VisionRecipe(
    linear="stl", epochs=1, batch=8, warmup=0.0,
    options=TrainingOptions(layer=LayerOptions(row_grouping="batch", backend="reference")),
)  # fmt: skip


def steps(model, x):
    optimiser = torch.optim.SGD(parameter_groups(model, RATES), RATES.lr)
    MapDecay(model, RATES.weight_decay).attach(optimiser)
    for _ in range(2):
        optimiser.zero_grad()
        model(x).square().mean().backward()
        optimiser.step()


def sharded():
    torch.manual_seed(0)
    alone = nn.Sequential(nn.Linear(12, 16), nn.Linear(16, 8))
    replace_linears_(alone, "4x4x4-r24", factors="layer")
    started, together = copy.deepcopy(alone), copy.deepcopy(alone)
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


def work(folder):
    with processes("cpu") as (place, first):
        assert first == (dist.get_rank() == 0)
        data = read_images(folder / "data.npz")
        found = train_vision(RECIPE, data, folder / "run", device=place)
        assert [row["step"] for row in found["rows"]] == ([4] if first else [])
        dist.barrier()
        assert {p.name for p in (folder / "run").iterdir()} == {CHECKPOINT, "log.csv"}
        # A finished run is read and not trained again: both see the first process's weights.
        train_vision(RECIPE, data, folder / "run", device=place)
        for batch, words in ((7, "a multiple of 2 processes"), (4, "at least 4 images a process")):
            with pytest.raises(InvalidInput, match=words):
                train_vision(replace(RECIPE, batch=batch), data, folder / "other", device=place)
        sharded()


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (32, 16, 16, 3)).astype(np.uint8), np.arange(32) % 2
    np.savez(
        tmp_path / "data.npz",
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
    )  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, __file__, str(tmp_path)], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    work(Path(sys.argv[1]))
