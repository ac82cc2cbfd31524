"""Least squares in place of gradient steps where features stay: the last layer, and a small head.

    python -m benchmarks.heads --data cifar10.npz --checkpoint dense-seed-0/checkpoint.safetensors

On the features of a model that `benchmarks.training` trained. The last layer: `DynamicLeastSquares`, fed in
batches, beside Adam on the same squared loss. An overparametrised ReLU head on few images: `GaussNewton`
beside Adam. Both get the same CPU seconds; Adam has the best of several learning rates by the loss that is
minimised. Results go to results/training/heads.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from stl_algebra.files import write_atomically
from stl_algebra.numerics import DynamicLeastSquares
from stl_algebra.numerics.gauss_newton import GaussNewtonOptimizer
from stl_kernels.speed.timing import environment
from stl_models.training.vision import accuracy_of
from stl_models.vision.images import Images, ImageSet, read_images
from stl_models.vision.t2t import T2TViT, t2t_config

#: Features and targets.
Pair = tuple[Tensor, Tensor]
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
#: Images of the head's problem, its width, Gauss-Newton's steps.
FEW, HIDDEN, STEPS = 256, 64, 12


@torch.no_grad()
def features(model: nn.Module, data: ImageSet, part: Images) -> Pair:
    """(N, d) inputs of the head and (N, classes) targets, 1 for the class and 0 for others."""
    places = torch.split(torch.arange(len(part.labels)), 500)
    found = torch.cat([model(data.normalised(part.batch(p, None))) for p in places])
    return found, F.one_hot(part.labels, len(data.names)).float()


def judged(head: Callable[[Tensor], Tensor], fitted: Pair, test: Pair) -> dict[str, float]:
    """Mean squared error on what it was fitted to, and the share of test images classified rightly."""
    with torch.no_grad():
        error = float((head(fitted[0]) - fitted[1]).square().mean())
        right = (head(test[0]).argmax(1) == test[1].argmax(1)).float().mean()
    return {"squared_error": error, "accuracy": float(right)}


def adam(
    make: Callable[[], nn.Module], fitted: Pair, test: Pair,
    seconds: float, batch: int,
) -> dict[str, Any]:  # fmt: skip
    """Adam on the mean squared error for so many CPU seconds, the best of `RATES` by that error."""
    tried = []
    for rate in RATES:
        torch.manual_seed(0)
        head = make()
        optimiser = torch.optim.Adam(head.parameters(), rate)
        start, steps = time.process_time(), 0
        while time.process_time() - start < seconds:
            for rows in torch.split(torch.randperm(len(fitted[0])), batch):
                optimiser.zero_grad()
                torch.autograd.backward(F.mse_loss(head(fitted[0][rows]), fitted[1][rows]))
                optimiser.step()
                steps += 1
                if time.process_time() - start >= seconds:
                    break
        tried.append({"rate": rate, "steps": steps, **judged(head, fitted, test)})
    return min(tried, key=lambda one: one["squared_error"])


def last_layer(train: Pair, test: Pair) -> dict[str, Any]:
    """The last layer, all training images."""
    width, classes = train[0].shape[1], train[1].shape[1]
    start = time.process_time()
    stream = DynamicLeastSquares(width, classes, dtype=torch.float32, intercept=True, deletions="none")
    for rows in torch.split(torch.arange(len(train[0])), 2000):
        stream.insert(train[0][rows], train[1][rows])
    solution = stream.solve()
    seconds = time.process_time() - start
    exact = judged(stream.predict, train, test)
    beside = {
        f"Adam, {share:g} times the seconds": adam(
            lambda: nn.Linear(width, classes), train, test, share * seconds, 256
        )
        for share in (1, 10, 100)
    }
    return {
        "seconds": seconds, "method": str(stream.choice), "condition": float(solution.condition),
        "least squares": exact, **beside,
    }  # fmt: skip


def small_head(train: Pair, test: Pair) -> dict[str, Any]:
    """An overparametrised head on the first few images."""
    few = (train[0][:FEW], train[1][:FEW])
    width, classes = few[0].shape[1], few[1].shape[1]

    def make() -> nn.Module:
        return nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    torch.manual_seed(0)
    head = make()
    optimiser = GaussNewtonOptimizer(head, damping=1e-5)
    start, curve = time.process_time(), []
    for _ in range(STEPS):
        curve.append({"squared_error": optimiser.step(*few), "seconds": time.process_time() - start})
    seconds = time.process_time() - start
    return {
        "residuals": FEW * classes, "parameters": sum(p.numel() for p in head.parameters()),
        "seconds": seconds, "curve": curve, "Gauss-Newton": judged(head, few, test),
        "Adam, the same seconds": adam(make, few, test, seconds, FEW),
        "Adam, batches of 32, the same seconds": adam(make, few, test, seconds, 32),
    }  # fmt: skip


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True, help="of a dense t2t-vit-small-32")
    parser.add_argument("--out", type=Path, default=Path("results/training/heads.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = read_images(given.data)
    config = t2t_config("t2t-vit-small-32", {"size": data.train.extent, "classes": len(data.names)})
    model = T2TViT(config)
    kept = load_file(given.checkpoint)
    model.load_state_dict({k.removeprefix("model."): v for k, v in kept.items() if k.startswith("model.")})
    trained = accuracy(model, data)
    model.head = nn.Identity()  # type: ignore[assignment]
    model.eval()
    train, test = features(model, data, data.train), features(model, data, data.test)
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    document = {
        "environment": environment("cpu", shlex.join(["python", "-m", "benchmarks.heads", *words])),
        "head as trained": trained,
        "last layer": last_layer(train, test),
        "small head": small_head(train, test),
    }  # fmt: skip
    write_atomically(given.out, json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))
    return 0


def accuracy(model: nn.Module, data: ImageSet) -> dict[str, float]:
    """Of the model with the head that it was trained with."""
    return accuracy_of(model.eval(), data, "cpu", 500)


if __name__ == "__main__":
    sys.exit(main())
