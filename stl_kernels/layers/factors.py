"""The two small factors that a layer needs at run time, as parameters that layers may share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_kernels.contract import checks
from stl_kernels.layers.functional import Encoders, as_algorithm


class STLFactors(nn.Module):
    """The two factors that a layer needs at run time; give one instance to several layers to share it.

    Attributes:
        encode_x: (r, n*k), a parameter; frozen unless `trainable`.
        decode: (n*m, r), likewise.
        tile: the tile format.
    """

    def __init__(
        self,
        encoders: Encoders,
        *,
        trainable: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dtype = dtype or torch.get_default_dtype()
        algorithm = as_algorithm(encoders, dtype)
        if dtype not in checks.FLOAT_DTYPES:
            raise InvalidInput("dtype", expected="a floating dtype", got=str(dtype))
        self.tile: TileFormat = algorithm.tile
        self.rank: int = algorithm.rank
        place = torch.get_default_device() if device is None else device
        # Checked on the CPU in the layer's dtype: half precision may overflow, the meta device has no values.
        encode_x, decode = (
            torch.tensor(factor, dtype=dtype, device="cpu")
            for factor in (algorithm.encode_x, algorithm.decode)
        )
        checks.require_finite(encode_x=encode_x, decode=decode)
        self.encode_x = nn.Parameter(encode_x.to(place), trainable)
        self.decode = nn.Parameter(decode.to(place), trainable)

    def forward(self) -> tuple[Tensor, Tensor]:
        """(encode_x, decode); layers call it, as hooks bring a module's parameters in when it is called."""
        return self.encode_x, self.decode

    def extra_repr(self) -> str:
        return f"tile={self.tile}, rank={self.rank}, trainable={self.encode_x.requires_grad}"


def algorithm_of(layer: nn.Module, encode_w: Tensor) -> BilinearAlgorithm:
    """The algorithm of present factors together with `encode_w` (r, k*m), for scoring or saving.

    Args:
        layer: an `STLLinear`, or the factors themselves.
        encode_w: (r, k*m).
    """
    factors = layer if isinstance(layer, STLFactors) else layer.factors
    assert isinstance(factors, STLFactors)
    return BilinearAlgorithm(
        factors.tile,
        factors.encode_x.detach().double().cpu().numpy(),
        encode_w.detach().double().cpu().numpy(),
        factors.decode.detach().double().cpu().numpy(),
    )
