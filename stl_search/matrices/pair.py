"""One product X @ W as a value, checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.moments import Moments


@dataclass(frozen=True, eq=False)
class MatrixPair:
    """One product X @ W and where it comes from.

    Attributes:
        name: for tables.
        x: (N, K), the rows that errors are measured on.
        w: (K, M).
        calibration: (N', K) other rows of the same source, for baselines and layers that may look at data;
            x itself is never shown to them.
        source: one line about the origin.
        moments: mean and second moment of calibration rows, of many more than are kept; None where only
            the kept ones are known.
    """

    name: str
    x: Array
    w: Array
    calibration: Array
    source: str = ""
    moments: Moments | None = None

    @property
    def calibration_moments(self) -> Moments:
        """What methods that calibrate see: `moments`, else those of the calibration rows."""
        return self.moments if self.moments is not None else Moments.of(self.calibration)

    def with_moments(self, moments: Moments) -> MatrixPair:
        """The same pair with moments of its calibration source.

        Raises:
            InvalidInput: they are of rows of another size.
        """
        if moments.size != self.w.shape[0]:
            raise InvalidInput(
                f"matrices {self.name}, moments",
                expected=f"those of rows of {self.w.shape[0]} entries",
                got=f"{moments.size} entries",
            )
        return replace(self, moments=moments)


def make_pair(
    name: str, x: ArrayLike, w: ArrayLike, calibration: ArrayLike | None = None, source: str = ""
) -> MatrixPair:
    """Check and build a pair; without calibration rows the second half of x becomes them.

    Raises:
        InvalidInput: not matrices, empty, NaN or an infinity, all zero, or inner sizes that differ.
    """
    checked = {"X": _checked(f"{name}: X", x), "W": _checked(f"{name}: W", w)}
    if checked["X"].shape[1] != checked["W"].shape[0]:
        raise InvalidInput(
            f"matrices {name}",
            expected="X (N, K) and W (K, M) with equal inner sizes K",
            got=f"X {checked['X'].shape} and W {checked['W'].shape}",
            hint="transpose W: nn.Linear stores (M, K)"
            if checked["X"].shape[1] == checked["W"].shape[1]
            else "",
        )
    rows = checked["X"]
    if calibration is None:
        half = (len(rows) + 1) // 2
        rows, held = (rows[:half], rows[half:]) if len(rows) > 1 else (rows, rows)
    else:
        held = _checked(f"{name}: calibration", calibration)
        if held.shape[1] != rows.shape[1]:
            raise InvalidInput(
                f"matrices {name}, calibration", expected=f"rows of {rows.shape[1]} entries", got=held.shape
            )
    return MatrixPair(name, rows, checked["W"], held, source)


def _checked(label: str, values: ArrayLike) -> Array:
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InvalidInput(f"matrices {label}", expected="real numbers", got=f"dtype {array.dtype}")
    if array.ndim != 2:
        raise InvalidInput(f"matrices {label}", expected="a matrix (2 axes)", got=f"shape {array.shape}")
    if array.size == 0:
        raise InvalidInput(f"matrices {label}", expected="at least one entry", got=f"shape {array.shape}")
    array = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(array).all():
        raise InvalidInput(f"matrices {label}", expected="finite entries", got="NaN or an infinity")
    if not array.any():
        raise InvalidInput(f"matrices {label}", expected="a matrix that is not zero", got="zeros only")
    return array
