"""A linear layer by a two-level algorithm: the outer one on blocks of rows and features, the inner on tiles.

Encoding in two steps takes r1 + r1 r2 / (n1 k1) multiplications an element of X, where the algorithm written
out takes r1 r2. What does not belong here: the layer for one algorithm (`linear`), the algorithm's value
(`stl_algebra.algorithms.two_level`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.published import two_level
from stl_kernels.contract.tiles import ceil_div
from stl_kernels.layers.dense import read_dense
from stl_kernels.layers.factors import STLFactors
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.options import LayerOptions
from stl_kernels.layers.row_groups import group_rows, ungroup_rows


class TwoLevelLinear(nn.Module):
    """y = x W + bias by a two-level algorithm.

    X is cut into n1 x k1 blocks, rows of a block being every n1-th of the grouped rows and its features
    neighbours; the outer algorithm's sums of blocks go through one `STLLinear` each, of the inner algorithm,
    and its decoder adds them up. Exact up to rounding where both are exact. Which n1 n2 rows share a tile is
    said by `row_grouping`, as for `STLLinear`.

    Args:
        in_features, out_features: K, M.
        algorithm: the two levels, or their name, as "2x2x2-r7*4x4x4-r36".
        bias: whether there is a bias.
        options: row grouping, tiling, backend; a permutation would be of the inner layers' features and is
            refused.
        device, dtype: as for every torch layer.

    Attributes:
        products: r1 layers (ceil(K / k1), ceil(M / m1)), without biases.
        outer_x, outer_y: buffers, (r1, n1, k1) and (r1, n1, m1).

    Raises:
        InvalidInput: an argument is out of range or does not fit the others.
    """

    outer_x: Tensor
    outer_y: Tensor
    bias: nn.Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        algorithm: TwoLevel | str,
        bias: bool = True,
        *,
        options: LayerOptions | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dense = nn.Linear(in_features, out_features, bias, device=device, dtype=dtype)
        self._fill(dense, _value(algorithm), LayerOptions.of(options, {}))

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        algorithm: TwoLevel | str,
        *,
        options: LayerOptions | None = None,
        **changes: Any,
    ) -> TwoLevelLinear:
        """The layer that stands in for `linear`: weights encoded, bias copied, device and dtype kept.

        Raises:
            InvalidInput: `linear` cannot be read, or an argument does not fit.
        """
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        layer._fill(linear, _value(algorithm), LayerOptions.of(options, changes))
        return layer.train(linear.training)

    def _fill(self, linear: nn.Module, algorithm: TwoLevel, options: LayerOptions) -> None:
        if options.permutation is not None:
            raise InvalidInput("permutation", expected="none for a two-level layer", got="one")
        dense = read_dense(linear)
        self.out_features, self.in_features = dense.weight.shape
        self.algorithm_name, self.options = algorithm.name, options
        self.tile, self.rank = algorithm.tile, algorithm.rank
        outer = algorithm.outer
        t, like = outer.tile, dense.weight
        self._outer = t
        wide = like.detach().t().double()
        k, m = ceil_div(self.in_features, t.k), ceil_div(self.out_features, t.m)
        wide = nn.functional.pad(wide, (0, t.m * m - self.out_features, 0, t.k * k - self.in_features))
        blocks = wide.reshape(t.k, k, t.m, m)
        encode_w = torch.tensor(outer.encode_w, dtype=torch.float64, device=like.device)
        sums = torch.einsum("rlj,lajb->rab", encode_w.reshape(-1, t.k, t.m), blocks)
        inner = LayerOptions.of(options, {"row_grouping": "rows"})
        # One set of factors serves all products.
        factors = STLFactors(algorithm.inner, device=like.device, dtype=like.dtype)
        self.products = nn.ModuleList()
        for part in sums:
            weight = nn.Parameter(part.t().contiguous().to(like.dtype), requires_grad=dense.trains)
            single = nn.Linear(k, m, bias=False, device="meta", dtype=like.dtype)
            single.weight = weight
            self.products.append(
                STLLinear.from_linear(single, algorithm.inner, options=inner, factors=factors)
            )
        for name, factor, shape in (
            ("outer_x", outer.encode_x, (-1, t.n, t.k)),
            ("outer_y", outer.decode.T, (-1, t.n, t.m)),
        ):
            value = torch.tensor(factor.copy(), dtype=like.dtype, device=like.device)
            self.register_buffer(name, value.reshape(shape).contiguous())
        bias = None if dense.bias is None else nn.Parameter(dense.bias.detach().clone())
        if bias is not None:
            bias.requires_grad_(dense.bias_trains)
        self.register_parameter("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) to (..., M).

        Raises:
            InvalidInput: x has another number of features.
        """
        if x.dim() < 1 or x.shape[-1] != self.in_features:
            raise InvalidInput(
                "x", expected=f"a tensor of shape (..., {self.in_features})", got=f"shape {tuple(x.shape)}"
            )
        t, options = self._outer, self.options
        rows, groups = group_rows(x, self.tile.n, options.row_grouping, options.batch_axis)
        count = len(rows)
        k = ceil_div(self.in_features, t.k)
        missing = (0, t.k * k - self.in_features, 0, -count % self.tile.n)
        if any(missing):
            rows = nn.functional.pad(rows, missing)
        across, down, r, p = t.n * t.k, t.n * t.m, len(self.products), len(rows) // t.n
        # One product for all sums of blocks, one for all that they are decoded to: each block is read once.
        blocks = rows.reshape(p, t.n, t.k, k).permute(1, 2, 0, 3).reshape(across, p * k)
        sums = self.outer_x.view(r, across).to(rows.dtype) @ blocks
        parts = torch.stack(
            [product(one) for product, one in zip(self.products, sums.view(r, p, k), strict=True)]
        )
        m = parts.shape[-1]
        y = self.outer_y.view(r, down).t().to(parts.dtype) @ parts.view(r, p * m)
        y = y.view(t.n, t.m, p, m).permute(2, 0, 1, 3).reshape(p * t.n, t.m * m)
        y = y[:count, : self.out_features]
        if self.bias is not None:
            y = y + self.bias
        return ungroup_rows(y, groups)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, algorithm={self.algorithm_name!r}, tile={self.tile}, "
            f"rank={self.rank}, row_grouping={self.options.row_grouping!r}"
        )


def _value(algorithm: TwoLevel | str) -> TwoLevel:
    if isinstance(algorithm, str):
        return two_level(algorithm)
    if not isinstance(algorithm, TwoLevel):
        raise InvalidInput("algorithm", expected="a TwoLevel or its name", got=type(algorithm).__name__)
    return algorithm
