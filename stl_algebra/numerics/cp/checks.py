"""What `cp_levenberg_marquardt` is given, checked and as tensors.

What does not belong here: what is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput


def require_number(name: str, value: float) -> None:
    """A finite number of at least 0, or InvalidInput."""
    if not (math.isfinite(value) and value >= 0):
        raise InvalidInput(name, expected="a finite number of at least 0", got=value)


def as_tensor(value: Any, device: torch.device | None = None) -> Tensor:
    """A tensor of an array's or a tensor's entries."""
    # A copy of an array, because a tensor cannot share memory that is read-only.
    return torch.as_tensor(np.array(value) if isinstance(value, np.ndarray) else value, device=device)


def checked_problem(target: Any, factors: Sequence[Any]) -> tuple[Tensor, list[Tensor]]:
    """The target and the factors (starts, I_n, R), in float64."""
    goal = as_tensor(target)
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
    current = [as_tensor(u, goal.device).to(torch.float64) for u in factors]
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


def checked_basis(basis: Any, current: Sequence[Tensor], frozen: object) -> Tensor | None:
    """An orthonormal basis (P, Q) in float64."""
    if basis is None:
        return None
    if frozen is not None:
        raise InvalidInput("basis", expected="no frozen entries beside it", got="both")
    space = as_tensor(basis, current[0].device).to(torch.float64)
    parameters = sum(u[0].numel() for u in current)
    if space.dim() != 2 or space.shape[0] != parameters or not 1 <= space.shape[1] <= parameters:
        raise InvalidInput(
            "basis", expected=f"shape ({parameters}, Q) with Q >= 1", got=f"shape {tuple(space.shape)}"
        )
    skew = (space.mT @ space - torch.eye(space.shape[1], dtype=space.dtype, device=space.device)).abs().max()
    if not float(skew) < 1e-10:
        raise InvalidInput("basis", expected="orthonormal columns", got=f"an error of {float(skew):.2g}")
    return space


def checked_weights(weights: Any, space: Tensor | None, factor: Tensor) -> Tensor | None:
    """Multiplicities (R,) of a basis's products, in float64."""
    if weights is None:
        return None
    if space is None:
        raise InvalidInput("weights", expected="a basis beside them", got="none")
    rank = factor.shape[2]
    multiplicity = as_tensor(weights, factor.device).to(torch.float64)
    if tuple(multiplicity.shape) != (rank,) or not bool((multiplicity >= 0).all()):
        raise InvalidInput(
            "weights", expected=f"{rank} numbers of at least 0", got=f"shape {tuple(multiplicity.shape)}"
        )
    return multiplicity


def matching(
    name: str, given: Sequence[Any] | None, current: list[Tensor], default: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Arrays shaped like the factors, or the default of each."""
    if given is None:
        return [default(u) for u in current]
    if len(given) != len(current):
        raise InvalidInput(name, expected=f"{len(current)} arrays, shaped like factors", got=len(given))
    out = []
    for n, (value, u) in enumerate(zip(given, current, strict=True)):
        array = as_tensor(value, u.device).to(default(u[:, :0]).dtype)
        array = array.unsqueeze(0) if array.dim() == 2 else array
        if array.shape[1:] != u.shape[1:] or array.shape[0] not in (1, u.shape[0]):
            raise InvalidInput(
                f"{name}[{n}]", expected=f"shape {tuple(u.shape)}", got=f"shape {tuple(array.shape)}"
            )
        out.append(array.expand_as(u))
    return out
