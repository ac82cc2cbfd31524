"""Least-squares solutions from a Gram matrix or an R factor, with rank and conditioning, never an exception.

Columns are scaled to unit norm first, so that rank does not depend on units. Where the scaled matrix is
numerically rank deficient the smallest-norm solution is returned and flagged.

What does not belong here: how the Gram matrix or the factor came about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Solution:
    """A least-squares solution and what is known of its problem.

    Attributes:
        x: (d, k), the minimiser of |A X - B|^2 + ridge |X|^2; of smallest norm where it is not unique. A
            tensor or an array, whichever was inserted last.
        rank: numerical rank of A (of [A; sqrt(ridge) I] with a ridge), at most d; with an intercept A has a
            column of ones more.
        condition: estimated 2-norm condition number of A after scaling its columns to unit norm, before any
            ridge and before directions are left out; columns that are all zero do not count. Infinite where
            A cannot be told from a singular matrix, 1.0 without columns that count.
        ridge: the ridge that was used, in units of the squared entries of A; an intercept has none.
        flags: in this order and only where true: "no_rows"; "fewer_rows_than_columns"; "dead_columns" (all
            zero); "rank_deficient" (x is the smallest-norm solution); "ill_conditioned" (rank is full
            but half of the digits or more of x are lost).
        intercept: (k,), where one was asked for.
    """

    x: Any
    rank: int
    condition: float
    ridge: float
    flags: tuple[str, ...]
    intercept: Any = None


def solve_from_gram(gram: Tensor, d: int, ridge: float, rows: int, penalised: int) -> Solution:
    """Solve from [A B]^T [A B], (d + k, d + k) float64; the ridge is on the first `penalised` columns.

    Resolves condition numbers up to about 1e6 / sqrt(d): the Gram matrix squares them. Cholesky with one
    step of refinement where that is safe (d^3 / 3), an eigendecomposition where it is not. A ridge costs one
    Cholesky factorisation more, for the condition without it.
    """
    plain = _condition_of_gram(gram[:d, :d]) if ridge > 0 else None
    h, g = gram[:d, :d].clone(), gram[:d, d:]
    h.diagonal()[:penalised].add_(ridge)
    scaled, scale, dead = _scaled(h)
    right = g / scale.unsqueeze(1)
    floor = 8 * d * _EPS
    root, info = torch.linalg.cholesky_ex(scaled + torch.diag(dead.to(scaled.dtype)))
    if int(info) == 0 and not bool(dead.any()):
        smallest, largest = _extreme_eigenvalues(scaled, root)
        if smallest > 10 * floor * largest:
            y = torch.cholesky_solve(right, root)
            y = y + torch.cholesky_solve(right - scaled @ y, root)
            solved = math.sqrt(largest / smallest)
            flags = _flags(rows, d, 0, d, solved, 1 / 2)
            return Solution(y / scale.unsqueeze(1), d, solved if plain is None else plain, ridge, flags)
    values, vectors = torch.linalg.eigh(torch.where(dead | dead.unsqueeze(1), 0.0, scaled))
    keep = values > floor * values.max().clamp(min=1e-300)
    basis = vectors[:, keep]

    def project(rhs: Tensor) -> Tensor:
        out: Tensor = basis @ ((basis.mT @ rhs) / values[keep].unsqueeze(1))
        return out

    y = project(right)
    y = y + project(right - scaled @ y)
    x = _smallest_norm(y, vectors[:, ~keep], scale)
    rank, zeros = int(keep.sum()), int(dead.sum())
    solved = math.sqrt(float(values[keep].max() / values[keep].min())) if rank else 1.0
    if plain is None:
        plain = solved if rank == d - zeros else math.inf
    return Solution(x, rank, plain, ridge, _flags(rows, d, zeros, rank, solved, 1 / 2))


def solve_from_triangle(factor: Tensor, d: int, ridge: float, rows: int, penalised: int) -> Solution:
    """Solve from R of [A B], (>= d + k, d + k) float64 and upper triangular; the ridge is on the first
    `penalised` columns.

    Resolves condition numbers up to about 1e13. A singular value decomposition of order d decides the rank;
    a ridge costs one more.
    """
    top, right = factor[:d, :d], factor[:d, d:]
    plain = None
    if ridge > 0:
        plain = _condition_of_triangle(top)
        eye = torch.eye(d, dtype=factor.dtype, device=factor.device)[:penalised] * math.sqrt(ridge)
        stacked = torch.cat([factor[:, :], torch.nn.functional.pad(eye, (0, factor.shape[1] - d))])
        again: Tensor = torch.linalg.qr(stacked, mode="r").R
        top, right = again[:d, :d], again[:d, d:]
    norms = torch.linalg.vector_norm(top, dim=0)
    dead = norms <= 0
    scale = _column_scale(norms)
    u, values, vt = torch.linalg.svd(top / scale)
    keep = values > 8 * d * _EPS * values.max().clamp(min=1e-300)
    y = vt[keep].mT @ ((u[:, keep].mT @ right) / values[keep].unsqueeze(1))
    rank, zeros = int(keep.sum()), int(dead.sum())
    x = _smallest_norm(y, vt[~keep].mT, scale)
    solved = float(values[keep].max() / values[keep].min()) if rank else 1.0
    if plain is None:
        plain = solved if rank == d - zeros else math.inf
    return Solution(x, rank, plain, ridge, _flags(rows, d, zeros, rank, solved, 1))


def _condition_of_gram(h: Tensor) -> float:
    """The condition number of A after scaling, from A^T A, dead columns aside."""
    scaled, _, dead = _scaled(h)
    if bool(dead.all()):
        return 1.0
    # A dead column's one does not matter: the live eigenvalues have the mean 1.
    lifted = scaled + torch.diag(dead.to(scaled.dtype))
    root, info = torch.linalg.cholesky_ex(lifted)
    if int(info):
        return math.inf
    smallest, largest = _extreme_eigenvalues(lifted, root)
    return math.sqrt(largest / smallest) if smallest > 8 * h.shape[0] * _EPS * largest else math.inf


def _condition_of_triangle(top: Tensor) -> float:
    """The same from R."""
    norms = torch.linalg.vector_norm(top, dim=0)
    live = norms > 0
    if not bool(live.any()):
        return 1.0
    values = torch.linalg.svdvals(top[:, live] / norms[live])
    smallest, largest = float(values[-1]), float(values[0])
    return largest / smallest if smallest > 8 * top.shape[0] * _EPS * largest else math.inf


def _scaled(h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A Gram matrix with its diagonal scaled to 1, the scale, and which columns are all zero."""
    scale = _column_scale(h.diagonal().clamp(min=0).sqrt())
    return h / (scale.unsqueeze(1) * scale), scale, h.diagonal() <= 0


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
