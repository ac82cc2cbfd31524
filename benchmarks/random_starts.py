"""Exact algorithms from random starts: Levenberg-Marquardt beside tensorly's parafac; rounding afterwards.

Both get the same tensors and the same Gaussian starts, one thread each. parafac runs until it is exact, or
for as long as a start may take; it counts as successful at a looser residual than ours.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import tensorly
from tensorly.cp_tensor import CPTensor
from tensorly.decomposition import parafac

from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.exact.discretise import SOLVED, discretise
from stl_algebra.exact.random_starts import random_factors, solve_from_random_starts

#: Format, rank, starts for each method, starts that are rounded.
CASES = (("2x2x2", 7, 40, 40), ("2x2x3", 11, 40, 20), ("2x3x3", 15, 40, 8), ("3x3x3", 23, 20, 2))
SECONDS_A_START = 10.0
#: Alternating least squares converges linearly: a residual below this counts as found.
PARAFAC_SOLVED = 1e-8
_SWEEPS_AT_A_TIME = 200


def run() -> dict[str, Any]:
    """One record per case: successes, CPU seconds, their ratio, and the rate of rounding to exact entries."""
    records = {}
    for slug, rank, starts, rounded in CASES:
        tile = TileFormat.parse(slug)
        ours, roundings = _levenberg_marquardt(tile, rank, starts, rounded)
        theirs = _parafac(tile, rank, starts)
        # Where parafac never succeeds, one success is granted: the ratio is then a lower bound.
        ratio = ours["per_cpu_second"] / (max(theirs["successes"], 1) / theirs["cpu_seconds"])
        records[f"{slug} rank {rank}"] = {
            "levenberg_marquardt": ours,
            "parafac": theirs,
            "ratio_of_successes_per_cpu_second": ratio,
            "ratio_is_a_lower_bound": theirs["successes"] == 0,
            "rounding": roundings,
        }
        print(
            f"{tile} rank {rank}: {ours['successes']}/{starts} in {ours['cpu_seconds']:.2f} s "
            f"(longest start {ours['longest_start']:.2f} s); parafac {theirs['successes']}/{starts} in "
            f"{theirs['cpu_seconds']:.1f} s; {'at least ' * (theirs['successes'] == 0)}{ratio:.0f} times the "
            f"successes per CPU second; rounded {roundings['exact']} of {roundings['tried']}, "
            f"{roundings['signs_only']} to -1, 0, 1"
        )
    return records


def _levenberg_marquardt(
    tile: TileFormat, rank: int, starts: int, rounded: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    outcomes = list(solve_from_random_starts(tile, rank, starts))
    solved = [o.algorithm for o in outcomes if o.solved]
    seconds = sum(o.cpu_seconds for o in outcomes)
    began = time.process_time()
    exact = [a for a in (discretise(s, tries=2) for s in solved[:rounded]) if a is not None]
    signs = sum(all(np.isin(f, (-1.0, 0.0, 1.0)).all() for f in a.factors) for a in exact)
    rings = sorted({verify(a).ring for a in exact})
    return {
        "starts": starts,
        "successes": len(solved),
        "cpu_seconds": seconds,
        "longest_start": max(o.cpu_seconds for o in outcomes),
        "per_cpu_second": len(solved) / seconds,
    }, {
        "tried": min(len(solved), rounded),
        "exact": len(exact),
        "signs_only": signs,
        "rings": rings,
        "cpu_seconds": time.process_time() - began,
    }


def _parafac(tile: TileFormat, rank: int, starts: int) -> dict[str, Any]:
    tensorly.set_backend("numpy")
    target = np.array(matmul_tensor(tile))
    successes, spent, longest = 0, 0.0, 0.0
    for number in range(starts):
        began = time.process_time()
        state: Any = CPTensor((np.ones(rank), random_factors(tile, rank, 0, number)))
        while True:
            state = parafac(
                target,
                rank,
                init=state,
                n_iter_max=_SWEEPS_AT_A_TIME,
                tol=0,
                normalize_factors=False,
            )
            residual = np.sum((tensorly.cp_to_tensor(state) - target) ** 2) / tile.products
            seconds = time.process_time() - began
            if residual < PARAFAC_SOLVED or seconds > SECONDS_A_START or not np.isfinite(residual):
                break
        successes += bool(residual < PARAFAC_SOLVED)
        spent += seconds
        longest = max(longest, seconds)
    return {
        "starts": starts,
        "successes": successes,
        "cpu_seconds": spent,
        "longest_start": longest,
        "per_cpu_second": successes / spent,
        "solved_at": PARAFAC_SOLVED,
        "ours_solved_at": SOLVED,
    }
