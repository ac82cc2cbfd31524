"""Candidates refined a second: alternating least squares batched, one at a time, and tensorly's parafac.

All get the same target, the same Gaussian starts and the same number of sweeps, in two processes of one
thread each, as two workers do. parafac minimises the NMSE; ours NMSE + c A at bf16 with a proximal term, a
little more work. What does not belong here: how often a start leads to an exact algorithm (`random_starts`).
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorly
import torch
from tensorly.cp_tensor import CPTensor
from tensorly.decomposition import parafac

from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_search.trials.als import Batch, Target, als, objective

#: Format and rank.
CASES = (("2x2x2", 6), ("3x3x3", 20), ("4x4x4", 32), ("4x4x4", 40))
#: Candidates of a process, as many as a beam of pruning refines together; sweeps of each.
BATCH, SWEEPS = 24, 40
REPEATS = 5
PROCESSES = 2


def run() -> dict[str, Any]:
    """One record per case: candidates a second by method, ratios, the median NMSE + c A that is reached."""
    records = {}
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES, _start, (context.Barrier(PROCESSES),)) as pool:
        for slug, rank in CASES:
            shares = pool.starmap(_share, [(slug, rank, seed) for seed in range(PROCESSES)], chunksize=1)
            rates = {
                name: {
                    "median": statistics.median(both),
                    "least": min(both),
                    "most": max(both),
                }
                for name in METHODS
                for both in [[sum(pair) for pair in zip(*(s[name] for s in shares), strict=True)]]
            }
            batched = rates["batched"]["median"]
            records[f"{slug} rank {rank}"] = record = {
                "candidates_a_second": rates,
                "batched_to_one_at_a_time": batched / rates["one at a time"]["median"],
                "batched_to_parafac": batched / rates["parafac"]["median"],
                "median_objective": {n: statistics.median(s["reached"][n] for s in shares) for n in METHODS},
            }
            print(
                f"{slug} rank {rank}: {batched:.0f} candidates a second batched, "
                f"{record['batched_to_one_at_a_time']:.1f} times one at a time, "
                f"{record['batched_to_parafac']:.1f} times parafac"
            )
    return records


def starts(tile: TileFormat, rank: int, seed: int) -> Batch:
    """Gaussian factors of `BATCH` candidates."""
    generator = torch.Generator().manual_seed(seed)
    x, w, d = (
        torch.randn(BATCH, rank, size, generator=generator, dtype=torch.float64)
        for size in (tile.n * tile.k, tile.k * tile.m, tile.n * tile.m)
    )
    return x, w, d


def batched(target: Target, factors: Batch) -> Batch:
    """All candidates together."""
    return als(target, factors, SWEEPS)


def one_at_a_time(target: Target, factors: Batch) -> Batch:
    """The same, each by itself."""
    refined = [als(target, (x[None], w[None], d[None]), SWEEPS) for x, w, d in zip(*factors, strict=True)]
    return _stacked(refined)


def by_parafac(target: Target, factors: Batch) -> Batch:
    """tensorly, each by itself; without a tolerance it computes no errors on the way."""
    tensor = matmul_tensor(target.tile)
    refined = []
    for candidate in zip(*factors, strict=True):
        initial = CPTensor((None, [f.numpy().T.copy() for f in candidate]))
        fitted = parafac(tensor, candidate[0].shape[0], n_iter_max=SWEEPS, init=initial, tol=0.0)
        columns = [np.asarray(f) for f in fitted.factors]
        columns[0] = columns[0] * np.asarray(fitted.weights)
        x, w, d = (torch.from_numpy(f.T.copy())[None] for f in columns)
        refined.append((x, w, d))
    return _stacked(refined)


def _stacked(candidates: list[Batch]) -> Batch:
    x, w, d = (torch.cat(factors) for factors in zip(*candidates, strict=True))
    return x, w, d


METHODS: dict[str, Callable[[Target, Batch], Batch]] = {
    "batched": batched,
    "one at a time": one_at_a_time,
    "parafac": by_parafac,
}
_together: Any = None


def _start(barrier: Any) -> None:
    """Set a process up: one thread, and the barrier at which both begin."""
    global _together
    _together = barrier
    torch.set_num_threads(1)
    tensorly.set_backend("numpy")


def _share(slug: str, rank: int, seed: int) -> dict[str, Any]:
    """Candidates a second of this process by method, one rate each time, and what was reached."""
    tile = TileFormat.parse(slug)
    target, factors = Target.of(tile, rounding_constant("bf16")), starts(tile, rank, seed)
    rates: dict[str, Any] = {name: [] for name in METHODS}
    reached = {}
    for repeat in range(REPEATS + 1):
        # In turn, so that whatever else the machine does meets all of them.
        for name, method in METHODS.items():
            _together.wait()
            began = time.perf_counter()
            refined = method(target, factors)
            seconds = time.perf_counter() - began
            if repeat:
                rates[name].append(BATCH / seconds)
            reached[name] = float(objective(target, refined).median())
    return {**rates, "reached": reached}
