"""Which entries of a matrix make up a tile: padding, the two tilings, the feature permutation.

Fixed here and nowhere else. A matrix (N, C) is cut into I = ceil(N / n) tile rows and L = ceil(C / c) tile
columns of n x c tiles; missing rows and columns count as zero. Entry (i, j) of the tile (I, L) is the
matrix entry in row I*n + i and column

    consecutive:  L*c + j            strided:  j*L_total + L     then, with a permutation p:  p[that column]

Strided tiles take every L_total-th column. For an unpermuted matrix whose sizes the tile divides, the strided
tile matrix is a *view*, which is why it is the faster one; the two differ by a fixed permutation of the
features and are equally good for white data.

What does not belong here: anything about ranks, factors or backends.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TILINGS = ("consecutive", "strided")


def ceil_div(size: int, side: int) -> int:
    """Number of tiles of `side` that cover `size`; works for symbolic sizes."""
    return (size + side - 1) // side


class Cut(NamedTuple):
    """How a matrix (N, C) is cut; unpacks to the ops' arguments of this order.

    Attributes:
        n, c: sides of a tile.
        permutation: (C,) int64, the order in which the columns are tiled; None for their own.
        strided: whether tiles take every L_total-th column.
    """

    n: int
    c: int
    permutation: Tensor | None
    strided: bool

    @property
    def size(self) -> int:
        """Entries of a tile."""
        return self.n * self.c

    def counts(self, rows: int, columns: int) -> tuple[int, int]:
        """(tile rows, tile columns) of a matrix."""
        return ceil_div(rows, self.n), ceil_div(columns, self.c)


def to_tiles(x: Tensor, cut: Cut) -> Tensor:
    """Tile matrix (I, n*c, L) of x (N, C): entry [I, i*c + j, L] as the first lines of this file say.

    A view of x for strided tiles where the sizes fit and x is contiguous; otherwise one copy.
    """
    n, c, permutation, strided = cut
    if permutation is not None:
        x = x.index_select(1, permutation)
    rows, columns = x.shape
    tile_rows, tile_columns = cut.counts(rows, columns)
    missing_rows, missing_columns = tile_rows * n - rows, tile_columns * c - columns
    if missing_rows or missing_columns:
        x = F.pad(x, (0, missing_columns, 0, missing_rows))
    if strided:
        return x.reshape(tile_rows, n * c, tile_columns)
    return x.reshape(tile_rows, n, tile_columns, c).transpose(2, 3).reshape(tile_rows, n * c, tile_columns)


def from_tiles(tiles: Tensor, rows: int, columns: int, cut: Cut, bias: Tensor | None = None) -> Tensor:
    """The matrix (rows, columns), contiguous, of a tile matrix (I, n*c, L): the inverse of `to_tiles`.

    `bias` (columns,) is indexed by the column of the result and is added on the way.
    """
    n, c, permutation, strided = cut
    tile_rows, _, tile_columns = tiles.shape
    if bias is not None and permutation is not None:
        bias = bias.index_select(0, permutation)
    if strided:
        y = tiles.reshape(tile_rows * n, c * tile_columns)
    else:
        y = tiles.reshape(tile_rows, n, c, tile_columns).transpose(2, 3)
        if bias is not None:
            # Added while the entries move to their places: one pass over memory instead of two.
            padded = F.pad(bias, (0, tile_columns * c - columns)).view(tile_columns, c)
            y = torch.add(y, padded, out=y.new_empty(y.shape))
            bias = None
        y = y.reshape(tile_rows * n, tile_columns * c)
    y = y[:rows, :columns]
    if bias is not None:
        y = y.add_(bias)
    if permutation is None:
        return y.contiguous()
    out = torch.empty(rows, columns, dtype=tiles.dtype, device=tiles.device)
    return out.index_copy_(1, permutation, y)


def tiled_columns(columns: int, c: int, strided: bool, device: torch.device | str = "cpu") -> Tensor:
    """Column (before any permutation) at [L, j], (L, c); columns that are padding are >= `columns`."""
    count = ceil_div(columns, c)
    indices = torch.arange(count * c, device=device)
    return indices.view(c, count).T if strided else indices.view(count, c)
