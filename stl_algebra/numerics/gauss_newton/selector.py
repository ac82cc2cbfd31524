"""Which solver a Gauss-Newton problem gets, and why (measured).

What does not belong here: the solvers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stl_algebra.errors import InvalidInput

SolverName = Literal["structured", "dense", "sketched"]
SOLVERS: tuple[SolverName, ...] = ("structured", "dense", "sketched")
# With 1024 residuals and a given Jacobian the sketch was as fast as the explicit Gram matrix at aspect 4, 1.2
# times faster at 8, 1.5 times at 12 and 1.6 times at 20 (results/numerics/gauss-newton.json, "unstructured").
# The bound keeps a margin because a Cholesky solution is also more accurate.
SMALLEST_ASPECT, SMALLEST_SIDE, LOOSEST = 12, 1000, 1e-2


@dataclass(frozen=True)
class SolverChoice:
    """The solver and the reason, one sentence."""

    solver: SolverName
    reason: str


def select_solver(
    solver: str, *, structured: bool, residuals: int, parameters: int, tolerance: float
) -> SolverChoice:
    """Resolve "auto", or check what was asked for.

    Args:
        solver: "structured", "dense", "sketched" or "auto".
        structured: whether the problem knows its Gram matrix.
        residuals: m.
        parameters: M.
        tolerance: of the inner solution.

    Raises:
        InvalidInput: unknown solver, or "structured" for a problem without structure.
    """
    if solver == "auto":
        return _automatic(structured, min(residuals, parameters), max(residuals, parameters), tolerance)
    for name in SOLVERS:
        if solver == name:
            if name == "structured" and not structured:
                raise InvalidInput(
                    "solver",
                    expected='"dense", "sketched" or "auto" for a problem without known structure',
                    got=solver,
                )
            return SolverChoice(name, "asked for")
    raise InvalidInput("solver", expected="one of " + ", ".join((*SOLVERS, "auto")), got=solver)


def _automatic(structured: bool, small: int, large: int, tolerance: float) -> SolverChoice:
    if structured:
        return SolverChoice("structured", "the Gram matrix is known in closed form")
    if small >= SMALLEST_SIDE and large >= SMALLEST_ASPECT * small and tolerance >= LOOSEST:
        return SolverChoice(
            "sketched",
            f"{large} x {small} without structure at inner tolerance {tolerance:g}: a sketch is cheaper",
        )
    return SolverChoice("dense", f"{large} x {small} without structure: the explicit Gram matrix is cheapest")
