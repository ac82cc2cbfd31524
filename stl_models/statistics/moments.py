"""Second moments of a layer's input: all that the recipes need of the calibration text, K^2 numbers.

Sums run in float64 with compensation (`stl_algebra.numerics`), whatever the model's dtype, in one pass. One
input that several layers read is counted once; the memory is 16 (K + 1)^2 bytes while adding, 8 K^2 after.

What does not belong here: running the model (`streams`), using the moments (`recipes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.gram import CompensatedGram
from stl_algebra.numerics.moments import ridge_share


@dataclass(frozen=True, eq=False)
class Moments:
    """Of rows x (K,).

    Attributes:
        second: E x x^T, (K, K) float64.
        mean: E x, (K,) float64.
        rows: how many there were.
    """

    second: Tensor
    mean: Tensor
    rows: int

    def centred(self) -> Tensor:
        """E x x^T - mean mean^T, (K, K), without a ridge."""
        return self.second - torch.outer(self.mean, self.mean)

    def covariance(self) -> Tensor:
        """`centred` with a ridge: 1e-6 of the mean variance, 1e-2 where there are few rows."""
        c = self.centred()
        share = ridge_share(self.rows, len(c))
        mean_variance = float(c.diagonal().mean())
        # An input that never changes has no variance: any positive ridge makes it a metric.
        ridge = share * mean_variance if mean_variance > 0 else 1.0
        return c + ridge * torch.eye(len(c), dtype=c.dtype, device=c.device)

    def error(self, change: Tensor) -> float:
        """E |x^T change - its mean|^2 for a change of the weights (K, M) whose mean the bias takes up."""
        wide = change.to(self.second)
        value = (wide * (self.second @ wide)).sum() - (self.mean @ wide).square().sum()
        return max(float(value), 0.0)

    def power(self, weight: Tensor) -> float:
        """E |x^T weight - its mean|^2: what relative errors are relative to."""
        return self.error(weight)


def nothing_known(width: int) -> Moments:
    """Moments of no rows, for layers that are not approximated and need none."""
    zero = torch.zeros((), dtype=torch.float64)
    return Moments(zero.expand(width, width), zero.expand(width), 0)


class MomentSum:
    """Adds up rows of one input.

    Args:
        width: K.
        device: where the sums live.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.width = width
        self._gram = CompensatedGram(width + 1, torch.device(device))
        self.rows = 0

    def add(self, x: Tensor) -> None:
        """Add rows (..., K).

        Raises:
            InvalidInput: NaN or an infinity.
        """
        rows = x.detach().reshape(-1, self.width).double()
        if not bool(torch.isfinite(rows).all()):
            raise InvalidInput("activations", expected="finite numbers", got="NaN or an infinity")
        # A column of ones: the mean and the count come with the products.
        self._gram.add(torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1))
        self.rows += len(rows)

    def value(self) -> Moments:
        """The moments of all rows.

        Raises:
            InvalidInput: no row was added.
        """
        if not self.rows:
            raise InvalidInput(
                "calibration", expected="at least one row for every layer", got="none",
                hint="the layer was not reached by these batches",
            )  # fmt: skip
        total = self._gram.value() / self.rows
        return Moments(total[:-1, :-1].clone(), total[:-1, -1].clone(), self.rows)
