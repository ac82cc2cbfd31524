"""Gauss-Newton with Levenberg-Marquardt damping: the loop.

What does not belong here: problems, linear solvers and their selection.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.problem import Problem
from stl_algebra.numerics.gauss_newton.selector import select_solver
from stl_algebra.numerics.gauss_newton.solvers import Prepared, Solver


@dataclass(frozen=True)
class Iteration:
    """One attempted step.

    Attributes:
        iteration: counted from 1.
        loss: |r|^2 after it.
        ratio: actual over predicted decrease.
        damping: mu that was used.
        accepted: whether the step was taken.
        step_norm: length of the step.
        inner: conjugate-gradient steps.
        seconds: since the start.
    """

    iteration: int
    loss: float
    ratio: float
    damping: float
    accepted: bool
    step_norm: float
    inner: int
    seconds: float


class History(tuple[Iteration, ...]):
    """Every attempted step; its repr says how many, not which."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self:
            return "History(no steps)"
        taken = sum(step.accepted for step in self)
        return f"History({len(self)} steps, {taken} taken, |r|^2 {self[0].loss:.3g} -> {self[-1].loss:.3g})"


@dataclass(frozen=True)
class GaussNewtonResult:
    """Where it ended.

    Attributes:
        theta: (M,) the parameters with the lowest loss, flat.
        parameters: the same in the form in which the problem was given them: a tensor, a list of tensors, or
            a network's named parameters.
        loss: |r(theta)|^2.
        status: "loss_below_tolerance", "gradient_below_tolerance", "converged_to_rounding" (no step improves,
            because what is left to gain is below the rounding errors of theta and r), "no_step_improves",
            "iterations_spent" or "stopped_by_callback".
        solver: what solved for the steps; `solver.reason` says why.
        damping: the damping to continue with.
        history: every attempted step.
    """

    theta: Tensor
    parameters: Any
    loss: float
    status: str
    solver: Solver
    damping: float
    history: History

    @property
    def converged(self) -> bool:
        """Whether a tolerance or rounding ended it."""
        return self.status in ("loss_below_tolerance", "gradient_below_tolerance", "converged_to_rounding")


class GaussNewton:
    """Minimise |r(theta)|^2.

    Args:
        solver: "structured", "dense", "sketched" or "auto" (see `selector`), or a solver with settings of its
            own, such as `Sketched(tolerance=1e-3, seed=1)`.
        iterations: most attempted steps.
        damping: first mu, relative to the mean diagonal entry of the smaller-side Gram matrix.
        loss_tolerance: stop when |r|^2 is at most this.
        gradient_tolerance: stop when max |J^T r| is at most this.
        line_search: halve a step that does not decrease the loss, up to 5 times, before damping is raised.
        callback: called after each attempted step; True ends the run.

    Raises:
        InvalidInput: a number is out of range or a name is unknown.
    """

    def __init__(
        self,
        *,
        solver: str | Solver = "auto",
        iterations: int = 100,
        damping: float = 1e-3,
        loss_tolerance: float = 0.0,
        gradient_tolerance: float = 1e-10,
        line_search: bool = False,
        callback: Callable[[Iteration], bool | None] | None = None,
    ) -> None:
        for name, value, above in (
            ("damping", damping, True),
            ("loss_tolerance", loss_tolerance, False),
            ("gradient_tolerance", gradient_tolerance, False),
        ):
            if not (math.isfinite(value) and (value > 0 if above else value >= 0)):
                raise InvalidInput(
                    name, expected=f"finite and {'above' if above else 'at least'} 0", got=value
                )
        if iterations < 0:
            raise InvalidInput("iterations", expected="at least 0", got=iterations)
        select_solver(solver, structured=True, residuals=1, parameters=1)
        self.solver, self.iterations, self.damping = solver, iterations, damping
        self.loss_tolerance, self.gradient_tolerance = loss_tolerance, gradient_tolerance
        self.line_search, self.callback = line_search, callback

    def minimise(
        self, problem: Problem, theta: Tensor | None = None, damping: float | None = None
    ) -> GaussNewtonResult:
        """Run from theta (the problem's start when None).

        Args:
            problem: what to minimise.
            theta: (M,) start.
            damping: absolute mu to start with, such as an earlier result's `damping`.

        Raises:
            InvalidInput: the residual at the start is not finite, or "structured" does not apply.
        """
        began = time.perf_counter()
        point = (problem.start if theta is None else theta).detach().clone()
        residual = problem.residual(point).detach()
        loss = float(residual.square().sum())
        if not math.isfinite(loss):
            raise InvalidInput("start", expected="a finite residual", got="NaN or an infinity")
        solver = select_solver(
            self.solver,
            structured=problem.structured,
            residuals=residual.numel(),
            parameters=point.numel(),
        )
        history: list[Iteration] = []
        prepared: Prepared | None = None
        mu, growth, status = damping, 2.0, "iterations_spent"
        for iteration in range(1, self.iterations + 1):
            if loss <= self.loss_tolerance:
                status = "loss_below_tolerance"
                break
            if prepared is None:
                prepared = solver.prepare(problem, point, residual, iteration)
                if float(prepared.gradient.abs().max()) <= self.gradient_tolerance:
                    status = "gradient_below_tolerance"
                    break
                if not math.isfinite(prepared.scale):
                    # Derivatives that are not finite: no damping helps.
                    status = "no_step_improves"
                    break
            if mu is None:
                mu = self.damping * prepared.scale
            found = prepared.solve(mu)
            ratio, accepted, used, norm = -math.inf, False, mu, 0.0
            if found.step is not None and bool(torch.isfinite(found.step).all()):
                norm = float(torch.linalg.vector_norm(found.step))
                for halving in range(6 if self.line_search else 1):
                    share = 0.5**halving
                    trial = point + share * found.step
                    new_residual = problem.residual(trial).detach()
                    new_loss = float(new_residual.square().sum())
                    # |r|^2 - |r + J s|^2, expanded so that nearly equal squares are not subtracted.
                    predicted = -share * float((2 * residual + share * found.image) @ found.image)
                    ratio = (loss - new_loss) / predicted if predicted > 0 else -math.inf
                    accepted = math.isfinite(new_loss) and new_loss < loss
                    if accepted:
                        break
            if accepted:
                point, residual, loss, prepared = trial, new_residual, new_loss, None
                mu, growth = mu * min(max(1 / 3, 1 - (2 * ratio - 1) ** 3), 2.0), 2.0
            else:
                mu, growth = mu * growth, growth * 2
            record = Iteration(
                iteration, loss, ratio, used, accepted, norm, found.inner, time.perf_counter() - began
            )
            history.append(record)
            if self.callback is not None and self.callback(record):
                status = "stopped_by_callback"
                break
            if prepared is not None and mu > 1e12 * max(prepared.scale, 1e-300):
                rounded = _at_rounding(problem, prepared, point, residual)
                status = "converged_to_rounding" if rounded else "no_step_improves"
                break
        if status == "iterations_spent" and loss <= self.loss_tolerance:
            status = "loss_below_tolerance"
        return GaussNewtonResult(
            point, problem.shaped(point), loss, status, solver, mu or 0.0, History(history)
        )


def _at_rounding(problem: Problem, prepared: Prepared, point: Tensor, residual: Tensor) -> bool:
    """Whether the Gauss-Newton step is lost in rounding errors of the dtype.

    It moves the residual by J s. That is noise when rounding theta alone moves the residual as far, and it is
    not seen in |r|^2 when |J s|^2 is below eps |r|^2.
    """
    eps = damping = torch.finfo(residual.dtype).eps
    found = prepared.solve(damping * prepared.scale)
    while found.step is None or not bool(torch.isfinite(found.step).all()):
        damping *= 10
        if damping > 1e-2:
            return False
        found = prepared.solve(damping * prepared.scale)
    moved = float(torch.linalg.vector_norm(found.image))
    if moved**2 <= 4 * eps * float(residual.square().sum()):
        return True
    # Rounding errors have random signs.
    jacobian, generator = problem.linearise(point), torch.Generator().manual_seed(0)
    signs = (torch.randint(0, 2, (4, len(point)), generator=generator) * 2 - 1).to(point)
    noise = max(float(torch.linalg.vector_norm(jacobian.times(point * s))) for s in signs)
    return moved <= 4 * eps * noise
