"""The reference backend: each op as the einsum that defines it; every device, every float dtype.

The place to read what an op means and what the other backends are tested against (in float64).
What does not belong here: anything done for speed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stl_kernels.tiles import from_tiles, to_tiles


class ReferenceBackend:
    """theory: Ailon et al., arXiv 2503.12211, eq. for the Strassen-Tile operator; padding is with zeros."""

    name = "reference"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        return ""

    def encode(
        self, x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        tiles = to_tiles(x, n, k, permutation, strided)
        return torch.einsum("ra,ial->ril", factor, tiles).contiguous()

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        return torch.einsum("ril,rlj->rij", encoded_x, encoded_w).contiguous()

    def decode(
        self,
        products: Tensor,
        factor: Tensor,
        bias: Tensor | None,
        rows: int,
        columns: int,
        n: int,
        m: int,
        permutation: Tensor | None,
        strided: bool,
    ) -> Tensor:
        tiles = torch.einsum("yr,rij->iyj", factor, products)
        return from_tiles(tiles, rows, columns, n, m, permutation, strided, bias)

    def correlate(
        self, encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        tiles = to_tiles(x, n, k, permutation, strided)
        return torch.einsum("ril,ial->ra", encoded, tiles).contiguous()

    def linear(
        self,
        x: Tensor,
        encode_x: Tensor,
        encoded_w: Tensor,
        decode: Tensor,
        bias: Tensor | None,
        columns: int,
        n: int,
        k: int,
        m: int,
        permutation: Tensor | None,
        strided: bool,
    ) -> Tensor:
        encoded = self.encode(x, encode_x, n, k, permutation, strided)
        products = self.core(encoded, encoded_w)
        return self.decode(products, decode, bias, x.shape[0], columns, n, m, None, strided)
