"""Low rank in the metric of inputs and outputs, and its pivoted form: the algebra that several recipes share.

The best W' of rank q for 1/2 tr(G (W - W')^T C (W - W')) is the truncated singular value decomposition of
C^(1/2) W G^(1/2) (docs/theory.md, sections 11 and 19); no inverse of C is formed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import linalg
from torch import Tensor, nn

from stl_models.composites.composite import Select, Sequence, Sum, product


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Right singular vectors of C^(1/2) W~ with W~ = W G^(1/2).

    Attributes:
        squares: squared singular values, falling.
        vectors: (M, p) right singular vectors in the same order, p = min(K, M).
    """

    squares: Tensor
    vectors: Tensor

    def tails(self) -> Tensor:
        """Twice the loss at every rank from 0 to p."""
        return tails(self.squares)


def tails(squares: Tensor) -> Tensor:
    """tails[q] = the sum of the squares (p,) beyond the first q, (p + 1,)."""
    return torch.cat([squares.flip(0).cumsum(0).flip(0), squares.new_zeros(1)])


def spectrum(weighted: Tensor, covariance: Tensor) -> Spectrum:
    """Of W~ (K, M) in the metric of C (K, K), through the smaller Gram matrix."""
    k, m = weighted.shape
    if m <= k:
        gram = weighted.t() @ covariance @ weighted
        values, vectors = torch.linalg.eigh((gram + gram.t()) / 2)
        return Spectrum(values.flip(0).clamp(min=0), vectors.flip(1))
    # C = R^T R, so that |R W~| is the metric; R W~ has the Gram matrix R W~ W~^T R^T of size K.
    root = torch.linalg.cholesky(covariance).t()
    rotated = root @ weighted
    gram = rotated @ rotated.t()
    values, left = torch.linalg.eigh((gram + gram.t()) / 2)
    values, left = values.flip(0).clamp(min=0), left.flip(1)
    vectors = rotated.t() @ left / values.sqrt().clamp(min=1e-300)
    return Spectrum(values, vectors)


def pivoted_map(a: Tensor) -> tuple[nn.Module, Tensor]:
    """The module x -> x_p + x_rest T for A (K, q) = [A_p; T A_p], and A_p (q, q).

    The q pivot rows p of A come from a QR decomposition of A^T with column pivoting; T = A_rest A_p^-1.
    """
    k, q = a.shape
    _, _, order = linalg.qr(a.t().numpy(), mode="economic", pivoting=True)
    pivots, rest = torch.tensor(order[:q].copy()), torch.tensor(order[q:].copy())
    pivots, rest = pivots.sort().values, rest.sort().values
    basis = a[pivots]
    if not len(rest):
        return Select(pivots, k), basis
    t = torch.linalg.solve(basis.t(), a[rest].t()).t()
    return Sum(Select(pivots, k), Sequence(Select(rest, k), product(t))), basis
