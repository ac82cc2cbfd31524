"""First and second moments of rows, all that least squares in them needs: K^2 numbers for any count.

With C = E (x - mean)(x - mean)^T, the error of replacing W by V and of putting the mean into a bias is
tr (W - V)^T C (W - V); without the bias C is replaced by E x x^T.

Stored, C is its upper Cholesky factor R, R^T R = C, its columns divided by the standard deviations and
rounded to float16, packed: K (K + 1) bytes. A root needs half the digits: rounding R by 2^-11 leaves a
positive semidefinite C, and directions down to 1e-7 of the variance of a feature, where rounding C itself
would lose those below 1e-3.

What does not belong here: where rows come from, and what moments are used for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stl_algebra.errors import InvalidInput

Array = NDArray[np.float64]

#: Names of the arrays of a packed value.
PACKED = ("count", "mean", "deviation", "root")

#: Below this many rows a feature an estimated covariance gets the larger ridge.
_ROWS_PER_FEATURE = 3


def ridge_share(rows: int, features: int) -> float:
    """The ridge of an estimated covariance, a share of its mean diagonal: 1e-6, or 1e-2 from few rows."""
    return 1e-6 if rows >= _ROWS_PER_FEATURE * features else 1e-2


@dataclass(frozen=True, eq=False)
class Moments:
    """Of rows x with K entries.

    Attributes:
        count: how many rows there were.
        mean: E x, (K,) float64.
        second: E x x^T, (K, K) float64.

    Raises:
        InvalidInput: sizes that do not fit, no rows, NaN or an infinity, not symmetric, or a second moment
            below the square of the mean.
    """

    count: int
    mean: Array
    second: Array

    def __post_init__(self) -> None:
        mean, second = np.asarray(self.mean, np.float64), np.asarray(self.second, np.float64)
        if mean.ndim != 1 or second.shape != (len(mean), len(mean)) or not len(mean):
            raise InvalidInput(
                "moments", expected="mean (K,) and second (K, K)", got=f"{mean.shape} and {second.shape}"
            )
        if self.count < 1:
            raise InvalidInput("moments", expected="at least one row", got=self.count)
        if not (np.isfinite(mean).all() and np.isfinite(second).all()):
            raise InvalidInput("moments", expected="finite entries", got="NaN or an infinity")
        scale = float(np.abs(second).max())
        if np.abs(second - second.T).max() > 1e-6 * scale:
            raise InvalidInput("moments", expected="a symmetric second moment", got="an asymmetric one")
        if (np.diag(second) < mean**2 - 1e-6 * scale).any():
            raise InvalidInput(
                "moments", expected="second moments of at least the squared means", got="smaller ones"
            )
        object.__setattr__(self, "count", int(self.count))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "second", (second + second.T) / 2)

    @classmethod
    def of(cls, rows: ArrayLike) -> Moments:
        """The moments of rows (N, K)."""
        values = np.asarray(rows, np.float64)
        if values.ndim != 2:
            raise InvalidInput("rows", expected="a matrix (2 axes)", got=f"shape {values.shape}")
        sums = MomentSum(values.shape[1])
        sums.add(values)
        return sums.value()

    @property
    def size(self) -> int:
        """K."""
        return len(self.mean)

    @property
    def covariance(self) -> Array:
        """E (x - mean)(x - mean)^T, (K, K)."""
        out: Array = self.second - np.outer(self.mean, self.mean)
        return out

    def packed(self) -> dict[str, NDArray[np.generic]]:
        """What a file stores: `count` (1,), `mean` and `deviation` (K,) float32, `root` (K(K+1)/2,) float16.

        Raises:
            InvalidInput: the covariance is not positive semidefinite, or too large for float32.
        """
        covariance = self.covariance
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0))
        scale = np.where(deviation > 0, deviation, 1.0)
        correlation = covariance / np.outer(scale, scale)
        correlation[np.diag_indices(self.size)] = 1.0
        root = _upper_root(correlation) * (deviation > 0)
        with np.errstate(over="ignore"):
            small = {"mean": self.mean.astype(np.float32), "deviation": deviation.astype(np.float32)}
        if not all(np.isfinite(v).all() for v in small.values()):
            raise InvalidInput("moments", expected="values that float32 holds", got="larger ones")
        packed = root[np.triu_indices(self.size)].astype(np.float16)
        return {"count": np.array([self.count]), **small, "root": packed}

    @classmethod
    def unpacked(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Moments:
        """Inverse of `packed`; C to about 2^-11 of its features' variances, never indefinite.

        Raises:
            InvalidInput: an array is missing, or of another size.
        """
        missing = [name for name in PACKED if name not in arrays]
        if missing:
            raise InvalidInput("moments", expected=f"arrays {', '.join(PACKED)}", got=f"no {missing[0]}")
        mean, deviation, entries = (np.asarray(arrays[n], np.float64).ravel() for n in PACKED[1:])
        size = len(mean)
        if len(deviation) != size or len(entries) != size * (size + 1) // 2:
            raise InvalidInput(
                "moments", expected=f"{size} deviations and {size * (size + 1) // 2} entries of the root",
                got=f"{len(deviation)} and {len(entries)}",
            )  # fmt: skip
        root = np.zeros((size, size))
        root[np.triu_indices(size)] = entries
        # Rounding changed the columns' lengths; the variances are those of `deviation`.
        root *= deviation / np.maximum(np.linalg.norm(root, axis=0), 1e-300)
        return cls(int(np.ravel(arrays["count"])[0]), mean, root.T @ root + np.outer(mean, mean))


def _upper_root(correlation: Array) -> Array:
    """The upper Cholesky factor; a ridge of at most 1e-6 where the matrix is singular to rounding."""
    for ridge in (0.0, 1e-13, 1e-11, 1e-9, 1e-8, 1e-7, 1e-6):
        try:
            root = np.linalg.cholesky(correlation + ridge * np.eye(len(correlation))).T
            return np.asarray(root, dtype=np.float64)
        except np.linalg.LinAlgError:
            continue
    raise InvalidInput("moments", expected="a positive semidefinite covariance", got="an indefinite one")


class MomentSum:
    """Adds up rows in float64 about the mean of the first ones, so that a large mean costs no digits.

    Args:
        size: K, entries of a row.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self._shift = np.zeros(size)
        self._first = np.zeros(size)
        self._second = np.zeros((size, size))

    def add(self, rows: ArrayLike) -> None:
        """Add rows (N, K): 2 N K^2 operations.

        Raises:
            InvalidInput: another K, NaN or an infinity.
        """
        values = np.asarray(rows, np.float64)
        if values.ndim != 2 or values.shape[1] != self.size:
            raise InvalidInput("rows", expected=f"rows of {self.size} entries", got=values.shape)
        if not np.isfinite(values).all():
            raise InvalidInput("rows", expected="finite numbers", got="NaN or an infinity")
        if not len(values):
            return
        if not self.count:
            self._shift = values.mean(axis=0)
        centred = values - self._shift
        self.count += len(values)
        self._first += centred.sum(axis=0)
        self._second += centred.T @ centred

    def value(self) -> Moments:
        """The moments of all rows.

        Raises:
            InvalidInput: no row was added.
        """
        if not self.count:
            raise InvalidInput("moments", expected="at least one row", got="none")
        offset = self._first / self.count
        mean = self._shift + offset
        covariance = self._second / self.count - np.outer(offset, offset)
        return Moments(self.count, mean, covariance + np.outer(mean, mean))
