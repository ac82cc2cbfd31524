"""What a `DynamicLeastSquares` is made with, and the checks of what it is given.

What does not belong here: what is done with it (`dynamic_least_squares`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.choice import Choice

STATE_VERSION = 1
_DTYPES = {torch.float32: "float32", torch.float64: "float64"}
# Squares of larger entries, summed over 1e9 rows, leave the dtype's range.
_LARGEST_ENTRY = {torch.float32: 1e14, torch.float64: 1e145}


@dataclass(frozen=True)
class Config:
    """What a `DynamicLeastSquares` was made with; JSON-able. See its arguments."""

    d: int
    targets: int = 1
    mode: str = "auto"
    deletions: str = "any"
    eps: float | None = None
    ridge: float = 0.0
    relative_ridge: float = 0.0
    expected_rows: int | None = None
    keep_rows: bool = True
    dtype: str = "float64"
    product_dtype: str = "float64"
    seed: int = 0


def make_config(
    *,
    d: int,
    targets: int,
    mode: str,
    deletions: str,
    eps: float | None,
    ridge: float,
    relative_ridge: float,
    expected_rows: int | None,
    keep_rows: bool,
    dtype: torch.dtype,
    product_dtype: torch.dtype,
    seed: int,
) -> Config:
    """The checked arguments; the words `mode`, `deletions` and `eps` are left to `choose`.

    Raises:
        InvalidInput: a number is out of range or a dtype is none of the two.
    """
    for name, size in (("d", d), ("targets", targets), ("expected_rows", expected_rows)):
        if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
            raise InvalidInput(name, expected="a positive integer", got=size)
    for name, value in (("ridge", ridge), ("relative_ridge", relative_ridge)):
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInput(name, expected="a finite number of at least 0", got=value)
    for name, kind in (("dtype", dtype), ("product_dtype", product_dtype)):
        if kind not in _DTYPES:
            raise InvalidInput(name, expected="torch.float32 or torch.float64", got=kind)
    return Config(
        d=d,
        targets=targets,
        mode=mode,
        deletions=deletions,
        eps=eps,
        ridge=float(ridge),
        relative_ridge=float(relative_ridge),
        expected_rows=expected_rows,
        keep_rows=bool(keep_rows) and deletions == "any",
        dtype=_DTYPES[dtype],
        product_dtype=_DTYPES[product_dtype],
        seed=seed,
    )


def checked_rows(config: Config, device: torch.device, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """a as (m, d) and b as (m, k), detached.

    Raises:
        InvalidInput: see `DynamicLeastSquares.insert`.
    """
    d, k = config.d, config.targets
    dtype: torch.dtype = getattr(torch, config.dtype)
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
    largest = min(_LARGEST_ENTRY[dtype], _LARGEST_ENTRY[getattr(torch, config.product_dtype)])
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
