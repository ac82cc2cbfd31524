"""Which rows of an activation tensor share a tile: (..., K) to a matrix of grouped rows and back.

The groupings' meanings are stated in `layers.linear.STLLinear`; this file is their index arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stl_algebra.errors import InvalidInput

ROW_GROUPINGS = ("batch", "sequence", "rows")


@dataclass(frozen=True)
class RowGroups:
    """How to undo a grouping: leading sizes with the grouped axis last, its true size, where it was."""

    leading: tuple[int, ...]
    grouped: int
    axis: int | None


def group_rows(x: Tensor, n: int, grouping: str, batch_axis: int) -> tuple[Tensor, RowGroups]:
    """Rows (N, K) of x (..., K) in which every n consecutive ones share a tile, and how to undo it.

    Raises:
        InvalidInput: `batch_axis` is not a leading axis of x.
    """
    if x.dim() <= 2 or grouping == "rows":
        return x.reshape(-1, x.shape[-1]), RowGroups(tuple(x.shape[:-1]), -1, None)
    axis = x.dim() - 2
    if grouping == "batch":
        if not -x.dim() <= batch_axis < x.dim() or batch_axis % x.dim() == x.dim() - 1:
            raise InvalidInput(
                "batch_axis", expected=f"a leading axis of x, 0 to {x.dim() - 2}", got=batch_axis
            )
        axis = batch_axis % x.dim()
    x = x.movedim(axis, -2)
    grouped = x.shape[-2]
    missing = (-grouped) % n
    # While compiling the padding is unconditional, so that one graph serves every batch size; it costs
    # nothing there.
    if torch.compiler.is_compiling() or missing:
        x = F.pad(x, (0, 0, 0, missing))
    return x.reshape(-1, x.shape[-1]), RowGroups(tuple(x.shape[:-1]), grouped, axis)


def ungroup_rows(y: Tensor, groups: RowGroups) -> Tensor:
    """(..., M) of the grouped rows (N, M)."""
    y = y.reshape(*groups.leading, y.shape[-1])
    if groups.axis is None:
        return y
    if torch.compiler.is_compiling():
        # A slice would guard on whether the result is contiguous, which depends on the batch size.
        y = y.index_select(-2, torch.arange(groups.grouped, device=y.device))
    elif groups.grouped != y.shape[-2]:
        y = y[..., : groups.grouped, :]
    return y.movedim(-2, groups.axis)
