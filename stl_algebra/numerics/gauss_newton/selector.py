"""Which solver a Gauss-Newton problem gets, and why (measured).

What does not belong here: the solvers.
"""

from __future__ import annotations

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.solvers import SOLVERS, Dense, Sketched, Solver, Structured

# With 1024 residuals and a given Jacobian the sketch was as fast as the explicit Gram matrix at aspect 4, 1.2
# times faster at 8, 1.5 times at 12 and 1.6 times at 20 (results/numerics/gauss-newton.json, "unstructured").
# The bound keeps a margin because a Cholesky solution is also more accurate.
SMALLEST_ASPECT, SMALLEST_SIDE = 12, 1000


def select_solver(solver: str | Solver, *, structured: bool, residuals: int, parameters: int) -> Solver:
    """The solver itself, with its reason: resolves "auto", or checks what was asked for.

    Args:
        solver: "structured", "dense", "sketched", "auto" or a solver.
        structured: whether the problem knows its Gram matrix.
        residuals: m.
        parameters: M.

    Raises:
        InvalidInput: unknown solver, or "structured" for a problem without structure.
    """
    if solver == "auto":
        return _automatic(structured, min(residuals, parameters), max(residuals, parameters))
    if isinstance(solver, str):
        if solver not in SOLVERS:
            raise InvalidInput("solver", expected="one of " + ", ".join((*SOLVERS, "auto")), got=solver)
        solver = SOLVERS[solver]()
    if not hasattr(solver, "prepare"):
        raise InvalidInput("solver", expected="a solver or the name of one", got=solver)
    if isinstance(solver, Structured) and not structured:
        raise InvalidInput(
            "solver",
            expected='"dense", "sketched" or "auto" for a problem without known structure',
            got=solver.name,
        )
    return solver


def _automatic(structured: bool, small: int, large: int) -> Solver:
    if structured:
        return Structured("the Gram matrix is known in closed form")
    if small >= SMALLEST_SIDE and large >= SMALLEST_ASPECT * small:
        return Sketched(reason=f"{large} x {small} without structure: a sketch is cheaper")
    return Dense(f"{large} x {small} without structure: the explicit Gram matrix is cheapest")
