"""The CPU backend: every step one batched GEMM on large strided views, no Python loop.

For one tile row the tiles are a matrix (n*k, L), in place for strided tiles. So encoding is the
batched product factor (r, n*k) times that, over tile rows, decoding likewise, and between them the encoded
operands lie in memory as (I, r, L): each core product reads its rows at stride r*L, which BLAS takes as a
leading dimension. Nothing is transposed. Consecutive tiles cost one copy in and one copy out.

What does not belong here: gradients and checks (`stl_kernels.ops`, `stl_kernels.checks`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stl_kernels.tiles import from_tiles, to_tiles


class CpuBackend:
    """GEMM-shaped implementation for CPU tensors of any float dtype that torch multiplies there."""

    name = "cpu"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        return "" if device.type == "cpu" else "it takes CPU tensors only"

    def encode(
        self, x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        return _encode_rows(x, factor, n, k, permutation, strided).transpose(0, 1).contiguous()

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        return torch.bmm(encoded_x, encoded_w)

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
        by_row = products.transpose(0, 1)
        tiles = torch.bmm(factor.expand(by_row.shape[0], -1, -1), by_row)
        return from_tiles(tiles, rows, columns, n, m, permutation, strided, bias)

    def correlate(
        self, encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        tiles = to_tiles(x, n, k, permutation, strided)
        by_row = torch.bmm(encoded.transpose(0, 1), tiles.transpose(1, 2))
        # The sum over tile rows runs in float32 at least; half precision would lose the small terms.
        wide = torch.promote_types(by_row.dtype, torch.float32)
        return by_row.sum(0, dtype=wide).to(by_row.dtype)

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
        encoded = _encode_rows(x, encode_x, n, k, permutation, strided)
        # A contiguous result: BLAS writes it directly, where torch would copy a transposed one into place.
        products = torch.bmm(encoded.transpose(0, 1), encoded_w)
        tiles = torch.bmm(decode.expand(encoded.shape[0], -1, -1), products.transpose(0, 1))
        return from_tiles(tiles, x.shape[0], columns, n, m, None, strided, bias)


def _encode_rows(
    x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
) -> Tensor:
    """Encoded x in the order (I, r, L), contiguous."""
    tiles = to_tiles(x, n, k, permutation, strided)
    return torch.bmm(factor.expand(tiles.shape[0], -1, -1), tiles)
