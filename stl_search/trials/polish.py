"""The last step of a trial: Levenberg-Marquardt on NMSE + c A, all three factors at once.

Alternating least squares creeps along the valley that it has found; a few dozen steps of Gauss-Newton on the
same objective reach its bottom. What does not belong here: the solver (`numerics.cp`), finding a start
(`prune`, `als`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from stl_algebra.numerics.cp.levenberg_marquardt import CPOptions, cp_levenberg_marquardt
from stl_search.trials.als import Batch, Target, balanced, objective

#: Order of the normal matrix above which a step takes too long for the last step of a trial.
LARGEST_ORDER = 2500
#: Penalty at which algorithms with an A of 1e9 or so are still near their valley.
_LEAST_PENALTY = 1e-12


@dataclass(frozen=True)
class Polish:
    """How long.

    Attributes:
        iterations: at most.
        damping: of the first step; small, as the start is in its valley already.
        tolerance: relative decrease of the objective in a step below which a start is at the bottom.
    """

    iterations: int = 60
    damping: float = 1e-4
    tolerance: float = 1e-7


def can_polish(factors: Batch) -> bool:
    """Whether a batch is small enough for Levenberg-Marquardt."""
    return factors[0].shape[1] * sum(f.shape[2] for f in factors) <= LARGEST_ORDER


def polish(target: Target, factors: Batch, how: Polish = Polish()) -> Batch:
    """Each candidate of a batch, improved; one that is not is returned as it was.

    An iteration costs a Cholesky factorisation of order r (nk + km + nm); above `LARGEST_ORDER` nothing is
    done. The order of the products stays.

    Args:
        target: tensor and penalty c.
        factors: (B, r, nk), (B, r, km), (B, r, nm).
        how: iterations and first damping.
    """
    if not can_polish(factors):
        return factors
    fit = cp_levenberg_marquardt(
        target.tensor,
        [f.mT for f in balanced(factors)],
        schedule=((0.0, how.iterations),),
        options=CPOptions(
            damping=how.damping,
            product_penalty=target.penalty,
            loss_tolerance=1e-30,
            decrease_tolerance=how.tolerance,
        ),
    )
    x, w, d = (f.mT.contiguous() for f in fit.factors)
    better = objective(target, (x, w, d)) < objective(target, factors)
    x, w, d = (
        torch.where(better[:, None, None], new, old) for new, old in zip((x, w, d), factors, strict=True)
    )
    return x, w, d


def brought_down(target: Target, factors: Batch, how: Polish = Polish()) -> Batch:
    """The candidates polished for penalties from next to none up to the target's, a factor of 10 a step.

    Near a border rank an algorithm's amplification has no bound, and at the penalty of a short dtype its
    total is far from that of the valley in which it lies: followed step by step, the valley leads down. Above
    `LARGEST_ORDER` nothing is done.
    """
    steps = max(int(np.ceil(np.log10(max(target.penalty / _LEAST_PENALTY, 1.0)))), 1)
    for penalty in np.geomspace(_LEAST_PENALTY, target.penalty, steps + 1)[1:]:
        factors = polish(replace(target, penalty=float(penalty)), factors, how)
    return factors
