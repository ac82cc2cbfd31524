"""Time to the same loss of Gauss-Newton's solvers on an overparametrised ReLU network, against n; and of one
step of an unstructured problem, against its aspect ratio, which the selector's bounds come from.

Seconds are CPU seconds of one thread, since other programs may share the machine.

What does not belong here: the solvers.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stl_algebra.numerics.gauss_newton import GaussNewton, GaussNewtonResult, NetworkProblem
from stl_algebra.numerics.gauss_newton.problem import Problem
from stl_algebra.numerics.gauss_newton.solvers import Dense, Sketched, Solver

SAMPLES, WIDTH, INPUTS, DAMPING = (256, 512, 1024, 2048), 183, 16, 1e-4
# Rounds in which a solver takes part; all of a round run one after the other, so that they share the machine.
ROUNDS = {"structured": 5, "auto": 5, "sketched": 3, "dense": 3}
UNSTRUCTURED_SIDE, ASPECTS = 1024, (4, 8, 12, 20)


def run() -> dict[str, Any]:
    """Median seconds, loss, inner steps per solver and n; fitted exponents in n; the ratios that follow."""
    table = [_measure(n) for n in SAMPLES]
    sizes = np.log([row["n"] for row in table])
    last = table[-1]
    best = [min(row[s]["seconds"] for s in ("structured", "dense", "sketched")) for row in table]
    return {
        "network": f"{INPUTS}-{WIDTH}-{WIDTH}-1 ReLU, float32; loss reduced to 1 % of its start",
        "table": table,
        "exponents_in_n_per_step": {
            s: float(np.polyfit(sizes, np.log([r[s]["seconds_per_step"] for r in table]), 1)[0])
            for s in ("structured", "dense", "sketched")
        },
        "n2048_faster_than_explicit_gram": {
            s: last["dense"]["seconds"] / last[s]["seconds"] for s in ("structured", "sketched")
        },
        "automatic_over_best_of_three": [
            row["auto"]["seconds"] / least for row, least in zip(table, best, strict=True)
        ],
        "unstructured": [_unstructured(UNSTRUCTURED_SIDE, aspect) for aspect in ASPECTS],
    }


class _Linear(Problem):
    """r = matrix theta - 1, whose Jacobian costs nothing: what remains is the solvers' time."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(torch.zeros(matrix.shape[1], dtype=matrix.dtype))
        self._matrix = matrix

    def residual(self, theta: Tensor) -> Tensor:
        return self._matrix @ theta - 1

    def jacobian(self, theta: Tensor) -> Tensor:
        return self._matrix


def _unstructured(side: int, aspect: int) -> dict[str, float]:
    """Median seconds of one step with a (side, aspect * side) Jacobian of condition about 100."""
    generator = torch.Generator().manual_seed(aspect)
    rows = torch.logspace(0, -2, side).unsqueeze(1) * torch.randn(side, aspect * side, generator=generator)
    problem = _Linear(rows)
    residual = problem.residual(problem.start)
    spent: dict[str, list[float]] = {"dense": [], "sketched": []}
    solvers: tuple[Solver, ...] = (Dense(), Sketched())
    for _ in range(5):
        for solver in solvers:
            begin = time.process_time()
            prepared = solver.prepare(problem, problem.start, residual)
            prepared.solve(DAMPING * prepared.scale)
            spent[solver.name].append(time.process_time() - begin)
    row: dict[str, float] = {"residuals": side, "parameters": aspect * side}
    print(row | {name: statistics.median(times) for name, times in spent.items()}, flush=True)
    return row | {name: statistics.median(times) for name, times in spent.items()}


def _measure(n: int) -> dict[str, Any]:
    torch.manual_seed(n)
    layers = [nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)]
    x = torch.randn(n, INPUTS)
    problem = NetworkProblem(nn.Sequential(*layers), x, torch.sin(x.sum(1, keepdim=True)))
    residual = problem.residual(problem.start).detach()
    row: dict[str, Any] = {"n": n, "parameters": problem.start.numel()}
    for name, sketch in (("sketched", "sparse"), ("plain", None)):
        prepared = Sketched(sketch=sketch).prepare(problem, problem.start, residual)
        row[f"{name}_cg_steps_first_step"] = prepared.solve(DAMPING * prepared.scale).inner
    spent: dict[str, list[float]] = {solver: [] for solver in ROUNDS}
    results: dict[str, GaussNewtonResult] = {}
    for turn in range(-1, max(ROUNDS.values())):
        for solver, rounds in ROUNDS.items():
            if turn >= rounds:
                continue
            begin = time.process_time()
            result = GaussNewton(
                solver=solver,
                damping=DAMPING,
                loss_tolerance=1e-2 * float(residual.square().sum()),
                # The first calls load parts of torch; that is not the solvers' time.
                iterations=30 if turn >= 0 else 1,
            ).minimise(problem)
            if turn >= 0:
                spent[solver].append(time.process_time() - begin)
                results[solver] = result
    for solver, times in spent.items():
        result, median = results[solver], statistics.median(times)
        row[solver] = {
            "seconds": median,
            "spread": [min(times), max(times)],
            "rounds": len(times),
            "seconds_per_step": median / len(result.history),
            "loss": result.loss,
            "status": result.status,
            "steps": len(result.history),
            "inner": [i.inner for i in result.history],
            "chosen": result.solver.name,
        }
    print(row, flush=True)
    return row
