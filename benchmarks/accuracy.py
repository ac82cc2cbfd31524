"""Largest excess of the sampled mode on hostile streams, 40 seeds each, and of two samplers that must fail.

What does not belong here: timing (`dls`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from stl_algebra.numerics.least_squares.methods import Gram, Sampled
from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares

D, ROWS, BATCH, SEEDS = 96, 128 * 96, 256, 40


def run(seeds: int = SEEDS) -> list[dict[str, Any]]:
    """One row per stream, eps and sampler: how many seeds stay within eps, and the worst excess."""
    out = []
    for eps in (0.1, 0.01):
        for kind in ("gaussian", "rotated", "coherent", "rotating", "adaptive-targets", "adaptive-rows"):
            for sampler in ("full", "no-residual", "uniform") if eps == 0.1 else ("full",):
                runs = seeds if sampler == "full" else min(seeds, 10)
                worst = [largest_excess(kind, eps, seed, sampler) for seed in range(runs)]
                within = sum(w <= eps for w in worst)
                out.append(
                    {
                        "stream": kind,
                        "eps": eps,
                        "sampler": sampler,
                        "within": within,
                        "of": runs,
                        "worst": max(worst),
                    }
                )
                print(out[-1], flush=True)
    return out


def largest_excess(kind: str, eps: float, seed: int, sampler: str, rows: int = ROWS, d: int = D) -> float:
    """max over time of |A x - b| / |A x* - b| - 1 with x from the sampled mode and x* exact."""
    generator = torch.Generator().manual_seed(seed)
    turn: Tensor = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    stream = DynamicLeastSquares(d, mode="sampled", deletions="none", eps=eps, seed=seed)
    exact = DynamicLeastSquares(d, mode="exact", deletions="none")
    assert isinstance(stream._method, Sampled)
    assert isinstance(exact._method, Gram)
    inner, exact_sum = stream._method.sampler, exact._method.gram
    inner.residual_term = sampler != "no-residual"
    if sampler == "uniform":
        # The same interface with the scores thrown away.
        setattr(inner, "probabilities", _uniform)  # noqa: B010
    worst = 0.0
    for start in range(0, rows, BATCH):
        a = torch.randn(BATCH, d, generator=generator, dtype=torch.float64)
        noise = torch.randn(BATCH, 1, generator=generator, dtype=torch.float64)
        x = stream.solve().x
        late = start >= rows // 2
        if kind == "rotated":
            a = (a * torch.logspace(0, -6, d, dtype=a.dtype)) @ turn
        elif kind == "coherent":
            # Some directions are seen in a few rows only, whose targets disagree with what was learnt.
            a[:, d // 2 :] *= (torch.rand(BATCH, 1, generator=generator, dtype=a.dtype) < 0.01).to(
                a.dtype
            ) * 30
        elif kind == "rotating":
            a *= torch.roll(torch.logspace(0, -3, d, dtype=a.dtype), int(d * start / rows))
        b = a.sum(1, keepdim=True) + noise
        if kind == "adaptive-targets" and late:
            # One row a batch of leverage about 0.02 whose target is off by half of the residual
            # norm, always in
            # the same direction: skipped or overweighted unless the residual counts.
            a[0] = 0.0
            a[0, 0] = math.sqrt(0.02 * start)
            b[0] = a[0] @ x + 0.5 * exact.residual().sqrt()
        elif kind == "adaptive-rows" and late:
            # Rows along what the answer has wrong, with targets that insist on it.
            away = (x - exact.solve().x).squeeze(1)
            a[:4] = away / torch.linalg.vector_norm(away).clamp(min=1e-300) * math.sqrt(d)
            b[:4] = a[:4] @ x + 30.0
        stream.insert(a, b)
        exact.insert(a, b)
        best, found = exact.solve().x, stream.solve().x
        base = float(exact.residual())
        gap = found - best
        exact_gram = exact_sum.value()[:d, :d]
        extra = float((gap * (exact_gram @ gap)).sum())
        if start > 2 * d:
            worst = max(worst, math.sqrt(1 + max(extra, 0.0) / max(base, 1e-300)) - 1)
    return worst


def _uniform(a: Tensor, b: Tensor) -> Tensor:
    return torch.full((a.shape[0],), 0.25, dtype=torch.float64)
