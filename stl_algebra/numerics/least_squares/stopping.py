"""When to stop feeding a stream: held-out rows say that more rows would hardly help.

What does not belong here: solving.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.rows import Rows
from stl_algebra.numerics.least_squares.stream import DynamicLeastSquares


@dataclass(frozen=True)
class StopReport:
    """A check: whether to stop, the held-out mean squared error, and the relative gain still to be expected
    (plus two standard errors; infinite before two checks)."""

    stop: bool
    error: float
    expected_gain: float


class HeldOutStop:
    """Stops when the expected relative gain is small in several checks in a row.

    The excess of least squares falls like s / n. Two checks at n1 < n2 estimate s from paired differences
    on the same held-out rows; s / n2 is all that infinitely many further rows could gain.

    Args:
        a, b: held-out rows (m, d) and targets (m, k) or (m,), never inserted, m >= 2; tensors or arrays.
        tolerance: relative gain that is not worth more rows.
        patience: checks in a row.
        growth: the stream is checked when it has grown by this factor.

    Raises:
        InvalidInput: a number is out of range or there are fewer than 2 rows.
    """

    def __init__(
        self, a: Rows, b: Rows, *, tolerance: float = 0.01, patience: int = 2, growth: float = 1.25
    ) -> None:
        self._a = a if isinstance(a, Tensor) else np.asarray(a)
        targets = b if isinstance(b, Tensor) else torch.as_tensor(np.array(b))
        m = self._a.shape[0]
        if m < 2 or targets.shape[0] != m:
            raise InvalidInput("a, b", expected="at least 2 rows, as many in both", got=(m, len(targets)))
        if not (tolerance > 0 and patience >= 1 and growth > 1):
            raise InvalidInput(
                "tolerance, patience, growth",
                expected="above 0, at least 1, above 1",
                got=(tolerance, patience, growth),
            )
        self._b = targets.reshape(m, -1)
        self._tolerance, self._patience, self._growth = tolerance, patience, growth
        self._last: tuple[int, Tensor] | None = None
        self._calm = 0

    def check(self, stream: DynamicLeastSquares) -> StopReport | None:
        """Look at the stream; None when it has not grown enough since the last check."""
        n = stream.rows
        if n == 0 or (self._last is not None and n < self._growth * self._last[0]):
            return None
        fitted = torch.as_tensor(stream.predict(self._a)).reshape(self._b.shape)
        losses = (fitted - self._b.to(fitted.device)).square().sum(1)
        error, gain = float(losses.mean()), math.inf
        if self._last is not None:
            before, old = self._last
            factor = 1 / (n / before - 1)
            change = old - losses
            spread = 2 * float(change.std()) / math.sqrt(len(change))
            gain = (float(change.mean()) + spread) * factor / max(error, 1e-300)
        self._last = (n, losses)
        self._calm = self._calm + 1 if gain <= self._tolerance else 0
        return StopReport(self._calm >= self._patience, error, gain)
