"""An overparametrised ReLU regression, trained by Gauss-Newton beside Adam; writes a picture beside itself.

python examples/gauss_newton_relu.py
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from torch import nn

from stl_algebra.numerics import GaussNewtonOptimizer

matplotlib.use("Agg")
from matplotlib import pyplot


def main() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 8)
    y = torch.sin(x.sum(1, keepdim=True))
    first = nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    second = copy.deepcopy(first)
    front, adam = GaussNewtonOptimizer(first), torch.optim.Adam(second.parameters(), lr=3e-3)

    def adam_step() -> float:
        adam.zero_grad()
        loss = (second(x) - y).square().mean()
        loss.backward()
        adam.step()
        return float(loss.detach())

    figure, axes = pyplot.subplots(figsize=(6, 4))
    contenders: dict[str, Callable[[], float]] = {
        "Gauss-Newton": lambda: front.step(x, y),
        "Adam": adam_step,
    }
    for name, step in contenders.items():
        began, times, losses = time.perf_counter(), [], []
        while time.perf_counter() - began < 2.0:
            losses.append(step())
            times.append(time.perf_counter() - began)
            if losses[-1] < 1e-9:
                break
        axes.semilogy(times, losses, label=f"{name}, {len(losses)} steps")
        print(f"{name:12s} loss {min(losses):.2e} after {len(losses)} steps, {times[-1]:.2f} s")
    axes.set_xlabel("seconds, one CPU thread")
    axes.set_ylabel("mean squared error, 400 samples")
    axes.legend()
    figure.tight_layout()
    target = Path(__file__).with_suffix(".png")
    figure.savefig(target, dpi=120)
    print(target)


if __name__ == "__main__":
    main()
