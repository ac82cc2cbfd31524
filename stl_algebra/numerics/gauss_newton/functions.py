"""A residual function of an array or of a tensor as a problem, with differences for derivatives where asked.

What does not belong here: minimising (`front`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.problem import Problem

DIFFERENCES = ("2-point", "3-point")


class FunctionOfX(Problem):
    """A residual function and its Jacobian, of an array or of a tensor."""

    def __init__(self, f: Callable[[Any], Any], x0: Any, jac: str | Callable[[Any], Any] | None) -> None:
        self.numpy = not isinstance(x0, Tensor)
        if jac is None:
            jac = "2-point" if self.numpy else "autodiff"
        if not callable(jac) and jac not in (*DIFFERENCES, "autodiff"):
            raise InvalidInput(
                "jac", expected='a function, "2-point", "3-point", "autodiff" or None', got=jac
            )
        self.f, self.jac = f, jac
        # What f and a given jac take.
        self.arrays = self.numpy and jac != "autodiff"
        start = as_tensor("x0", np.atleast_1d(x0) if self.numpy else x0)
        if start.numel() == 0 or not bool(torch.isfinite(start).all()):
            raise InvalidInput("x0", expected="finite numbers, at least one", got=x0)
        self.shape, self.outputs = start.shape, 0
        self.evaluations = self.jacobians = 0
        super().__init__(start.flatten())
        # Where the loss was lowest, the residuals there, and the last Jacobian and where it was taken.
        self.best, self.values, self.loss = self.start, self.start, math.inf
        self.last: tuple[Tensor, Tensor] | None = None

    def given(self, value: Tensor) -> Any:
        """In the form in which x0 was given."""
        return value.numpy() if self.numpy else value

    def shaped(self, theta: Tensor) -> Any:
        return self.given(theta.reshape(self.shape))

    def residual(self, theta: Tensor) -> Tensor:
        if self.loss < math.inf and torch.equal(theta, self.best):
            return self.values
        self.evaluations += 1
        # A copy: a function may fill the same tensor every time.
        values = self._values(theta).detach().clone()
        loss = float(values.square().sum())
        if loss < self.loss:
            self.best, self.values, self.loss = theta, values, loss
        return values

    def jacobian(self, theta: Tensor) -> Tensor:
        if self.last is not None and torch.equal(theta, self.last[0]):
            return self.last[1]
        self.jacobians += 1
        matrix = self._derivatives(theta)
        expected = (self.outputs, theta.numel())
        if tuple(matrix.shape) != expected:
            raise InvalidInput("jac", expected=f"shape (m, n) = {expected}", got=tuple(matrix.shape))
        if not bool(torch.isfinite(matrix).all()):
            where = f"NaN or an infinity at x = {theta.tolist()}"
            raise InvalidInput("jac", expected="finite derivatives", got=where)
        self.last = theta, matrix
        return matrix

    def _derivatives(self, theta: Tensor) -> Tensor:
        if callable(self.jac):
            return self._returned("jac", self.jac(self._argument(theta))).detach().clone()
        if self.jac == "autodiff":
            # The side with fewer derivatives to propagate.
            tall = self.outputs > theta.numel()
            differentiate = torch.func.jacfwd if tall else torch.func.jacrev
            return cast(Tensor, differentiate(self._values)(theta)).detach()
        return self._differences(theta, central=self.jac == "3-point")

    def _differences(self, theta: Tensor, central: bool) -> Tensor:
        eps = torch.finfo(theta.dtype).eps
        # One-sided differences need long steps for digits; central ones have them to spare for short ones,
        # which entries far below 1 need.
        typical = torch.maximum(theta.abs(), self.start.abs()).clamp(min=1e-3 if central else 1.0)
        sizes = eps ** (1 / 3 if central else 1 / 2) * typical
        columns = []
        here = None if central else self.residual(theta)
        for index in range(theta.numel()):
            ahead, behind = theta.clone(), theta.clone()
            ahead[index] += torch.where(theta[index] < 0, -sizes[index], sizes[index])
            if central:
                behind[index] -= ahead[index] - theta[index]
            # The difference that was really taken, which rounding has changed.
            width = ahead[index] - behind[index]
            columns.append((self._values(ahead) - (self._values(behind) if here is None else here)) / width)
        return torch.stack(columns, dim=1)

    def _values(self, theta: Tensor) -> Tensor:
        values = self._returned("f", self.f(self._argument(theta))).flatten()
        self.outputs = self.outputs or values.numel()
        if values.numel() != self.outputs or not self.outputs:
            expected = f"{self.outputs} residuals, as before" if self.outputs else "at least one residual"
            raise InvalidInput("f", expected=expected, got=f"{values.numel()}")
        return values

    def _argument(self, theta: Tensor) -> Any:
        # A copy: a function may write into its argument.
        x = theta.reshape(self.shape).clone()
        return x.numpy() if self.arrays else x

    def _returned(self, name: str, value: Any) -> Tensor:
        if self.arrays:
            return as_tensor(name, value).to(self.start.dtype)
        if not isinstance(value, Tensor):
            raise InvalidInput(
                name,
                expected="a tensor, because x is one",
                got=type(value).__name__,
                hint='use torch functions, or an array x0 and jac="2-point"',
            )
        return value.to(self.start.dtype)


def as_tensor(name: str, value: Any) -> Tensor:
    """A real floating tensor of what was given: float32 as it is, everything else in float64."""
    if isinstance(value, Tensor):
        if value.is_complex():
            raise InvalidInput(name, expected="real numbers", got=str(value.dtype))
        return value.detach() if value.dtype == torch.float32 else value.detach().to(torch.float64)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(name, expected="an array of numbers", got=str(error)) from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(name, expected="real numbers", got=f"{type(value).__name__}, dtype {array.dtype}")
    return torch.from_numpy(np.array(array, dtype=np.float32 if array.dtype == np.float32 else np.float64))
