"""Time to the same loss of Gauss-Newton's solvers on an overparametrised ReLU network, against n.

What does not belong here: the solvers.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from stl_algebra.numerics.gauss_newton import GaussNewton, NetworkProblem
from stl_algebra.numerics.gauss_newton.solvers import prepare_iterative

SAMPLES, WIDTH, INPUTS = (512, 1024, 2048), 183, 16


def run() -> dict[str, Any]:
    """Seconds, loss and inner steps per solver and n; fitted exponents in n."""
    table = []
    for n in SAMPLES:
        torch.manual_seed(n)
        hidden = [
            nn.Linear(INPUTS, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 1),
        ]
        x = torch.randn(n, INPUTS)
        problem = NetworkProblem(nn.Sequential(*hidden), x, torch.sin(x.sum(1, keepdim=True)))
        residual = problem.residual(problem.start).detach()
        plain = prepare_iterative(problem, problem.start, residual, sketch=None)
        row: dict[str, Any] = {"n": n, "parameters": problem.start.numel()}
        row["plain_cg_steps_first_step"] = plain.solve(1e-4 * plain.scale).inner
        # The first call loads parts of torch; that is not the solvers' time.
        GaussNewton(iterations=1).minimise(problem)
        for solver in ("structured", "dense", "sketched", "auto"):
            begin = time.perf_counter()
            result = GaussNewton(
                solver=solver,
                damping=1e-4,
                loss_tolerance=1e-2 * float(residual.square().sum()),
                iterations=30,
            ).minimise(problem)
            row[solver] = {
                "seconds": time.perf_counter() - begin,
                "loss": result.loss,
                "status": result.status,
                "steps": len(result.history),
                "inner": [i.inner for i in result.history],
                "chosen": result.choice.solver,
            }
        table.append(row)
        print(row, flush=True)
    sizes = np.log([row["n"] for row in table])
    exponents = {
        s: float(np.polyfit(sizes, np.log([r[s]["seconds"] / r[s]["steps"] for r in table]), 1)[0])
        for s in ("structured", "dense", "sketched")
    }
    return {"table": table, "exponents_in_n_per_step": exponents}
