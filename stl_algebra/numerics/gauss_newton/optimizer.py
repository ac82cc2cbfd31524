"""A front like torch.optim for training small networks by Gauss-Newton.

What does not belong here: anything but calling the minimiser on a module, batch by batch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.minimise import GaussNewton
from stl_algebra.numerics.gauss_newton.network import NetworkProblem


class GaussNewtonOptimizer:
    """Updates a module in place; the damping is carried from one step to the next.

    Args:
        module: see `NetworkProblem`.
        attempts: most damping attempts within one `step`; the first that decreases the loss is taken.
        settings: arguments of `GaussNewton` except iterations and callback.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(2, 1).double()
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> front = GaussNewtonOptimizer(net, damping=1e-9)
        >>> front.step(x, x.sum(1, keepdim=True)) < 1e-12
        True
    """

    def __init__(self, module: nn.Module, *, attempts: int = 8, **settings: Any) -> None:
        if attempts < 1:
            raise InvalidInput("attempts", expected="at least 1", got=attempts)
        for name in ("iterations", "callback"):
            if name in settings:
                raise InvalidInput(name, expected="no such setting; step takes one step", got=settings[name])
        self.module = module
        self.mu: float | None = None
        self._minimiser = GaussNewton(
            iterations=attempts, callback=lambda iteration: iteration.accepted, **settings
        )

    def step(self, inputs: Tensor, targets: Tensor) -> float:
        """One damped step on |module(inputs) - targets|^2; returns the mean squared residual after it."""
        problem = NetworkProblem(self.module, inputs, targets)
        result = self._minimiser.minimise(problem, damping=self.mu)
        problem.write_back(result.theta)
        # Zero would stay zero; the next batch may need damping again.
        self.mu = result.damping or None
        return result.loss / targets.numel()

    def state_dict(self) -> dict[str, float | None]:
        """The damping: all that is carried from step to step."""
        return {"mu": self.mu}

    def load_state_dict(self, state: dict[str, float | None]) -> None:
        """Continue from a `state_dict`."""
        if "mu" not in state:
            raise InvalidInput("state", expected='a dictionary with "mu"', got=sorted(state))
        self.mu = state["mu"]
