"""Rows as users give them, checked and as tensors, and answers in the form in which rows were given.

What does not belong here: what the rows are for (`methods`), which of them are live (`ledger`).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.least_squares.config import Config

#: A tensor, a numpy array or what numpy makes an array of.
Rows: TypeAlias = Tensor | ArrayLike


class Form(NamedTuple):
    """How rows were given.

    Attributes:
        numpy: as arrays, not as tensors.
        flat: the targets had no axis for right-hand sides.
    """

    numpy: bool = False
    flat: bool = False

    def give(self, x: Tensor) -> Any:
        """A tensor or an array."""
        return x.cpu().numpy() if self.numpy else x


def checked_rows(config: Config, device: torch.device, a: Rows, b: Rows) -> tuple[Tensor, Tensor, Form]:
    """a as (m, columns), with the ones of an intercept at its end, b as (m, k), and how they were given.

    Raises:
        InvalidInput: see `DynamicLeastSquares.insert`.
    """
    numpy = not isinstance(a, Tensor)
    features = _as_tensor(config, device, "a", a, numpy)
    targets = _as_tensor(config, device, "b", b, numpy)
    flat = targets.dim() < features.dim()
    single = features.dim() == 1
    features = _matrix(config, features)
    if config.targets == 1 and flat and targets.dim() == (0 if single else 1):
        targets = targets.reshape(-1, 1)
    elif single and targets.dim() == 1:
        targets, flat = targets.unsqueeze(0), False
    expected = (features.shape[0], config.targets)
    if tuple(targets.shape) != expected:
        raise InvalidInput("b", expected=f"shape (m, k) = {expected}", got=f"shape {tuple(targets.shape)}")
    for name, value in (("a", features), ("b", targets)):
        _require_moderate(config, name, value)
    return _with_ones(config, features), targets, Form(numpy, flat)


def checked_features(config: Config, device: torch.device, a: Rows) -> tuple[Tensor, bool, bool]:
    """a as (m, columns), whether it was one row without an axis for rows, and whether it was an array.

    Raises:
        InvalidInput: see `DynamicLeastSquares.predict`.
    """
    numpy = not isinstance(a, Tensor)
    given = _as_tensor(config, device, "a", a, numpy)
    features = _matrix(config, given)
    _require_moderate(config, "a", features)
    return _with_ones(config, features), given.dim() == 1, numpy


def _as_tensor(config: Config, device: torch.device, name: str, value: Rows, numpy: bool) -> Tensor:
    if numpy:
        return _from_array(config, name, value).to(device)
    dtype = config.row_dtype
    if isinstance(value, int | float):
        return torch.tensor(value, dtype=dtype, device=device)
    if not isinstance(value, Tensor):
        raise InvalidInput(name, expected="a torch tensor, as a is", got=type(value).__name__)
    if value.dtype != dtype:
        raise InvalidInput(
            name, expected=f"dtype {dtype}", got=str(value.dtype), hint=f"use {name}.to({dtype})"
        )
    if value.device != device:
        raise InvalidInput(name, expected=f"a tensor on {device}", got=str(value.device))
    return value.detach()


def _from_array(config: Config, name: str, value: Rows) -> Tensor:
    if isinstance(value, Tensor):
        raise InvalidInput(name, expected="an array, as a is", got="a torch tensor")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InvalidInput(name, expected="an array of numbers", got=str(error)) from error
    if array.dtype.kind not in "biuf":
        raise InvalidInput(name, expected="real numbers", got=f"dtype {array.dtype}")
    # Python's numbers have no precision that could be lost; an array's dtype says what is meant.
    if (
        isinstance(value, np.ndarray)
        and array.dtype.kind == "f"
        and not np.can_cast(array.dtype, str(config.dtype))
    ):
        raise InvalidInput(
            name,
            expected=f"dtype {config.dtype}",
            got=str(array.dtype),
            hint=f"use {name}.astype({config.dtype!r})",
        )
    # A copy, since a tensor cannot share memory that is read-only.
    return torch.from_numpy(np.array(array, dtype=str(config.dtype)))


def _matrix(config: Config, a: Tensor) -> Tensor:
    matrix = a.unsqueeze(0) if a.dim() == 1 else a
    if matrix.dim() != 2 or matrix.shape[1] != config.d:
        raise InvalidInput(
            "a", expected=f"shape (m, d) or (d,) with d = {config.d}", got=f"shape {tuple(a.shape)}"
        )
    if matrix.shape[0] == 0:
        raise InvalidInput("a", expected="at least one row", got="an empty batch")
    return matrix


def _require_moderate(config: Config, name: str, value: Tensor) -> None:
    low, high = torch.aminmax(value)
    # NaN fails both comparisons.
    if not (float(low) >= -config.largest_entry and float(high) <= config.largest_entry):
        found = "NaN, an infinity" if not bool(torch.isfinite(value).all()) else "larger ones"
        raise InvalidInput(name, expected=f"finite entries of at most {config.largest_entry:g}", got=found)


def _with_ones(config: Config, a: Tensor) -> Tensor:
    return torch.cat([a, a.new_ones(a.shape[0], 1)], dim=1) if config.intercept else a
