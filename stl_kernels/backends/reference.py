"""The reference backend: each op as the einsum that defines it; every device, every float dtype.

The place to read what an op means and what the other backends are tested against (in float64).
What does not belong here: anything done for speed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stl_kernels.backends.base import refuse_fused, register
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import Cut, from_tiles, to_tiles


@register
class ReferenceBackend:
    """theory: Ailon et al., arXiv 2503.12211, eq. for the Strassen-Tile operator; padding is with zeros."""

    name = "reference"

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        return ""

    def encode(self, x: Tensor, factor: Tensor, cut: Cut) -> Tensor:
        return torch.einsum("ra,ial->ril", factor, to_tiles(x, cut)).contiguous()

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        return torch.einsum("ril,rlj->rij", encoded_x, encoded_w).contiguous()

    def decode(
        self, products: Tensor, factor: Tensor, bias: Tensor | None, rows: int, columns: int, cut: Cut
    ) -> Tensor:
        return from_tiles(torch.einsum("yr,rij->iyj", factor, products), rows, columns, cut, bias)

    def correlate(self, encoded: Tensor, x: Tensor, cut: Cut) -> Tensor:
        return torch.einsum("ril,ial->ra", encoded, to_tiles(x, cut)).contiguous()

    def linear(self, call: Linear) -> Tensor:
        refuse_fused(call, self.name)
        products = self.core(self.encode(call.x, call.encode_x, call.into), call.encoded_w)
        return self.decode(products, call.decode, call.bias, call.x.shape[0], call.columns, call.onto)
