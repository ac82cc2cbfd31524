"""Least-squares solutions from a Gram matrix or an R factor, with rank and conditioning, never an exception.

Columns are scaled to unit norm first, so that rank does not depend on units. Where the scaled matrix is
numerically rank deficient the smallest-norm solution is returned and flagged.

What does not belong here: how the Gram matrix or the factor came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Solution:
    """A least-squares solution and what is known of its problem.

    Attributes:
        x: (d, k), the minimiser of |A X - B|^2 + ridge |X|^2; of smallest norm where it is not unique.
        rank: numerical rank of A (of [A; sqrt(ridge) I] with a ridge), at most d.
        condition: estimated 2-norm condition number of A after scaling its columns to unit norm, over the
            directions that count as rank; 1.0 when there are none.
        ridge: the ridge that was used, in units of the squared entries of A.
        flags: in this order and only where true: "no_rows"; "fewer_rows_than_columns"; "dead_columns" (all
            zero); "rank_deficient" (x is the smallest-norm solution); "ill_conditioned" (rank is full
            but half of the digits or more of x are lost).
    """

    x: Tensor
    rank: int
    condition: float
    ridge: float
    flags: tuple[str, ...]


def solve_from_gram(gram: Tensor, d: int, ridge: float, rows: int) -> Solution:
    """Solve from [A B]^T [A B], (d + k, d + k) float64.

    Resolves condition numbers up to about 1e6 / sqrt(d): the Gram matrix squares them. Cholesky with one
    step of refinement where that is safe (d^3 / 3), an eigendecomposition where it is not.
    """
    h, g = gram[:d, :d].clone(), gram[:d, d:]
    h.diagonal().add_(ridge)
    scale = _column_scale(h.diagonal().clamp(min=0).sqrt())
    dead = h.diagonal() <= 0
    scaled = h / (scale.unsqueeze(1) * scale)
    right = g / scale.unsqueeze(1)
    floor = 8 * d * _EPS
    lifted = scaled + torch.diag(dead.to(scaled.dtype))
    root, info = torch.linalg.cholesky_ex(lifted)
    if int(info) == 0 and not bool(dead.any()):
        smallest, largest = _extreme_eigenvalues(scaled, root)
        if smallest > 10 * floor * largest:
            y = torch.cholesky_solve(right, root)
            y = y + torch.cholesky_solve(right - scaled @ y, root)
            condition = math.sqrt(largest / smallest)
            return Solution(
                y / scale.unsqueeze(1), d, condition, ridge, _flags(rows, d, 0, d, condition, 1 / 2)
            )
    values, vectors = torch.linalg.eigh(torch.where(dead | dead.unsqueeze(1), 0.0, scaled))
    keep = values > floor * values.max().clamp(min=1e-300)
    basis = vectors[:, keep]

    def project(rhs: Tensor) -> Tensor:
        out: Tensor = basis @ ((basis.mT @ rhs) / values[keep].unsqueeze(1))
        return out

    y = project(right)
    y = y + project(right - scaled @ y)
    x = _smallest_norm(y, vectors[:, ~keep], scale)
    rank = int(keep.sum())
    condition = math.sqrt(float(values[keep].max() / values[keep].min())) if rank else 1.0
    return Solution(x, rank, condition, ridge, _flags(rows, d, int(dead.sum()), rank, condition, 1 / 2))


def solve_from_triangle(factor: Tensor, d: int, ridge: float, rows: int) -> Solution:
    """Solve from R of [A B], (>= d + k, d + k) float64 and upper triangular.

    Resolves condition numbers up to about 1e13. A singular value decomposition of order d decides the rank.
    """
    top, right = factor[:d, :d], factor[:d, d:]
    if ridge > 0:
        eye = torch.eye(d, dtype=factor.dtype, device=factor.device) * math.sqrt(ridge)
        stacked = torch.cat([factor[:, :], torch.nn.functional.pad(eye, (0, factor.shape[1] - d))])
        again: Tensor = torch.linalg.qr(stacked, mode="r").R
        top, right = again[:d, :d], again[:d, d:]
    norms = torch.linalg.vector_norm(top, dim=0)
    dead = norms <= 0
    scale = _column_scale(norms)
    u, values, vt = torch.linalg.svd(top / scale)
    keep = values > 8 * d * _EPS * values.max().clamp(min=1e-300)
    y = vt[keep].mT @ ((u[:, keep].mT @ right) / values[keep].unsqueeze(1))
    rank = int(keep.sum())
    x = _smallest_norm(y, vt[~keep].mT, scale)
    condition = float(values[keep].max() / values[keep].min()) if rank else 1.0
    return Solution(x, rank, condition, ridge, _flags(rows, d, int(dead.sum()), rank, condition, 1))


def _column_scale(norms: Tensor) -> Tensor:
    return torch.where(norms > 0, norms, torch.ones_like(norms))


def _smallest_norm(y: Tensor, null: Tensor, scale: Tensor) -> Tensor:
    # In the unscaled coordinates the null space is spanned by null / scale; take that part of y / scale out.
    x = y / scale.unsqueeze(1)
    if null.shape[1]:
        q: Tensor = torch.linalg.qr(null / scale.unsqueeze(1)).Q
        x = x - q @ (q.mT @ x)
        x = x - q @ (q.mT @ x)
    return x


def _extreme_eigenvalues(matrix: Tensor, root: Tensor) -> tuple[float, float]:
    """Estimates of the smallest and largest eigenvalue by a few block power steps, O(d^2) each."""
    d = matrix.shape[0]
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(d, 4, generator=generator, dtype=torch.float64).to(matrix.device)
    up, down = start, start
    largest = smallest = torch.ones((), device=matrix.device)
    for _ in range(6):
        up = matrix @ (up / torch.linalg.vector_norm(up, dim=0))
        down = torch.cholesky_solve(down / torch.linalg.vector_norm(down, dim=0), root)
        largest, smallest = (
            torch.linalg.vector_norm(up, dim=0).max(),
            torch.linalg.vector_norm(down, dim=0).max(),
        )
    return 1 / float(smallest), float(largest)


def _flags(rows: int, d: int, dead: int, rank: int, condition: float, digits: float) -> tuple[str, ...]:
    found = {
        "no_rows": rows == 0,
        "fewer_rows_than_columns": rows < d,
        "dead_columns": dead > 0,
        "rank_deficient": rank < d,
        # The relative error of x is about eps condition^2 from a Gram matrix and eps condition from a factor.
        "ill_conditioned": rank == d and condition > _EPS ** (-digits / 2),
    }
    return tuple(name for name, true in found.items() if true)
