"""A Gram matrix to which rows can be added and from which they can be taken away again without drift.

The sum is kept as an unevaluated pair high + low, updated by Knuth's two-sum, so that adding and later
subtracting the same product leaves an error of order eps^2 of the largest value that was ever there, not eps.
Subtraction recomputes the product from the same rows in the same shape: its rounding cancels exactly.

What does not belong here: who may delete what (`stream`), solving (`solve`).
"""

from __future__ import annotations

from collections.abc import Mapping

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

    def scale(self, factor: float) -> None:
        """Multiply what has been added so far by a factor."""
        self.high.mul_(factor)
        self.low.mul_(factor)

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


class BufferedGram:
    """A compensated Gram matrix that gathers rows which nobody will take away again, so that many single rows
    become one product.

    Args:
        width: columns of the rows.
        device: where it lives.
        dtype: of the rows.
        product_dtype: see `CompensatedGram`.
        forgetting: each deferred row multiplies what came before it by this.
    """

    def __init__(
        self,
        width: int,
        device: torch.device,
        dtype: torch.dtype,
        product_dtype: torch.dtype,
        forgetting: float = 1.0,
    ) -> None:
        self._sum = CompensatedGram(width, device, product_dtype)
        self._width, self._device, self._dtype = width, device, dtype
        self._forgetting = forgetting
        self._pending: list[Tensor] = []
        self._pending_rows = 0

    def add(self, rows: Tensor) -> None:
        """Add rows^T rows at once."""
        self._sum.add(rows)

    def subtract(self, rows: Tensor) -> None:
        """Take away what one call of `add` added."""
        self._sum.subtract(rows)

    def defer(self, rows: Tensor) -> None:
        """Add rows^T rows by the next `value`."""
        self._pending.append(rows)
        self._pending_rows += rows.shape[0]
        if self._pending_rows >= max(256, self._width):
            self._flush()

    def absorb(self, other: BufferedGram) -> None:
        """Add another sum of the same width."""
        self._sum.absorb(other._sum)
        for rows in other._pending:
            self.defer(rows.to(self._device))

    def value(self) -> Tensor:
        """(width, width) float64, exactly symmetric, of everything."""
        self._flush()
        return self._sum.value()

    def state(self) -> dict[str, Tensor]:
        """Plain tensors from which `restore` continues bit for bit; nothing is flushed."""
        empty = torch.zeros(0, self._width, dtype=self._dtype, device=self._device)
        return {
            "gram.high": self._sum.high.clone(),
            "gram.low": self._sum.low.clone(),
            "pending.rows": torch.cat([empty, *self._pending]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Inverse of `state`.

        Raises:
            ValueError: a shape or dtype is another.
        """
        for name in ("high", "low"):
            tensor = state[f"gram.{name}"].to(self._device, torch.float64, copy=True)
            if tuple(tensor.shape) != (self._width, self._width):
                raise ValueError(f"gram.{name} has shape {tuple(tensor.shape)}, not {(self._width,) * 2}")
            setattr(self._sum, name, tensor)
        pending = state["pending.rows"].to(self._device, copy=True)
        if pending.dtype != self._dtype or pending.shape[1] != self._width:
            raise ValueError(f"pending.rows is {pending.dtype}, {tuple(pending.shape)}")
        self._pending = [pending] if pending.shape[0] else []
        self._pending_rows = pending.shape[0]

    def _flush(self) -> None:
        if self._pending:
            rows = torch.cat(self._pending) if len(self._pending) > 1 else self._pending[0]
            self._pending, self._pending_rows = [], 0
            self._sum.add(rows if self._forgetting == 1 else self._faded(rows))

    def _faded(self, rows: Tensor) -> Tensor:
        """Rows weighted by their age within the block, after the sum has aged by the whole block."""
        count = rows.shape[0]
        self._sum.scale(self._forgetting**count)
        ages = torch.arange(count - 1, -1, -1, dtype=torch.float64, device=rows.device)
        return rows.to(torch.float64) * (self._forgetting ** (ages / 2)).unsqueeze(1)
