"""Levenberg-Marquardt for the CP decomposition of a dense tensor, batched over starts, in float64.

Minimises, for every start of a batch independently,

    |T - sum_r u1_r (x) u2_r (x) ... (x) uN_r|^2 + pull * sum_n |U_n - anchor_n|^2

without ever forming the Jacobian J: J^T J has closed-form blocks. With G_n = U_n^T U_n (R x R) and * the
Hadamard product, the block of mode n with itself is I (x) (*_{p != n} G_p), and the block of modes n != m is
[(i, r), (j, s)] -> U_n[i, s] U_m[j, r] (*_{p != n, m} G_p)[r, s] (Phan, Tichavsky, Cichocki, "Low complexity
damped Gauss-Newton algorithms for CANDECOMP/PARAFAC", SIAM J. Matrix Anal. Appl. 34, 2013).

What does not belong here: where starts come from, discretisation, anything that knows of matrix
multiplication.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.cp.derivatives import cp_gradient, cp_gram, cp_gram_within, cp_reconstruct

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-300, 1e12
RUNNING, CONVERGED, STATIONARY, STALLED, EXHAUSTED = range(5)
STATUS = (
    "running",
    "loss_below_tolerance",
    "gradient_below_tolerance",
    "no_step_improves",
    "iterations_spent",
)


@dataclass(frozen=True)
class CPFit:
    """The outcome of `cp_levenberg_marquardt`, one entry per start.

    Attributes:
        factors: one (starts, I_n, R) float64 tensor per mode.
        loss: (starts,) the squared residual |T - T^|^2, without the pull.
        objective: (starts,) the loss plus the pull.
        iterations: (starts,) iterations spent, accepted or not.
        status: one word per start: "loss_below_tolerance", "gradient_below_tolerance", "no_step_improves" or
            "iterations_spent".
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
    pull: float = 0.0,
    anchor: Sequence[Any] | None = None,
    frozen: Sequence[Any] | None = None,
    basis: Any = None,
    weights: Any = None,
    iterations: int = 500,
    loss_tolerance: float = 1e-24,
    gradient_tolerance: float = 1e-13,
    damping: float = 1e-2,
    callback: Callable[[int, Tensor], bool | None] | None = None,
) -> CPFit:
    """Minimise |T - [[U_1, ..., U_N]]|^2 + pull * sum |U_n - anchor_n|^2 from every given start.

    Starts are independent: each has its own damping (Nielsen's rule on the ratio of actual to predicted
    decrease), and one that ends costs nothing any more. One iteration costs a Cholesky factorisation of order
    P = R * sum(I_n) per running start.

    Args:
        target: T, (I_1, ..., I_N) with N >= 2; real, finite; numpy arrays and tensors are both taken.
        factors: the starts, one (starts, I_n, R) or (I_n, R) array per mode.
        pull: weight of the Tikhonov term, at least 0. It bounds the factors: without it the infimum need not
            be attained. A falling sequence of pulls, each run from the last one's factors and the final one
            without a pull, finds exact algorithms most often: 1e-2, 1e-3, 0 with 60 iterations each but the
            last (<3,3,3;23> from Gaussian starts).
        anchor: what the factors are pulled to, shaped like `factors`; zero when None.
        frozen: masks shaped like `factors`; entries that are True keep their start value.
        basis: E, (P, Q) with orthonormal columns: steps are E phi, so that factors that start in its range
            stay in that linear space; parameters are ordered as in `cp_gram`. The Cholesky factorisation
            is then of order Q. Not together with `frozen`: to hold some of phi, leave out their columns.
        weights: with a basis of invariant factors, (R,): the size of its orbit for one product of each orbit
            and 0 for the others, see `cp_gram_within`; all 1 when None.
        iterations: at most so many per start.
        loss_tolerance: a start is done when its loss is at most this times |T|^2.
        gradient_tolerance: a start is done when max |gradient| is at most this times max(1, |T|^2).
        damping: the first damping, relative to the largest diagonal entry of J^T J.
        callback: called after each iteration with its number and the (starts,) losses; True ends the run.

    Returns:
        A `CPFit` on the target's device.

    Raises:
        InvalidInput: shapes do not match, an entry is not finite, or a number is out of range.
    """
    goal, current = _checked(target, factors)
    space = _checked_basis(basis, current, frozen)
    multiplicity = _checked_weights(weights, space, current[0])
    reference = _matching("anchor", anchor, current, torch.zeros_like)
    fixed = _matching("frozen", frozen, current, lambda u: torch.zeros_like(u, dtype=torch.bool))
    for name, value, least in (
        ("pull", pull, 0.0),
        ("loss_tolerance", loss_tolerance, 0.0),
        ("damping", damping, 0.0),
    ):
        if not (math.isfinite(value) and value >= least):
            raise InvalidInput(name, expected=f"a finite number of at least {least:g}", got=value)
    if iterations < 0:
        raise InvalidInput("iterations", expected="at least 0", got=iterations)

    sides, rank = [u.shape[1] for u in current], current[0].shape[2]
    starts = current[0].shape[0]
    theta = torch.cat([u.reshape(starts, -1) for u in current], dim=1)
    centre = torch.cat([u.reshape(starts, -1) for u in reference], dim=1)
    free = ~torch.cat([m.reshape(starts, -1) for m in fixed], dim=1)
    scale = float(goal.square().sum()) or 1.0

    def split(flat: Tensor) -> list[Tensor]:
        pieces = torch.split(flat, [side * rank for side in sides], dim=1)
        return [p.reshape(-1, side, rank) for p, side in zip(pieces, sides, strict=True)]

    def evaluate(flat: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        residual = cp_reconstruct(split(flat)) - goal
        loss = residual.flatten(1).square().sum(1)
        return residual, loss, loss + pull * (flat - at).square().sum(1)

    residual, loss, objective = evaluate(theta, centre)
    status = torch.zeros(starts, dtype=torch.long, device=theta.device)
    spent = torch.zeros_like(status)
    mu = torch.full_like(loss, -1.0)
    growth = torch.full_like(loss, 2.0)
    status[loss <= loss_tolerance * scale] = CONVERGED
    for iteration in range(iterations):
        rows = torch.nonzero(status == RUNNING).flatten()
        if rows.numel() == 0:
            break
        spent[rows] += 1
        point, at, mask = theta[rows], centre[rows], free[rows]
        parts = split(point)
        gradient = (cp_gradient(residual[rows], parts) + pull * (point - at)) * mask
        if space is None:
            matrix = cp_gram(parts)
        else:
            gradient, mask = gradient @ space, mask[:, : space.shape[1]]
            matrix = cp_gram_within(parts, space, multiplicity)
        flat_enough = gradient.abs().amax(1) <= gradient_tolerance * max(1.0, scale)
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        first = mu[rows] < 0
        mu[rows] = torch.where(first, damping * diagonal.amax(1), mu[rows]).clamp(min=_SMALLEST_DAMPING)
        if not bool(mask.all()):
            matrix *= mask.unsqueeze(1) & mask.unsqueeze(2)
        diagonal += pull + mu[rows].unsqueeze(1) + (~mask).to(matrix.dtype)
        root, info = torch.linalg.cholesky_ex(matrix)
        step = torch.cholesky_solve(-gradient.unsqueeze(2), root).squeeze(2) * mask
        usable = (info == 0) & torch.isfinite(step).all(1)
        step = torch.where(usable.unsqueeze(1), step, 0.0)
        moved = point + (step if space is None else step @ space.mT)
        new_residual, new_loss, new_objective = evaluate(moved, at)
        # The decrease that the quadratic model predicts for the objective: -2 g.s - s.(J^T J + pull) s with
        # (J^T J + pull + mu) s = -g, which is s.(mu s - g) and has no cancellation.
        predicted = (step * (mu[rows].unsqueeze(1) * step - gradient)).sum(1)
        ratio = (objective[rows] - new_objective) / predicted.clamp(min=1e-300)
        accepted = usable & (new_objective < objective[rows])
        kept = rows[accepted]
        theta[kept] = moved[accepted]
        residual[kept], loss[kept], objective[kept] = (
            new_residual[accepted],
            new_loss[accepted],
            new_objective[accepted],
        )
        shrink = torch.clamp(1 - (2 * ratio - 1) ** 3, 1 / 3, 2.0)
        mu[rows] = mu[rows] * torch.where(accepted, shrink, growth[rows])
        growth[rows] = torch.where(accepted, 2.0, growth[rows] * 2)
        status[rows[mu[rows] > _LARGEST_DAMPING * scale]] = STALLED
        status[rows[flat_enough]] = STATIONARY
        status[rows[loss[rows] <= loss_tolerance * scale]] = CONVERGED
        if callback is not None and callback(iteration, loss.clone()):
            break
    status[status == RUNNING] = EXHAUSTED
    return CPFit(
        factors=tuple(split(theta)),
        loss=loss,
        objective=objective,
        iterations=spent,
        status=tuple(STATUS[code] for code in status.tolist()),
    )


def _tensor(value: Any, device: torch.device | None = None) -> Tensor:
    # A copy of an array, because a tensor cannot share memory that is read-only.
    return torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value, device=device)


def _checked(target: Any, factors: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    goal = _tensor(target)
    if goal.is_complex() or goal.dim() < 2:
        raise InvalidInput(
            "target", expected="a real tensor with at least 2 axes", got=f"{goal.dtype}, {goal.dim()} axes"
        )
    goal = goal.to(torch.float64)
    if not bool(torch.isfinite(goal).all()):
        raise InvalidInput("target", expected="finite entries", got="NaN or an infinity")
    if len(factors) != goal.dim():
        raise InvalidInput(
            "factors", expected=f"{goal.dim()} factors, one per axis of target", got=len(factors)
        )
    current = [_tensor(u, goal.device).to(torch.float64) for u in factors]
    current = [u.unsqueeze(0) if u.dim() == 2 else u for u in current]
    starts, rank = current[0].shape[0], current[0].shape[-1]
    for n, u in enumerate(current):
        expected = (starts, goal.shape[n], rank)
        if tuple(u.shape) != expected:
            raise InvalidInput(
                f"factors[{n}]",
                expected=f"shape (starts, I_{n + 1}, R) = {expected}",
                got=f"shape {tuple(u.shape)}",
            )
        if not bool(torch.isfinite(u).all()):
            raise InvalidInput(f"factors[{n}]", expected="finite entries", got="NaN or an infinity")
    return goal, current


def _checked_basis(basis: Any, current: Sequence[Tensor], frozen: object) -> Tensor | None:
    if basis is None:
        return None
    if frozen is not None:
        raise InvalidInput("basis", expected="no frozen entries beside it", got="both")
    space = _tensor(basis, current[0].device).to(torch.float64)
    parameters = sum(u[0].numel() for u in current)
    if space.dim() != 2 or space.shape[0] != parameters or not 1 <= space.shape[1] <= parameters:
        raise InvalidInput(
            "basis", expected=f"shape ({parameters}, Q) with Q >= 1", got=f"shape {tuple(space.shape)}"
        )
    skew = (space.mT @ space - torch.eye(space.shape[1], dtype=space.dtype, device=space.device)).abs().max()
    if not float(skew) < 1e-10:
        raise InvalidInput("basis", expected="orthonormal columns", got=f"an error of {float(skew):.2g}")
    return space


def _checked_weights(weights: Any, space: Tensor | None, factor: Tensor) -> Tensor | None:
    if weights is None:
        return None
    if space is None:
        raise InvalidInput("weights", expected="a basis beside them", got="none")
    rank = factor.shape[2]
    multiplicity = _tensor(weights, factor.device).to(torch.float64)
    if tuple(multiplicity.shape) != (rank,) or not bool((multiplicity >= 0).all()):
        raise InvalidInput(
            "weights", expected=f"{rank} numbers of at least 0", got=f"shape {tuple(multiplicity.shape)}"
        )
    return multiplicity


def _matching(
    name: str, given: Sequence[Any] | None, current: list[Tensor], default: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    if given is None:
        return [default(u) for u in current]
    if len(given) != len(current):
        raise InvalidInput(name, expected=f"{len(current)} arrays, shaped like factors", got=len(given))
    out = []
    for n, (value, u) in enumerate(zip(given, current, strict=True)):
        array = _tensor(value, u.device).to(default(u[:, :0]).dtype)
        array = array.unsqueeze(0) if array.dim() == 2 else array
        if array.shape[1:] != u.shape[1:] or array.shape[0] not in (1, u.shape[0]):
            raise InvalidInput(
                f"{name}[{n}]", expected=f"shape {tuple(u.shape)}", got=f"shape {tuple(array.shape)}"
            )
        out.append(array.expand_as(u))
    return out
