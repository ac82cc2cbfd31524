"""Nonlinear least-squares problems |r(theta)|^2 as Gauss-Newton sees them: residual, Jacobian, structure.

theta is one flat vector of M parameters and r one flat vector of m residuals. Derivatives of functions come
from torch.func. A problem that knows J^T J or J J^T in closed form says so by `gram`.

What does not belong here: solving (`solvers`), networks (`network`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.jacobian import DenseJacobian, Jacobian

Side = Literal["residuals", "parameters"]


@dataclass(frozen=True)
class Gram:
    """A Gram matrix of the Jacobian.

    Attributes:
        side: "residuals" for J J^T (m, m), "parameters" for J^T J (M, M).
        matrix: the matrix.
    """

    side: Side
    matrix: Tensor


class Problem:
    """A residual r : R^M -> R^m with its derivatives; subclasses define `residual` and may define the
    rest."""

    structured = False

    def __init__(self, start: Tensor) -> None:
        if not start.is_floating_point() or start.dim() != 1 or start.numel() == 0:
            raise InvalidInput(
                "start",
                expected="a nonempty floating vector",
                got=f"{start.dtype}, shape {tuple(start.shape)}",
            )
        if not bool(torch.isfinite(start).all()):
            raise InvalidInput("start", expected="finite parameters", got="NaN or an infinity")
        self.start = start.detach().clone()

    def shaped(self, theta: Tensor) -> Any:
        """theta in the form in which the parameters were given; the flat vector unless a subclass knows."""
        return theta

    def residual(self, theta: Tensor) -> Tensor:
        """r(theta), (m,)."""
        raise NotImplementedError

    def jacobian(self, theta: Tensor) -> Tensor:
        """J, (m, M): J[i, j] = d r_i / d theta_j."""
        out: Tensor = torch.func.jacrev(self.residual)(theta)
        return out.detach()

    def linearise(self, theta: Tensor) -> Jacobian:
        """J as a linear map; the matrix unless a problem knows better."""
        return DenseJacobian(self.jacobian(theta))

    def jvp(self, theta: Tensor, direction: Tensor) -> Tensor:
        """J direction, (m,)."""
        return cast(Tensor, torch.func.jvp(self.residual, (theta,), (direction,))[1]).detach()

    def vjp(self, theta: Tensor, weights: Tensor) -> Tensor:
        """J^T weights, (M,)."""
        pull_back = torch.func.vjp(self.residual, theta)[1]
        return cast(Tensor, pull_back(weights)[0]).detach()

    def gram(self, theta: Tensor) -> Gram:
        """The Gram matrix without the Jacobian; only where `structured` is True."""
        raise NotImplementedError


class FunctionProblem(Problem):
    """A residual function of one tensor or of several.

    Args:
        function: takes the parameters and returns a tensor of residuals of any shape.
        parameters: where to start; one tensor or a sequence of them. A result's `parameters` are the same:
            one tensor of that shape or a list of them.
    """

    def __init__(self, function: Callable[..., Tensor], parameters: Tensor | Sequence[Tensor]) -> None:
        self._single = isinstance(parameters, Tensor)
        pieces = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        self._function, self._shapes = function, [p.shape for p in pieces]
        super().__init__(torch.cat([p.detach().flatten() for p in pieces]))

    def split(self, theta: Tensor) -> list[Tensor]:
        """theta as the tensors that the function takes."""
        sizes = [s.numel() for s in self._shapes]
        parts: Sequence[Any] = torch.split(theta, sizes)
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]

    def shaped(self, theta: Tensor) -> Tensor | list[Tensor]:
        pieces = self.split(theta)
        return pieces[0] if self._single else pieces

    def residual(self, theta: Tensor) -> Tensor:
        return self._function(*self.split(theta)).flatten()
