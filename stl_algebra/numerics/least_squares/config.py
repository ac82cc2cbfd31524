"""What a `DynamicLeastSquares` is made with.

What does not belong here: what it is given (`rows`), what is done with it (`stream`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any, TypedDict, cast

import numpy as np
import torch

from stl_algebra.errors import InvalidInput

# Squares of larger entries, summed over 1e9 rows, leave the dtype's range.
_LARGEST_ENTRY = {"float32": 1e14, "float64": 1e145}


class Settings(TypedDict, total=False):
    """The keyword arguments of `DynamicLeastSquares`: the fields of `Config` after `targets`."""

    mode: str
    deletions: str
    eps: float | None
    ridge: float
    relative_ridge: float
    expected_rows: int | None
    keep_rows: bool
    dtype: torch.dtype | str
    product_dtype: torch.dtype | str
    seed: int
    intercept: bool
    forgetting: float


@dataclass(frozen=True)
class Config:
    """What a `DynamicLeastSquares` was made with; JSON-able, dtypes by their names. See its arguments.

    Raises:
        InvalidInput: a number is out of range or a dtype is none of the two. The words `mode`, `deletions`
            and `eps` are left to `choose`.
    """

    d: int
    targets: int = 1
    mode: str = "auto"
    deletions: str = "any"
    eps: float | None = None
    ridge: float = 0.0
    relative_ridge: float = 0.0
    expected_rows: int | None = None
    keep_rows: bool = True
    dtype: torch.dtype | str = "float64"
    product_dtype: torch.dtype | str = "float64"
    seed: int = 0
    intercept: bool = False
    forgetting: float = 1.0

    def __post_init__(self) -> None:
        for name in ("d", "targets", "expected_rows"):
            size = getattr(self, name)
            if size is None:
                continue
            if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
                raise InvalidInput(name, expected="a positive integer", got=size)
            object.__setattr__(self, name, int(size))
        for name in ("ridge", "relative_ridge"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInput(name, expected="a finite number of at least 0", got=value)
            object.__setattr__(self, name, float(value))
        for name in ("dtype", "product_dtype"):
            kind = _name_of(getattr(self, name))
            if kind not in _LARGEST_ENTRY:
                raise InvalidInput(name, expected="float32 or float64, of torch or numpy", got=kind)
            object.__setattr__(self, name, kind)
        object.__setattr__(self, "keep_rows", bool(self.keep_rows) and self.deletions == "any")
        object.__setattr__(self, "intercept", bool(self.intercept))
        self._check_forgetting()

    def _check_forgetting(self) -> None:
        if not 0 < self.forgetting <= 1:
            raise InvalidInput("forgetting", expected="above 0 and at most 1", got=self.forgetting)
        if self.forgetting == 1:
            return
        if self.deletions != "none":
            raise InvalidInput(
                "forgetting",
                expected='deletions="none" beside it',
                got=f"deletions={self.deletions!r}",
                hint="old rows fade by themselves; a row that has faded cannot be taken away or expire",
            )
        if self.mode == "sampled":
            raise InvalidInput(
                "forgetting",
                expected='mode "exact" or "auto" beside it',
                got='mode="sampled"',
                hint="only the Gram matrix can fade",
            )

    @property
    def columns(self) -> int:
        """Columns of the system: the features and, with an intercept, a column of ones behind them."""
        return self.d + self.intercept

    @property
    def width(self) -> int:
        """Columns of [A B]."""
        return self.columns + self.targets

    @cached_property
    def row_dtype(self) -> torch.dtype:
        """Of the rows and of the answer."""
        return cast(torch.dtype, getattr(torch, str(self.dtype)))

    @cached_property
    def products(self) -> torch.dtype:
        """Of the products of rows."""
        return cast(torch.dtype, getattr(torch, str(self.product_dtype)))

    @cached_property
    def largest_entry(self) -> float:
        """The largest entry of a row whose square, summed, stays within the dtypes' range."""
        return min(_LARGEST_ENTRY[str(self.dtype)], _LARGEST_ENTRY[str(self.product_dtype)])

    def total_ridge(self, mean_diagonal: float) -> float:
        """The ridge for a mean diagonal entry of A^T A."""
        return self.ridge + self.relative_ridge * mean_diagonal


def _name_of(dtype: Any) -> str:
    if isinstance(dtype, torch.dtype):
        return str(dtype).removeprefix("torch.")
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        return repr(dtype)
