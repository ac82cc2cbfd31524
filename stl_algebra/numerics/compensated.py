"""A Gram matrix to which rows can be added and from which they can be taken away again without drift.

The sum is kept as an unevaluated pair high + low, updated by Knuth's two-sum, so that adding and later
subtracting the same product leaves an error of order eps^2 of the largest value that was ever there, not eps.
Subtraction recomputes the product from the same rows in the same shape: its rounding cancels exactly.

What does not belong here: who may delete what (`dynamic_least_squares`), solving (`normal_solve`).
"""

from __future__ import annotations

import torch
from torch import Tensor

# Products of longer batches are cut here, so that a long batch is accumulated with compensation too.
_BLOCK = 1024


class CompensatedGram:
    """The sum of rows^T rows over everything added and not subtracted, in float64 with compensation.

    Args:
        width: columns of the rows.
        device: where it lives.
        product_dtype: dtype of the products; float64 unless speed on the device matters more.
    """

    def __init__(self, width: int, device: torch.device, product_dtype: torch.dtype = torch.float64) -> None:
        self.product_dtype = product_dtype
        self.high = torch.zeros(width, width, dtype=torch.float64, device=device)
        self.low = torch.zeros_like(self.high)

    def add(self, rows: Tensor) -> None:
        """Add rows^T rows; rows is (m, width)."""
        for block in torch.split(rows, _BLOCK):
            self._accumulate(self._product(block))

    def subtract(self, rows: Tensor) -> None:
        """Take away rows that were added by one call of `add` with exactly these rows."""
        for block in torch.split(rows, _BLOCK):
            self._accumulate(self._product(block).neg_())

    def absorb(self, other: CompensatedGram) -> None:
        """Add another sum of the same width."""
        self._accumulate(other.high.to(self.high.device, copy=True))
        self.low += other.low.to(self.low.device)

    def value(self) -> Tensor:
        """(width, width) float64, exactly symmetric."""
        total = self.high + self.low
        return (total + total.mT) / 2

    def _product(self, rows: Tensor) -> Tensor:
        rows = rows.to(self.product_dtype)
        if rows.shape[0] == 1:
            return torch.outer(rows[0], rows[0]).to(torch.float64)
        return (rows.mT @ rows).to(torch.float64)

    def _accumulate(self, term: Tensor) -> None:
        total = self.high + term
        virtual = total - self.high
        term.sub_(virtual)
        virtual.neg_().add_(total).neg_().add_(self.high)
        self.low.add_(term).add_(virtual)
        self.high = total
