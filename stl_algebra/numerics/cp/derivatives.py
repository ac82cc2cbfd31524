"""The CP map's reconstruction, gradient and structured Gram matrix, batched over starts.

With G_n = U_n^T U_n (R x R) and * the Hadamard product, the block of J^T J of mode n with itself is
I (x) (*_{p != n} G_p), that of modes n != m is
[(i, r), (j, s)] -> U_n[i, s] U_m[j, r] (*_{p != n, m} G_p)[r, s]
(Phan, Tichavsky, Cichocki, SIAM J. Matrix Anal. Appl. 34, 2013).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cp_gram(factors: Sequence[Tensor]) -> Tensor:
    """J^T J of the CP map at `factors`, (starts, P, P) with P = R * sum of the sides, from the closed form.

    Parameters are ordered mode by mode, each factor flattened row by row: index (n, i, r). J is the Jacobian
    of T^ = [[U_1, ..., U_N]] and the factors are (starts, I_n, R).
    """
    order, rank = len(factors), factors[0].shape[-1]
    grams = [u.mT @ u for u in factors]
    offsets = [0]
    for u in factors:
        offsets.append(offsets[-1] + u.shape[1] * rank)
    out = factors[0].new_zeros(factors[0].shape[0], offsets[-1], offsets[-1])
    for n, u in enumerate(factors):
        start, stop = offsets[n], offsets[n + 1]
        own = _hadamard(grams, {n}, factors[0])
        # The diagonal block as an (I, R, I, R) view of the output.
        block = out.as_strided(
            (out.shape[0], u.shape[1], rank, u.shape[1], rank),
            (out.stride(0), rank * out.stride(1), out.stride(1), rank, 1),
            start * (out.stride(1) + 1),
        )
        block.diagonal(dim1=1, dim2=3).copy_(own.unsqueeze(-1).expand(-1, -1, -1, u.shape[1]))
        for m in range(n + 1, order):
            v = factors[m]
            shared = _hadamard(grams, {n, m}, factors[0])
            cross = torch.einsum("bis,bjr,brs->birjs", u, v, shared).reshape(
                out.shape[0], stop - start, v.shape[1] * rank
            )
            out[:, start:stop, offsets[m] : offsets[m + 1]] = cross
            out[:, offsets[m] : offsets[m + 1], start:stop] = cross.mT
    return out


def cp_gram_within(factors: Sequence[Tensor], basis: Tensor, weights: Tensor | None = None) -> Tensor:
    """E^T J^T J E for a basis E, (starts, Q, Q), without forming J^T J.

    With weights it is the sum over products of weight_r E_r^T (J^T J)_r E with the rows _r of a product:
    the same when the products fall into orbits of orthogonal symmetries that fix the factors and all columns
    of E, and every orbit has one product of positive weight, its size. Costs S R Q sum(I_n) operations per
    pair of modes for S products of positive weight, and S sum(I_n) Q^2.
    """
    starts, rank = factors[0].shape[0], factors[0].shape[2]
    if weights is None:
        weights = basis.new_ones(rank)
    kept = torch.nonzero(weights).flatten()
    columns = basis.shape[1]
    parts = torch.split(basis, [u.shape[1] * rank for u in factors])
    spaces = [part.reshape(-1, rank, columns) for part in parts]
    grams = [u.mT @ u for u in factors]
    # Z[r, s, q] = sum_j U_m[j, r] E_m[j, s, q], for every mode m.
    inner = [
        (u[:, :, kept].mT @ space.reshape(space.shape[0], -1)).reshape(starts, len(kept), rank, columns)
        for u, space in zip(factors, spaces, strict=True)
    ]
    out = basis.new_zeros(starts, columns, columns)
    for n, (u, space) in enumerate(zip(factors, spaces, strict=True)):
        own = _hadamard(grams, {n}, factors[0])[:, kept]
        rows = torch.einsum("brs,isq->birq", own, space)
        mixed = torch.zeros_like(inner[n])
        for m in range(len(factors)):
            if m != n:
                mixed += _hadamard(grams, {n, m}, factors[0])[:, kept].unsqueeze(3) * inner[m]
        rows += torch.einsum("bis,brsq->birq", u, mixed)
        left = (space[:, kept] * weights[kept].unsqueeze(1)).reshape(-1, columns)
        out += left.mT @ rows.reshape(starts, -1, columns)
    # Rounding alone makes it differ from its transpose.
    return (out + out.mT) / 2


def cp_gradient(residual: Tensor, factors: Sequence[Tensor]) -> Tensor:
    """J^T residual, (starts, P) in the order of `cp_gram`; residual is (starts, I_1, ..., I_N)."""
    starts = residual.shape[0]
    parts = []
    for n, u in enumerate(factors):
        unfolded = residual.movedim(n + 1, 1).reshape(starts, u.shape[1], -1)
        others = khatri_rao([v for p, v in enumerate(factors) if p != n])
        parts.append((unfolded @ others).reshape(starts, -1))
    return torch.cat(parts, dim=1)


def product_norms(factors: Sequence[Tensor]) -> Tensor:
    """|u1_r| |u2_r| ... |uN_r|, (starts, R)."""
    out = factors[0].square().sum(1)
    for u in factors[1:]:
        out = out * u.square().sum(1)
    return out.sqrt()


def add_product_penalty(gram: Tensor, factors: Sequence[Tensor], weight: float) -> Tensor:
    """Add the Gauss-Newton matrix of weight * sum_r |u1_r|^2 ... |uN_r|^2; returns half its gradient.

    The residuals are sqrt(weight) |u1_r| ... |uN_r|: the row of one product is its residual times
    (u1_r / |u1_r|^2, ..., uN_r / |uN_r|^2), so that its square is a rank-one block within that product.

    Args:
        gram: (starts, P, P) in the order of `cp_gram`, changed in place.
        factors: (starts, I_n, R).
        weight: at least 0.

    Returns:
        (starts, P), to be added to J^T residual.
    """
    starts, rank = factors[0].shape[0], factors[0].shape[2]
    size = weight**0.5 * product_norms(factors)
    # A factor that vanishes has no direction; its product's residual is 0 there.
    rows = [
        size.unsqueeze(1) * u / u.square().sum(1, keepdim=True).clamp(min=torch.finfo(u.dtype).tiny)
        for u in factors
    ]
    begin = 0
    for u, own in zip(factors, rows, strict=True):
        other_begin = 0
        for v, other in zip(factors, rows, strict=True):
            block = gram[:, begin : begin + own[0].numel(), other_begin : other_begin + other[0].numel()]
            within = block.view(starts, u.shape[1], rank, v.shape[1], rank)
            within.diagonal(dim1=2, dim2=4).add_(torch.einsum("bir,bjr->bijr", own, other))
            other_begin += other[0].numel()
        begin += own[0].numel()
    return torch.cat([(size.unsqueeze(1) * own).reshape(starts, -1) for own in rows], dim=1)


def khatri_rao(factors: Sequence[Tensor]) -> Tensor:
    """Columnwise Kronecker product, (starts, I_1 ... I_N, R), the first factor's index varying slowest."""
    out = factors[0]
    for u in factors[1:]:
        out = (out.unsqueeze(2) * u.unsqueeze(1)).reshape(out.shape[0], -1, out.shape[2])
    return out


def cp_reconstruct(factors: Sequence[Tensor]) -> Tensor:
    """The tensors sum_r u1_r (x) ... (x) uN_r, (starts, I_1, ..., I_N)."""
    sides = [u.shape[1] for u in factors]
    if len(factors) == 1:
        return factors[0].sum(dim=2)
    flat = factors[0] @ khatri_rao(factors[1:]).mT
    return flat.reshape(factors[0].shape[0], *sides)


def _hadamard(grams: Sequence[Tensor], without: set[int], like: Tensor) -> Tensor:
    kept = [g for p, g in enumerate(grams) if p not in without]
    if not kept:
        return like.new_ones(like.shape[0], like.shape[2], like.shape[2])
    out = kept[0]
    for g in kept[1:]:
        out = out * g
    return out
