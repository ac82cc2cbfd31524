"""Refinement by batched alternating least squares (ALS) on all three factors, and pruning with a beam.

The objective is the total at a dtype, NMSE + c A. For two fixed factors it is a ridge regression in the
third: the Gram matrix is the Hadamard product of two Grams with its diagonal multiplied by 1 + c, which is
the amplification term exactly. Everything is float64 and batched over candidates; the same inputs give
the same output on one device and thread count.

What does not belong here: exact algorithms (`exact.discretise`), choosing what to refine (`trial`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour, target_tensor
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress

#: Numbers of a right-hand side from which sums of whole arrays are faster than small matrix products.
_LARGE = 4096


@dataclass(frozen=True)
class Target:
    """The tensor to fit, in the coordinates of the colour, and the weight of the amplification.

    Attributes:
        tile: the format.
        tensor: (nk, km, nm).
        energy: |tensor|^2.
        penalty: c of NMSE + c A.
        inner: (k,), where the tensor is the matmul tensor with its inner index l weighted by inner[l], so
            that contractions are small matrix products: ones for white tiles, the roots of a profile; None
            for any other colour.
        white: whether those are ones, which nothing needs to be multiplied by.
    """

    tile: TileFormat
    tensor: Tensor
    energy: float
    penalty: float
    inner: Tensor | None
    white: bool

    @classmethod
    def of(
        cls, tile: TileFormat, penalty: float, colour: Colour | None = None, device: str = "cpu"
    ) -> Target:
        """Raises InvalidInput when the penalty is negative or not finite."""
        if not (np.isfinite(penalty) and penalty >= 0):
            raise InvalidInput("penalty", expected="a finite number of at least 0", got=penalty)
        tensor = torch.from_numpy(target_tensor(tile, colour).copy()).to(device)
        inner = _inner_weights(tile, tensor)
        white = inner is not None and bool((inner == 1.0).all())
        return cls(tile, tensor, float((tensor**2).sum()), penalty, inner, white)


def _inner_weights(tile: TileFormat, tensor: Tensor) -> Tensor | None:
    """(k,) where the tensor is the matmul tensor with weights on its inner index, else None."""
    n, k, m = tile.n, tile.k, tile.m
    inner = tensor.view(n, k, k, m, n, m)[0, :, :, 0, 0, 0].diagonal().clone()
    white = torch.from_numpy(matmul_tensor(tile).copy()).to(tensor)
    weighted = white.view(n, k, -1) * inner[:, None]
    close = torch.allclose(tensor.view(n, k, -1), weighted, rtol=0.0, atol=1e-12 * float(inner.abs().max()))
    return inner if close else None


#: Factors of a batch: (B, r, nk), (B, r, km), (B, r, nm).
Batch = tuple[Tensor, Tensor, Tensor]


def right_hand_side(target: Target, mode: int, factors: Batch) -> Tensor:
    """Contraction of the target with the two other factors: (B, r, size of `mode`)."""
    x, w, d = factors
    if target.inner is not None:
        large = x.shape[0] * x.shape[1] * factors[mode].shape[2] >= _LARGE
        inner = None if target.white else target.inner
        return (_with_products_last if large else _with_products_first)(target.tile, inner, mode, factors)
    a, b, y = target.tensor.shape
    if mode == 0:
        half = (w @ target.tensor.permute(1, 0, 2).reshape(b, a * y)).view(*w.shape[:2], a, y)
        return (half @ d.unsqueeze(-1)).squeeze(-1)
    half = (x @ target.tensor.reshape(a, b * y)).view(*x.shape[:2], b, y)
    if mode == 1:
        return (half @ d.unsqueeze(-1)).squeeze(-1)
    return (w.unsqueeze(-2) @ half).squeeze(-2)


def _with_products_first(t: TileFormat, inner: Tensor | None, mode: int, factors: Batch) -> Tensor:
    """`right_hand_side` by a small matrix product for each of the r products of each candidate."""
    x, w, d = factors
    shape = x.shape[:2]
    xm, wm, dm = x.view(*shape, t.n, t.k), w.view(*shape, t.k, t.m), d.view(*shape, t.n, t.m)
    if mode == 0:
        right = dm @ wm.mT
        return (right if inner is None else right * inner).reshape(*shape, -1)
    if inner is not None:
        xm = xm * inner
    return (xm.mT @ dm if mode == 1 else xm @ wm).reshape(*shape, -1)


def _with_products_last(t: TileFormat, inner: Tensor | None, mode: int, factors: Batch) -> Tensor:
    """The same by sums of whole arrays with r last, as the solution of the regression has it.

    Of many candidates it takes less than half the time.
    """
    batch, rank = factors[0].shape[:2]
    sides = ((t.n, t.k), (t.k, t.m), (t.n, t.m))
    xm, wm, dm = (f.mT.reshape(batch, *s, rank) for f, s in zip(factors, sides, strict=True))
    weights = None if inner is None else inner.unsqueeze(-1)
    if mode == 0:
        left, right = dm, wm.transpose(1, 2)
    else:
        xm = xm if weights is None else xm * weights
        left, right = (xm.transpose(1, 2), dm) if mode == 1 else (xm, wm)
    out = xm.new_zeros(batch, left.shape[1], right.shape[2], rank)
    for s in range(left.shape[2]):
        out.addcmul_(left[:, :, s, None], right[:, None, s])
    if mode == 0 and weights is not None:
        out.mul_(weights)
    return out.view(batch, -1, rank).mT


def normal_matrix(target: Target, first: Tensor, second: Tensor) -> Tensor:
    """Of the regression for one factor, (B, r, r), from the Gram matrices of the two others."""
    normal = first * second
    normal.diagonal(dim1=-2, dim2=-1).mul_(1.0 + target.penalty)
    return normal


def _update(
    target: Target, mode: int, factors: Sequence[Tensor], grams: Sequence[Tensor], proximal: float
) -> Tensor:
    """The best factor `mode` given the others, with a proximal term relative to the mean diagonal."""
    first, second = (grams[i] for i in range(3) if i != mode)
    normal = normal_matrix(target, first, second)
    diagonal = normal.diagonal(dim1=-2, dim2=-1)
    weight = diagonal.mean(-1, keepdim=True) * proximal
    x, w, d = factors
    right = right_hand_side(target, mode, (x, w, d)).addcmul_(weight.unsqueeze(-1), factors[mode])
    # Only the diagonal is touched: sums of whole matrices would take as long as their factorisation.
    diagonal.add_(weight)
    root, failed = torch.linalg.cholesky_ex(normal)
    if bool(failed.any()):
        # Dependent products: a larger ridge for this step only; the next sweep has new Grams.
        diagonal.add_(1e3 * weight)
        root = torch.linalg.cholesky(normal)
    if right.is_cuda:
        # `cholesky_solve` takes the matrices of a batch one after another there.
        half = torch.linalg.solve_triangular(root, right, upper=False)
        solved: Tensor = torch.linalg.solve_triangular(root.mT, half, upper=True)
        return solved
    return torch.cholesky_solve(right, root)


def balanced(factors: Batch) -> Batch:
    """The three vectors of each product rescaled to equal norms; their product is unchanged."""
    norms = [f.norm(dim=-1, keepdim=True).clamp_min(1e-150) for f in factors]
    mean = (norms[0] * norms[1] * norms[2]) ** (1 / 3)
    x, w, d = (f * (mean / norm) for f, norm in zip(factors, norms, strict=True))
    return x, w, d


def _balance(factors: list[Tensor], grams: list[Tensor]) -> None:
    """`balanced` in place, by the diagonals of the Gram matrices, and those of the encoders with them.

    That of the decoder is left as it was: the next sweep begins with the decoder.
    """
    logs = torch.stack([gram.diagonal(dim1=-2, dim2=-1) for gram in grams]).clamp_min(1e-300).log()
    scales = ((logs.mean(0) - logs) / 2).exp()
    for factor, scale in zip(factors, scales, strict=True):
        factor.mul_(scale.unsqueeze(-1))
    for gram, scale in zip(grams[:2], scales[:2], strict=True):
        gram.mul_(scale.unsqueeze(-1)).mul_(scale.unsqueeze(-2))


def objective(target: Target, factors: Batch) -> Tensor:
    """NMSE + penalty * A of each candidate, (B,), from the residual tensor, without cancellation."""
    x, w, d = factors
    b, r = x.shape[:2]
    pairs = (x.unsqueeze(-1) * w.unsqueeze(-2)).reshape(b, r, -1)
    computed = pairs.mT @ d
    residual = (computed - target.tensor.reshape(1, -1, d.shape[-1])).square().sum((-1, -2))
    return (residual + target.penalty * _amplification(factors)) / target.energy


def _amplification(factors: Batch) -> Tensor:
    x, w, d = factors
    return (x.square().sum(-1) * w.square().sum(-1) * d.square().sum(-1)).sum(-1)


def als(
    target: Target,
    factors: Batch,
    sweeps: int,
    proximal: tuple[float, float] = (1e-3, 1e-9),
    tolerance: float = 0.0,
    progress: Progress | None = None,
) -> Batch:
    """Alternating least squares on a batch of candidates.

    Args:
        target: what to fit.
        factors: the batch.
        sweeps: updates of all three factors.
        proximal: relative weight of the proximal term in the first and the last sweep, annealed
            geometrically: it keeps the first steps short and the last ones free.
        tolerance: stop when no candidate's objective fell by this relative amount in 25 sweeps.
        progress: called now and then.

    Returns:
        The refined, balanced batch.
    """
    weights = np.geomspace(*proximal, max(sweeps, 2))
    current = list(balanced(factors))
    grams = [factor @ factor.mT for factor in current]
    last: Tensor | None = None
    for sweep in range(sweeps):
        for mode in (2, 0, 1):
            current[mode] = _update(target, mode, current, grams, float(weights[sweep]))
            grams[mode] = current[mode] @ current[mode].mT
        _balance(current, grams)
        if tolerance and sweep % 25 == 24:
            now = objective(target, (current[0], current[1], current[2]))
            if last is not None and bool((last - now <= tolerance * now.abs()).all()):
                break
            last = now
            if progress:
                progress("als", sweep + 1, sweeps)
    return current[0], current[1], current[2]


def to_batch(algorithms: list[BilinearAlgorithm], colour: Colour | None = None, device: str = "cpu") -> Batch:
    """Stack algorithms of one format and rank; encoders go to the colour's coordinates."""
    stacked = [np.stack([a.factors[i] for a in algorithms]) for i in range(3)]
    if colour is not None:
        stacked[0], stacked[1] = stacked[0] @ colour.root_x, stacked[1] @ colour.root_w
    x, w, d = (torch.from_numpy(np.ascontiguousarray(s)).to(device) for s in stacked)
    return x, w, d


def from_batch(
    factors: Batch, like: BilinearAlgorithm, steps: tuple[str, ...], colour: Colour | None = None
) -> list[BilinearAlgorithm]:
    """The algorithms of a batch, with the name and provenance of `like`."""
    x, w, d = (f.detach().cpu().numpy() for f in factors)
    if colour is not None:
        x, w = x @ np.linalg.pinv(colour.root_x), w @ np.linalg.pinv(colour.root_w)
    return [
        BilinearAlgorithm(like.tile, x[i], w[i], d[i].T, like.name, like.provenance.then(*steps))
        for i in range(x.shape[0])
    ]
