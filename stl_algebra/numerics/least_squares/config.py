"""What a `DynamicLeastSquares` is made with, and the checks of what it is given.

What does not belong here: what is done with it (`stream`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict, cast

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import Choice

STATE_VERSION = 1
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

    def __post_init__(self) -> None:
        for name in ("d", "targets", "expected_rows"):
            size = getattr(self, name)
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
                raise InvalidInput(name, expected="a positive integer", got=size)
        for name in ("ridge", "relative_ridge"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInput(name, expected="a finite number of at least 0", got=value)
            object.__setattr__(self, name, float(value))
        for name in ("dtype", "product_dtype"):
            kind = str(getattr(self, name)).removeprefix("torch.")
            if kind not in _LARGEST_ENTRY:
                raise InvalidInput(name, expected="torch.float32 or torch.float64", got=kind)
            object.__setattr__(self, name, kind)
        object.__setattr__(self, "keep_rows", bool(self.keep_rows) and self.deletions == "any")

    @property
    def width(self) -> int:
        """Columns of [A B]."""
        return self.d + self.targets

    @property
    def row_dtype(self) -> torch.dtype:
        """Of the rows and of the answer."""
        return cast(torch.dtype, getattr(torch, str(self.dtype)))

    @property
    def products(self) -> torch.dtype:
        """Of the products of rows."""
        return cast(torch.dtype, getattr(torch, str(self.product_dtype)))

    @property
    def largest_entry(self) -> float:
        """The largest entry of a row whose square, summed, stays within the dtypes' range."""
        return min(_LARGEST_ENTRY[str(self.dtype)], _LARGEST_ENTRY[str(self.product_dtype)])

    def total_ridge(self, mean_diagonal: float) -> float:
        """The ridge for a mean diagonal entry of A^T A."""
        return self.ridge + self.relative_ridge * mean_diagonal


def checked_rows(config: Config, device: torch.device, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a as (m, d) and b as (m, k), detached.

    Raises:
        InvalidInput: see `DynamicLeastSquares.insert`.
    """
    d, k, dtype = config.d, config.targets, config.row_dtype
    for name, value in (("a", a), ("b", b)):
        if not isinstance(value, Tensor):
            raise InvalidInput(name, expected="a torch tensor", got=type(value).__name__)
        if value.dtype != dtype:
            raise InvalidInput(
                name,
                expected=f"dtype {dtype}",
                got=str(value.dtype),
                hint=f"use {name}.to({dtype})",
            )
        if value.device != device:
            raise InvalidInput(name, expected=f"a tensor on {device}", got=str(value.device))
    if a.dim() != 2 or a.shape[1] != d:
        raise InvalidInput("a", expected=f"shape (m, d) with d = {d}", got=f"shape {tuple(a.shape)}")
    if a.shape[0] == 0:
        raise InvalidInput("a", expected="at least one row", got="an empty batch")
    b = b.unsqueeze(1) if b.dim() == 1 and k == 1 else b
    if tuple(b.shape) != (a.shape[0], k):
        raise InvalidInput("b", expected=f"shape (m, k) = {(a.shape[0], k)}", got=f"shape {tuple(b.shape)}")
    largest = config.largest_entry
    for name, value in (("a", a), ("b", b)):
        low, high = torch.aminmax(value.detach())
        # NaN fails both comparisons.
        if not (float(low) >= -largest and float(high) <= largest):
            found = "NaN, an infinity" if not bool(torch.isfinite(value).all()) else "larger ones"
            raise InvalidInput(name, expected=f"finite entries of at most {largest:g}", got=found)
    return a.detach(), b.detach()


def read_meta(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The JSON part of a `state_dict`.

    Raises:
        InvalidInput: it is missing, malformed or of a newer version.
    """
    try:
        meta: dict[str, Any] = json.loads(bytes(state["meta"].tolist()))
        version = int(meta["version"])
        Config(**meta["config"])
        Choice(**meta["choice"])
        int(meta["rows"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise InvalidInput("state", expected="a state_dict with a meta entry", got=repr(error)) from error
    if version != STATE_VERSION:
        raise InvalidInput(
            "state", expected=f"state version {STATE_VERSION}", got=version, hint="upgrade stl-algebra"
        )
    return meta
