"""Pruning: products are dropped one at a time with refinement in between, by a beam of candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stl_algebra.progress import Progress
from stl_search.trials.als import Batch, Target, als, normal_matrix, objective, right_hand_side


def removal_costs(target: Target, factors: Batch) -> Tensor:
    """(B, r): rise of the objective when a product is dropped and the best of the three factors refitted."""
    costs = []
    grams = [f @ f.mT for f in factors]
    for mode in range(3):
        first, second = (grams[i] for i in range(3) if i != mode)
        gram = normal_matrix(target, first, second)
        jitter = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None] * 1e-10
        inverse = torch.linalg.inv(
            gram + jitter * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        )
        solved = inverse @ right_hand_side(target, mode, factors)
        costs.append(solved.square().sum(-1) / inverse.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300))
    return torch.stack(costs).amin(0) / target.energy


def removals(target: Target, factors: Batch, branch: int, blur: Tensor | None = None) -> Batch:
    """Every candidate without each of its `branch` cheapest products, (B * branch, r - 1, ...).

    Args:
        target: tensor and penalty.
        factors: the candidates.
        branch: removals of each.
        blur: (B, r), added to the logarithms of the costs.
    """
    b, r = factors[0].shape[:2]
    costs = (removal_costs(target, factors) + 1e-12).log()
    order = (costs if blur is None else costs + blur).argsort(dim=1)[:, : min(branch, r)]
    keep = torch.ones(b, order.shape[1], r, dtype=torch.bool, device=costs.device)
    keep.scatter_(2, order.unsqueeze(-1), False)
    x, w, d = (
        f.unsqueeze(1).expand(-1, order.shape[1], -1, -1)[keep].view(b * order.shape[1], r - 1, -1)
        for f in factors
    )
    return x, w, d


@dataclass(frozen=True)
class Beam:
    """How widely pruning looks.

    Attributes:
        width: candidates that go on.
        branch: products of each that are tried.
        sweeps: of ALS after each removal.
        noise: relative spread of random factors on the costs, so that seeds differ.
    """

    width: int = 6
    branch: int = 4
    sweeps: int = 20
    noise: float = 0.3


def prune(
    target: Target,
    start: Batch,
    rank: int,
    *,
    beam: Beam = Beam(),
    seed: int = 0,
    keep_path: bool = False,
    progress: Progress | None = None,
) -> tuple[Batch, dict[int, Batch]]:
    """Drop products one at a time, refining in between, with a beam of candidates.

    Each candidate is continued by dropping each of its `beam.branch` cheapest products, all continuations get
    `beam.sweeps` of ALS, and the best `beam.width` different ones go on.

    Returns:
        The last beam, best first, of rank `rank`; and, with `keep_path`, the best candidate of every rank on
        the way, as batches of one.
    """
    generator = torch.Generator().manual_seed(seed)
    factors = start
    path: dict[int, Batch] = {}
    first_rank = start[0].shape[1]
    while factors[0].shape[1] > rank:
        b, r = factors[0].shape[:2]
        shape, like = (b, r), factors[0]
        blur = beam.noise * torch.randn(shape, generator=generator, dtype=like.dtype).to(like.device)
        children = als(target, removals(target, factors, beam.branch, blur), beam.sweeps, (1e-4, 1e-7))
        factors = best_different(target, children, beam.width)
        if keep_path:
            path[r - 1] = (factors[0][:1], factors[1][:1], factors[2][:1])
        if progress:
            progress("prune", first_rank - (r - 1), first_rank - rank)
    return factors, path


def best_different(target: Target, factors: Batch, count: int) -> Batch:
    """The `count` best candidates whose objectives differ by more than a millionth."""
    values = objective(target, factors).cpu().numpy()
    chosen: list[int] = []
    for index in np.argsort(values, kind="stable").tolist():
        value = values[index]
        # In rising order the nearest of those chosen is the last one.
        if np.isfinite(value) and (
            not chosen or value - values[chosen[-1]] > 1e-6 * values[chosen[-1]] + 1e-15
        ):
            chosen.append(index)
            if len(chosen) == count:
                break
    x, w, d = (f[chosen or [0]] for f in factors)
    return x, w, d
