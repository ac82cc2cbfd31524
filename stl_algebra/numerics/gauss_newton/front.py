"""A front like scipy.optimize.least_squares, for functions of arrays or of tensors.

What does not belong here: the minimiser (`minimise`), derivatives (`functions`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.functions import FunctionOfX
from stl_algebra.numerics.gauss_newton.minimise import GaussNewton, History, Iteration
from stl_algebra.numerics.gauss_newton.problem import Problem
from stl_algebra.numerics.gauss_newton.solvers import Prepared, Step, damped_cholesky

_MESSAGES = {
    "gradient_below_tolerance": "The largest entry of the gradient is at most gtol.",
    "loss_change_below_tolerance": "The last step changed the cost by less than ftol of it.",
    "step_below_tolerance": "The last step was shorter than xtol of x.",
    "loss_below_tolerance": "The residuals are zero.",
    "converged_to_rounding": "What is left to gain is below the rounding errors of x and of the residuals.",
    "no_step_improves": "No step along the Jacobian lowers the cost: is the Jacobian right, is f continuous?",
    "iterations_spent": "max_nfev evaluations are spent.",
}
_FAILURES = ("no_step_improves", "iterations_spent")


@dataclass(frozen=True, eq=False)
class LeastSquaresResult:
    """Where it ended; arrays or tensors, as x0 was.

    Attributes:
        x: the solution, shaped like x0.
        cost: sum of squared residuals / 2.
        fun: (m,) the residuals at x.
        jac: (m, n) the Jacobian at x; its columns are the entries of x, flattened.
        grad: (n,) jac^T fun.
        optimality: the largest entry of grad by absolute value.
        nfev: evaluations of f; those of finite differences and automatic ones do not count.
        njev: Jacobians.
        status: "gradient_below_tolerance", "loss_change_below_tolerance", "step_below_tolerance",
            "loss_below_tolerance", "converged_to_rounding", "no_step_improves" or "iterations_spent".
        message: the same as a sentence.
        history: every attempted step.
    """

    x: Any
    cost: float
    fun: Any = field(repr=False)
    jac: Any = field(repr=False)
    grad: Any = field(repr=False)
    optimality: float
    nfev: int
    njev: int
    status: str
    message: str
    history: History

    @property
    def success(self) -> bool:
        """Whether a tolerance or rounding ended it."""
        return self.status not in _FAILURES


def minimise_least_squares(
    f: Callable[[Any], Any],
    x0: Any,
    *,
    jac: str | Callable[[Any], Any] | None = None,
    bounds: Any = None,
    ftol: float = 1e-8,
    xtol: float = 1e-8,
    gtol: float = 1e-8,
    max_nfev: int | None = None,
) -> LeastSquaresResult:
    """Minimise the sum of the squares of f(x) by Gauss-Newton with Levenberg-Marquardt damping.

    Steps do not depend on the units of x: the damping is relative to the columns of the Jacobian.

    Args:
        f: x -> residuals of any shape. x is an array for an array, a list or a number x0, and a tensor
            for a tensor x0 or with jac="autodiff"; shaped like x0, (1,) for a number.
        x0: where to start. float32 stays float32; everything else becomes float64.
        jac: x -> (m, n) Jacobian; or "2-point" or "3-point" finite differences; or "autodiff", by torch. None
            is "autodiff" for a tensor x0 and else "2-point".
        bounds: there are none.
        ftol: end when a step changes the cost by less than this share of it.
        xtol: end when a step is shorter than xtol (xtol + |x|).
        gtol: end when the largest entry of the gradient is at most this.
        max_nfev: most evaluations of f, 100 n when None.

    Raises:
        InvalidInput: bounds are given, a tolerance is out of range, or f or jac do not return real numbers of
            one shape, finite at x0.

    Example:
        >>> import numpy as np
        >>> t = np.linspace(0, 4, 30)
        >>> found = minimise_least_squares(lambda x: x[0] * np.exp(-x[1] * t) - 3 * np.exp(-0.5 * t), [1, 1])
        >>> found.success, found.x.round(6).tolist()
        (True, [3.0, 0.5])
    """
    _refuse_bounds(bounds)
    for name, value in (("ftol", ftol), ("xtol", xtol), ("gtol", gtol)):
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInput(name, expected="finite and at least 0", got=value)
    problem = FunctionOfX(f, x0, jac)
    if max_nfev is None:
        max_nfev = 100 * problem.start.numel()
    if max_nfev < 1:
        raise InvalidInput("max_nfev", expected="at least 1", got=max_nfev)
    if not bool(torch.isfinite(problem.residual(problem.start)).all()):
        raise InvalidInput("f", expected="finite residuals at x0", got="NaN or an infinity")
    stop = _Stop(problem, ftol, xtol)
    minimiser = GaussNewton(
        solver=_Scaled(), iterations=max_nfev - 1, gradient_tolerance=gtol, callback=stop.after
    )
    found = minimiser.minimise(problem)
    status = stop.status if found.status == "stopped_by_callback" else found.status
    residual, jacobian = problem.residual(found.theta), problem.jacobian(found.theta)
    gradient = jacobian.mT @ residual
    return LeastSquaresResult(
        x=problem.shaped(found.theta),
        cost=found.loss / 2,
        fun=problem.given(residual),
        jac=problem.given(jacobian),
        grad=problem.given(gradient),
        optimality=float(gradient.abs().max()),
        nfev=problem.evaluations,
        njev=problem.jacobians,
        status=status,
        message=_MESSAGES[status],
        history=found.history,
    )


class _Stop:
    """ftol and xtol, looked at after each step."""

    def __init__(self, problem: FunctionOfX, ftol: float, xtol: float) -> None:
        self.problem, self.ftol, self.xtol = problem, ftol, xtol
        self.loss = problem.loss
        self.status = ""

    def after(self, step: Iteration) -> bool:
        if not step.accepted:
            return False
        before, self.loss = self.loss, step.loss
        if step.damping > 1:
            # The damping made it short; that says nothing of how far there is to go.
            return False
        if before - step.loss < self.ftol * before and step.ratio > 1 / 4:
            self.status = "loss_change_below_tolerance"
        elif step.step_norm < self.xtol * (self.xtol + float(torch.linalg.vector_norm(self.problem.best))):
            self.status = "step_below_tolerance"
        return bool(self.status)


class _Scaled:
    """The explicit Jacobian, its columns divided by the largest norms that they have had (More, 1978)."""

    name, reason = "scaled", "x may have entries in different units"

    def __init__(self) -> None:
        self.norms: Tensor | None = None

    def prepare(self, problem: Problem, theta: Tensor, residual: Tensor, turn: int = 0) -> Prepared:
        jacobian = problem.jacobian(theta)
        gradient = jacobian.mT @ residual
        norms = torch.linalg.vector_norm(jacobian, dim=0)
        self.norms = norms if self.norms is None else torch.maximum(self.norms, norms)
        scale = torch.where(self.norms > 0, self.norms, 1.0)
        scaled = jacobian / scale
        tall = jacobian.shape[0] > jacobian.shape[1]
        gram = scaled.mT @ scaled if tall else scaled @ scaled.mT

        def solve(mu: float) -> Step:
            y = damped_cholesky(gram, mu, -(gradient / scale if tall else residual))
            if y is None:
                return Step(None, torch.zeros_like(residual), 0)
            return Step((y if tall else scaled.mT @ y) / scale, scaled @ y if tall else gram @ y, 0)

        return Prepared(gradient, float(gram.diagonal().mean()), solve)


def _refuse_bounds(bounds: Any) -> None:
    if bounds is None:
        return
    try:
        low, high = bounds
        if bool(np.all(np.isneginf(low)) and np.all(np.isposinf(high))):
            return
    except (TypeError, ValueError):
        pass
    raise InvalidInput(
        "bounds", expected="none", got=bounds, hint="scipy.optimize.least_squares takes bounds"
    )
