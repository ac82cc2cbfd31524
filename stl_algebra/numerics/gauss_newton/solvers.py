"""One damped Gauss-Newton step, by three ways of solving (J^T J + mu I) s = -J^T r.

A solver is a value, with the reason why it was taken. It is prepared once at a point, with the expensive
part, and then solves for any damping: a rejected step costs a factorisation, not a Jacobian. Where there are
fewer residuals than parameters the equivalent s = -J^T (J J^T + mu I)^-1 r is used, the smaller side.

What does not belong here: which solver to take (`selector`), how mu moves (`minimise`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.problem import Problem
from stl_algebra.numerics.sketches import SKETCHES, make_sketch

# Columns of a Gram matrix that are formed together.
_BLOCK = 256


@dataclass(frozen=True)
class Step:
    """A step and what it cost.

    Attributes:
        step: (M,); None when the damped matrix was not positive definite.
        image: J step, (m,).
        inner: conjugate-gradient iterations, 0 for direct solvers.
    """

    step: Tensor | None
    image: Tensor
    inner: int


@dataclass(frozen=True)
class Prepared:
    """A solver at a point.

    Attributes:
        gradient: J^T r.
        scale: mean diagonal entry of the smaller-side Gram matrix, what damping is relative to.
        solve: the step for a damping mu.
    """

    gradient: Tensor
    scale: float
    solve: Callable[[float], Step]


class Solver(Protocol):
    """A way of solving for the step."""

    @property
    def name(self) -> str:
        """What it is called where a solver is chosen by name."""

    @property
    def reason(self) -> str:
        """Why it was taken, one sentence."""

    def prepare(self, problem: Problem, theta: Tensor, residual: Tensor, turn: int = 0) -> Prepared:
        """Do the expensive part at theta, where r is `residual`; `turn` varies what is random."""


@dataclass(frozen=True)
class Structured:
    """Closed-form Gram matrix and Cholesky; the Jacobian is never formed. Only for problems that say so."""

    reason: str = "asked for"
    name: ClassVar[str] = "structured"

    def prepare(self, problem: Problem, theta: Tensor, residual: Tensor, turn: int = 0) -> Prepared:
        gram = problem.gram(theta)
        gradient = problem.vjp(theta, residual)

        def solve(mu: float) -> Step:
            right = residual if gram.side == "residuals" else gradient
            y = damped_cholesky(gram.matrix, mu, -right)
            if y is None:
                return Step(None, torch.zeros_like(residual), 0)
            if gram.side == "parameters":
                return Step(y, problem.jvp(theta, y), 0)
            # J J^T y is at hand; no second pass is needed for the image of the step.
            return Step(problem.vjp(theta, y), gram.matrix @ y, 0)

        return Prepared(gradient, float(gram.matrix.diagonal().mean()), solve)


@dataclass(frozen=True)
class Dense:
    """Explicit Jacobian, Gram matrix of the smaller side, Cholesky."""

    reason: str = "asked for"
    name: ClassVar[str] = "dense"

    def prepare(self, problem: Problem, theta: Tensor, residual: Tensor, turn: int = 0) -> Prepared:
        jacobian = problem.jacobian(theta)
        gradient = jacobian.mT @ residual
        tall = jacobian.shape[0] > jacobian.shape[1]
        gram = jacobian.mT @ jacobian if tall else jacobian @ jacobian.mT

        def solve(mu: float) -> Step:
            y = damped_cholesky(gram, mu, -(gradient if tall else residual))
            if y is None:
                return Step(None, torch.zeros_like(residual), 0)
            return Step(y, jacobian @ y, 0) if tall else Step(jacobian.mT @ y, gram @ y, 0)

        return Prepared(gradient, float(gram.diagonal().mean()), solve)


@dataclass(frozen=True)
class Sketched:
    """A sketch of the Jacobian's longer side, its triangular factor, and preconditioned conjugate gradients.

    With W the Jacobian or its transpose so that W is (p, q) with p <= q, S a sketch of q to about
    width_factor * p, and R the triangular factor of [S W^T; sqrt(mu) I], R^T R is close to W W^T + mu I:
    conjugate gradients preconditioned by R need O(log 1 / tolerance) steps whatever the condition number.
    The Jacobian is used as a linear map (`Problem.linearise`); an overparametrised network's is never
    written out.

    Attributes:
        tolerance: relative residual at which conjugate gradients end.
        sketch: kind of sketch, a name in `sketches.SKETCHES`; None for plain conjugate gradients.
        seed: of the sketches.
        width_factor: rows of the sketch per row of W.
        limit: most conjugate-gradient steps.
        reason: why this solver was taken.

    Raises:
        InvalidInput: a number is out of range, or there is no such sketch.
    """

    tolerance: float = 1e-2
    sketch: str | None = "sparse"
    seed: int = 0
    width_factor: float = 3.5
    limit: int = 2000
    reason: str = "asked for"
    name: ClassVar[str] = "sketched"

    def __post_init__(self) -> None:
        for name, value in (("tolerance", self.tolerance), ("width_factor", self.width_factor)):
            if not (math.isfinite(value) and value > 0):
                raise InvalidInput(name, expected="finite and above 0", got=value)
        if self.limit < 1:
            raise InvalidInput("limit", expected="at least 1", got=self.limit)
        if self.sketch is not None and self.sketch not in SKETCHES:
            raise InvalidInput("sketch", expected="one of " + ", ".join(SKETCHES), got=self.sketch)

    def prepare(self, problem: Problem, theta: Tensor, residual: Tensor, turn: int = 0) -> Prepared:
        jacobian = problem.linearise(theta)
        gradient = jacobian.transposed_times(residual)
        rows, columns = jacobian.shape
        tall = rows > columns
        p, q = min(rows, columns), max(rows, columns)
        small = gram = None
        if self.sketch is not None:
            width = min(math.ceil(self.width_factor * p), q)
            small = jacobian.sketched(make_sketch(self.sketch, q, width, self.seed + turn))
            gram = _lower_gram(small)

        def solve(mu: float) -> Step:
            root = None if small is None or gram is None else _triangle(small, gram, mu)
            down, up = (
                (jacobian.transposed_times, jacobian.times)
                if tall
                else (jacobian.times, jacobian.transposed_times)
            )
            right = -(gradient if tall else residual)
            y, image, steps = conjugate_gradients(down, up, mu, right, q, root, self.tolerance, self.limit)
            return Step(y, image, steps) if tall else Step(image, jacobian.times(image), steps)

        return Prepared(gradient, jacobian.energy() / p, solve)


#: By name, as `GaussNewton(solver=...)` takes them.
SOLVERS: dict[str, type[Structured] | type[Dense] | type[Sketched]] = {
    "structured": Structured,
    "dense": Dense,
    "sketched": Sketched,
}


def conjugate_gradients(
    times: Callable[[Tensor], Tensor],
    transposed_times: Callable[[Tensor], Tensor],
    mu: float,
    right: Tensor,
    q: int,
    root: Tensor | None,
    tolerance: float,
    limit: int,
) -> tuple[Tensor, Tensor, int]:
    """Solve (W W^T + mu I) y = right for W (p, q) given as v -> W v and u -> W^T u, preconditioned by R^T R;
    returns y, W^T y and the number of steps."""

    def precondition(v: Tensor) -> Tensor:
        if root is None:
            return v
        half = torch.linalg.solve_triangular(root.mT, v.unsqueeze(1), upper=False)
        whole: Tensor = torch.linalg.solve_triangular(root, half, upper=True)
        return whole.squeeze(1)

    y, image = torch.zeros_like(right), right.new_zeros(q)
    rest = right.clone()
    goal = tolerance * float(torch.linalg.vector_norm(right))
    z = precondition(rest)
    direction, energy = z, float(rest @ z)
    steps = 0
    while steps < limit and float(torch.linalg.vector_norm(rest)) > goal:
        lifted = transposed_times(direction)
        applied = times(lifted) + mu * direction
        curvature = float(direction @ applied)
        if not curvature > 0:
            break
        alpha = energy / curvature
        y, image, rest = y + alpha * direction, image + alpha * lifted, rest - alpha * applied
        z = precondition(rest)
        renewed = float(rest @ z)
        direction, energy = z + (renewed / energy) * direction, renewed
        steps += 1
    return y, image, steps


def _lower_gram(small: Tensor) -> Tensor:
    """small^T small on and below the diagonal, by blocks: about half of the work."""
    p = small.shape[1]
    gram = small.new_zeros(p, p)
    for start in range(0, p, _BLOCK):
        gram[start:, start : start + _BLOCK] = small[:, start:].mT @ small[:, start : start + _BLOCK]
    return gram


def _triangle(small: Tensor, gram: Tensor, mu: float) -> Tensor:
    """R with R^T R = small^T small + mu I: Cholesky of the Gram matrix, whose lower half is read; QR where
    rounding left it indefinite."""
    damped = gram.clone()
    damped.diagonal().add_(mu)
    lower, info = torch.linalg.cholesky_ex(damped)
    if int(info) == 0:
        return cast(Tensor, lower.mT)
    eye = torch.eye(small.shape[1], dtype=small.dtype, device=small.device) * math.sqrt(mu)
    return cast(Tensor, torch.linalg.qr(torch.cat([small, eye]), mode="r").R)


def damped_cholesky(matrix: Tensor, mu: float, right: Tensor) -> Tensor | None:
    """(matrix + mu I)^-1 right for a vector; None where that is not positive definite."""
    damped = matrix.clone()
    damped.diagonal().add_(mu)
    root, info = torch.linalg.cholesky_ex(damped)
    if int(info):
        return None
    return torch.cholesky_solve(right.unsqueeze(1), root).squeeze(1)
