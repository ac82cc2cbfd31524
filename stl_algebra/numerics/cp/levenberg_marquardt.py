"""Levenberg-Marquardt for the CP decomposition of a dense tensor, batched over starts, in float64.

Minimises, for every start of a batch independently,

    |T - sum_r u1_r (x) u2_r (x) ... (x) uN_r|^2 + pull * sum_n |U_n - anchor_n|^2
        + product_penalty * sum_r |u1_r|^2 |u2_r|^2 ... |uN_r|^2

without ever forming the Jacobian J: J^T J has closed-form blocks. With G_n = U_n^T U_n (R x R) and * the
Hadamard product, the block of mode n with itself is I (x) (*_{p != n} G_p), and the block of modes n != m is
[(i, r), (j, s)] -> U_n[i, s] U_m[j, r] (*_{p != n, m} G_p)[r, s] (Phan, Tichavsky, Cichocki, "Low complexity
damped Gauss-Newton algorithms for CANDECOMP/PARAFAC", SIAM J. Matrix Anal. Appl. 34, 2013).

What does not belong here: where starts come from, discretisation, checks of arguments (`checks`), anything
that knows of matrix multiplication.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.cp.checks import (
    checked_basis,
    checked_problem,
    checked_weights,
    matching,
    require_number,
)
from stl_algebra.numerics.cp.derivatives import (
    add_product_penalty,
    cp_gradient,
    cp_gram,
    cp_gram_within,
    cp_reconstruct,
    product_norms,
)

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-300, 1e12
RUNNING, CONVERGED, STATIONARY, STALLED, EXHAUSTED, SETTLED = range(6)
STATUS = (
    "running",
    "loss_below_tolerance",
    "gradient_below_tolerance",
    "no_step_improves",
    "iterations_spent",
    "decrease_below_tolerance",
)


@dataclass(frozen=True)
class CPOptions:
    """What is rarely changed of `cp_levenberg_marquardt`.

    Attributes:
        anchor: what the factors are pulled to, shaped like `factors`; zero when None.
        loss_tolerance: a start is done with a stage when its loss is at most this times |T|^2.
        gradient_tolerance: a start is done with a stage when max |gradient| is at most this times
            max(1, |T|^2).
        decrease_tolerance: a start is done with a stage when a step lowers its objective by less than this
            times the objective; 0 for never.
        damping: the first damping of a stage, relative to the largest diagonal entry of J^T J.
        product_penalty: weight of the squared norms of the products. For the tensor of matrix multiplication
            it is the c of NMSE + c A. Its residuals, one a product, add a rank-one block each to J^T J.

    Raises:
        InvalidInput: a number is out of range.
    """

    anchor: Sequence[Any] | None = None
    loss_tolerance: float = 1e-24
    gradient_tolerance: float = 1e-13
    decrease_tolerance: float = 0.0
    damping: float = 1e-2
    product_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "loss_tolerance", "gradient_tolerance", "decrease_tolerance", "damping", "product_penalty",
        ):  # fmt: skip
            require_number(name, getattr(self, name))


@dataclass(frozen=True)
class CPFit:
    """The outcome of `cp_levenberg_marquardt`, one entry per start.

    Attributes:
        factors: one (starts, I_n, R) float64 tensor per mode.
        loss: (starts,) the squared residual |T - T^|^2, without the pull.
        objective: (starts,) the loss plus the last stage's pull and the products' penalty.
        iterations: (starts,) iterations spent in all stages, accepted or not.
        status: one word per start on the last stage: "loss_below_tolerance", "gradient_below_tolerance",
            "decrease_below_tolerance", "no_step_improves" or "iterations_spent".
    """

    factors: tuple[Tensor, ...]
    loss: Tensor
    objective: Tensor
    iterations: Tensor
    status: tuple[str, ...]

    def best(self) -> int:
        """The start with the lowest loss."""
        return int(torch.argmin(self.loss))


def cp_levenberg_marquardt(
    target: Any,
    factors: Sequence[Any],
    *,
    schedule: Sequence[tuple[float, int]] = ((0.0, 500),),
    frozen: Sequence[Any] | None = None,
    basis: Any = None,
    weights: Any = None,
    callback: Callable[[int, Tensor], bool | None] | None = None,
    options: CPOptions | None = None,
) -> CPFit:
    """Minimise |T - [[U_1, ..., U_N]]|^2 + pull * sum |U_n - anchor_n|^2 from every given start.

    Starts are independent: each has its own damping (Nielsen's rule on the ratio of actual to predicted
    decrease), and one that ends costs nothing any more. One iteration costs a Cholesky factorisation of order
    P = R * sum(I_n) per running start.

    Args:
        target: T, (I_1, ..., I_N) with N >= 2; real, finite; numpy arrays and tensors are both taken.
        factors: the starts, one (starts, I_n, R) or (I_n, R) array per mode.
        schedule: stages (pull, iterations), at least one. Each starts from the last one's factors with fresh
            damping and takes at most so many iterations per start. The pull is the weight of the Tikhonov
            term, at least 0. It bounds the factors: without it the infimum need not be attained. Falling
            pulls, the last one 0, find exact algorithms most often: 1e-2, 1e-3, 0 with 60 iterations each but
            the last (<3,3,3;23> from Gaussian starts).
        frozen: masks shaped like `factors`; entries that are True keep their start value.
        basis: E, (P, Q) with orthonormal columns: steps are E phi, so that factors that start in its range
            stay in that linear space; parameters are ordered as in `cp_gram`. The Cholesky factorisation
            is then of order Q. Not together with `frozen`: to hold some of phi, leave out their columns.
        weights: with a basis of invariant factors, (R,): the size of its orbit for one product of each orbit
            and 0 for the others, see `cp_gram_within`; all 1 when None.
        callback: called after each iteration with its number, counted through all stages, and the (starts,)
            losses; True ends the run.
        options: `CPOptions`; the usual ones when None.

    Returns:
        A `CPFit` on the target's device.

    Raises:
        InvalidInput: shapes do not match, an entry is not finite, or a number is out of range.
    """
    options = CPOptions() if options is None else options
    goal, current = checked_problem(target, factors)
    space = checked_basis(basis, current, frozen)
    if space is not None and options.product_penalty:
        raise InvalidInput("product_penalty", expected="0 with a basis", got=options.product_penalty)
    multiplicity = checked_weights(weights, space, current[0])
    reference = matching("anchor", options.anchor, current, torch.zeros_like)
    fixed = matching("frozen", frozen, current, lambda u: torch.zeros_like(u, dtype=torch.bool))
    if not schedule:
        raise InvalidInput("schedule", expected="at least one (pull, iterations)", got="none")
    for pull, iterations in schedule:
        require_number("pull", pull)
        if iterations < 0:
            raise InvalidInput("iterations", expected="at least 0", got=iterations)
    starts = current[0].shape[0]
    run = _Run(
        goal=goal,
        sides=[u.shape[1] for u in current],
        theta=torch.cat([u.reshape(starts, -1) for u in current], dim=1),
        centre=torch.cat([u.reshape(starts, -1) for u in reference], dim=1),
        free=~torch.cat([m.reshape(starts, -1) for m in fixed], dim=1),
        space=space,
        multiplicity=multiplicity,
        options=options,
    )
    for pull, iterations in schedule:
        if run.stage(pull, iterations, callback):
            break
    return CPFit(
        factors=tuple(run.split(run.theta)),
        loss=run.loss,
        objective=run.objective,
        iterations=run.spent,
        status=tuple(STATUS[code] for code in run.status.tolist()),
    )


class _Run:
    """The state of a run: every start's parameters and what they give."""

    def __init__(
        self,
        *,
        goal: Tensor,
        sides: list[int],
        theta: Tensor,
        centre: Tensor,
        free: Tensor,
        space: Tensor | None,
        multiplicity: Tensor | None,
        options: CPOptions,
    ) -> None:
        self.goal, self.sides, self.theta, self.centre, self.free = goal, sides, theta, centre, free
        self.space, self.multiplicity, self.options = space, multiplicity, options
        self.rank = theta.shape[1] // sum(sides)
        self.scale = float(goal.square().sum()) or 1.0
        self.spent = torch.zeros(theta.shape[0], dtype=torch.long, device=theta.device)
        self.number = 0

    def split(self, flat: Tensor) -> list[Tensor]:
        """Parameters as factors (starts, I_n, R)."""
        pieces = torch.split(flat, [side * self.rank for side in self.sides], dim=1)
        return [p.reshape(-1, side, self.rank) for p, side in zip(pieces, self.sides, strict=True)]

    def evaluate(self, flat: Tensor, at: Tensor, pull: float) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals, losses and objectives."""
        parts = self.split(flat)
        residual = cp_reconstruct(parts) - self.goal
        loss = residual.flatten(1).square().sum(1)
        objective = loss + pull * (flat - at).square().sum(1)
        if self.options.product_penalty:
            objective = objective + self.options.product_penalty * product_norms(parts).square().sum(1)
        return residual, loss, objective

    def stage(
        self, pull: float, iterations: int, callback: Callable[[int, Tensor], bool | None] | None
    ) -> bool:
        """Iterate with one pull from where the last stage ended; whether the callback ended the run."""
        solved = self.options.loss_tolerance * self.scale
        self.residual, self.loss, self.objective = self.evaluate(self.theta, self.centre, pull)
        self.status = torch.zeros_like(self.spent)
        self.mu, self.growth = torch.full_like(self.loss, -1.0), torch.full_like(self.loss, 2.0)
        self.status[self.loss <= solved] = CONVERGED
        ended = False
        for _ in range(iterations):
            rows = torch.nonzero(self.status == RUNNING).flatten()
            if rows.numel() == 0:
                break
            self.spent[rows] += 1
            flat_enough, settled = self._step(rows, pull)
            self.status[rows[settled]] = SETTLED
            self.status[rows[self.mu[rows] > _LARGEST_DAMPING * self.scale]] = STALLED
            self.status[rows[flat_enough]] = STATIONARY
            self.status[rows[self.loss[rows] <= solved]] = CONVERGED
            ended = callback is not None and bool(callback(self.number, self.loss.clone()))
            self.number += 1
            if ended:
                break
        self.status[self.status == RUNNING] = EXHAUSTED
        return ended

    def _step(self, rows: Tensor, pull: float) -> tuple[Tensor, Tensor]:
        """One attempted step of some starts; which had a gradient and which a decrease below tolerance."""
        point, at, mask = self.theta[rows], self.centre[rows], self.free[rows]
        parts, space, mu = self.split(point), self.space, self.mu
        gradient = (cp_gradient(self.residual[rows], parts) + pull * (point - at)) * mask
        if space is None:
            matrix = cp_gram(parts)
            if self.options.product_penalty:
                gradient += add_product_penalty(matrix, parts, self.options.product_penalty) * mask
        else:
            gradient, mask = gradient @ space, mask[:, : space.shape[1]]
            matrix = cp_gram_within(parts, space, self.multiplicity)
        flat_enough = gradient.abs().amax(1) <= self.options.gradient_tolerance * max(1.0, self.scale)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        first = self.options.damping * diagonal.amax(1)
        mu[rows] = torch.where(mu[rows] < 0, first, mu[rows]).clamp(min=_SMALLEST_DAMPING)
        if not bool(mask.all()):
            matrix *= mask.unsqueeze(1) & mask.unsqueeze(2)
        diagonal += pull + mu[rows].unsqueeze(1) + (~mask).to(matrix.dtype)
        root, info = torch.linalg.cholesky_ex(matrix)
        step = torch.cholesky_solve(-gradient.unsqueeze(2), root).squeeze(2) * mask
        usable = (info == 0) & torch.isfinite(step).all(1)
        step = torch.where(usable.unsqueeze(1), step, 0.0)
        moved = point + (step if space is None else step @ space.mT)
        residual, loss, objective = self.evaluate(moved, at, pull)
        # The decrease that the quadratic model predicts for the objective: -2 g.s - s.(J^T J + pull) s with
        # (J^T J + pull + mu) s = -g, which is s.(mu s - g) and has no cancellation.
        predicted = (step * (mu[rows].unsqueeze(1) * step - gradient)).sum(1)
        decrease = self.objective[rows] - objective
        ratio = decrease / predicted.clamp(min=1e-300)
        accepted = usable & (decrease > 0)
        settled = accepted & (decrease < self.options.decrease_tolerance * objective)
        kept = rows[accepted]
        self.theta[kept], self.residual[kept] = moved[accepted], residual[accepted]
        self.loss[kept], self.objective[kept] = loss[accepted], objective[accepted]
        shrink = torch.clamp(1 - (2 * ratio - 1) ** 3, 1 / 3, 2.0)
        mu[rows] = mu[rows] * torch.where(accepted, shrink, self.growth[rows])
        self.growth[rows] = torch.where(accepted, 2.0, self.growth[rows] * 2)
        return flat_enough, settled
