"""The layer: owns parameters, shapes and the grouping of rows; the ops compute.

What does not belong here: numerics (`ops`, `backends`), calibration of the encoded weights, model conversion.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels import ops
from stl_kernels.backends import AUTO, Tunable, check_name, get_backend
from stl_kernels.contract import checks
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import ceil_div, tiled_columns
from stl_kernels.layers.factors import STLFactors
from stl_kernels.layers.functional import Encoders, as_algorithm, as_permutation, check_tiling, encode_weights
from stl_kernels.layers.row_groups import ROW_GROUPINGS, RowGroups, group_rows, ungroup_rows


class STLLinear(nn.Module):
    """A linear layer y = x W + bias computed by a bilinear algorithm on tiles (arXiv 2503.12211).

    Parameters: `encoded_w` (r, ceil(K/k), ceil(M/m)), trained freely; `bias` (M,); `factors.encode_x` and
    `factors.decode`, frozen unless `trainable_factors`. `encode_w` is used once, when weights are encoded.

    A tile mixes n rows of the input, so which rows share a tile is part of the layer's meaning:

    * "batch" (default): rows at the same position of n different batch elements; `batch_axis` says which axis
      is the batch, every other leading axis counts as position. Nothing crosses a sequence, so a causal model
      stays causal. A batch that n does not divide is padded with zeros (a batch of one costs n rows). A
      2-dimensional input has only a batch axis: if a model flattens (batch, sequence) into rows before the
      layer, reshape it to three axes first.
    * "sequence": n consecutive rows along the axis before the features, padded per sequence. **Not causal**:
      a token sees up to n - 1 later ones. For encoders of whole sequences only.
    * "rows": all leading axes flattened, n consecutive rows: the least padding, no promise about boundaries.

    Args:
        in_features, out_features: K, M.
        encoders: the algorithm, a loaded encoders file, or a path.
        bias: whether there is a bias.
        trainable_factors: train encode_x and decode as well (ignored when `factors` is given).
        factors: a shared `STLFactors` of the same algorithm format and rank.
        row_grouping, batch_axis: as above.
        tiling: "consecutive" tiles of neighbouring features (what the search scores), or "strided", every
            ceil(K/k)-th feature: faster, and a different approximation for data whose features differ.
        permutation: (K,) order in which the input features are tiled; None for their own.
        fused: core and decode in one kernel (True; Triton only), in two (False), or as the backend finds
            faster (None: what `tune` measured, else the roofline rule).
        backend: "auto", "reference", "cpu" or "triton".
        device, dtype: as for every torch layer.

    Raises:
        InvalidInput: an argument is out of range or does not fit the others.
    """

    encoded_w: nn.Parameter
    bias: nn.Parameter | None
    permutation: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        encoders: Encoders,
        bias: bool = True,
        *,
        trainable_factors: bool = False,
        factors: STLFactors | None = None,
        row_grouping: str = "batch",
        batch_axis: int = 0,
        tiling: str = "consecutive",
        permutation: Tensor | Sequence[int] | None = None,
        fused: bool | None = None,
        backend: str = AUTO,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise InvalidInput(name, expected="a positive integer", got=size)
        if row_grouping not in ROW_GROUPINGS:
            raise InvalidInput(
                "row_grouping", expected=f"one of {', '.join(ROW_GROUPINGS)}", got=repr(row_grouping)
            )
        check_name(backend)
        check_tiling(tiling)
        algorithm = as_algorithm(encoders)
        dtype = dtype or torch.get_default_dtype()
        self.in_features, self.out_features = in_features, out_features
        self.row_grouping, self.batch_axis, self.tiling = row_grouping, batch_axis, tiling
        self.fused, self.backend = fused, backend
        self.tile, self.rank = algorithm.tile, algorithm.rank
        if factors is None:
            factors = STLFactors(algorithm, trainable=trainable_factors, device=device, dtype=dtype)
        elif (factors.tile, factors.rank) != (self.tile, self.rank):
            raise InvalidInput(
                "factors",
                expected=f"tile format {self.tile} and rank {self.rank}, as the encoders",
                got=f"{factors.tile} and {factors.rank}",
            )
        self.factors = factors
        t = self.tile
        shape = (self.rank, ceil_div(in_features, t.k), ceil_div(out_features, t.m))
        self.encoded_w = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))
        order = as_permutation(permutation, in_features, self.encoded_w.device)
        self.register_buffer("permutation", order)
        if bias:
            self.bias = nn.Parameter(torch.empty(out_features, dtype=dtype, device=device))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters(algorithm)

    def reset_parameters(self, encoders: Encoders) -> None:
        """Draw weights and bias as `torch.nn.Linear` does, and encode them."""
        bound = 1.0 / math.sqrt(self.in_features)
        weight = torch.empty(self.out_features, self.in_features, device=self.encoded_w.device)
        with torch.no_grad():
            self.set_weight(weight.uniform_(-bound, bound), encoders)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    @torch.no_grad()
    def set_weight(self, weight: Tensor, encoders: Encoders) -> None:
        """Encode a dense weight (M, K) into `encoded_w`, in float64, rounded once at the end.

        Raises:
            InvalidInput: the weight's shape or the encoders' format or rank is not the layer's, or the weight
                is on the meta device.
        """
        algorithm = as_algorithm(encoders)
        if (algorithm.tile, algorithm.rank) != (self.tile, self.rank):
            raise InvalidInput(
                "encoders",
                expected=f"tile format {self.tile} and rank {self.rank}",
                got=f"{algorithm.tile} and {algorithm.rank}",
            )
        if tuple(weight.shape) != (self.out_features, self.in_features):
            raise InvalidInput(
                "weight",
                expected=f"shape {(self.out_features, self.in_features)}",
                got=f"shape {tuple(weight.shape)}",
            )
        device = self.encoded_w.device
        if device.type != "meta":
            checks.require_values(weight=weight)
        wide = weight.to(device=device, dtype=torch.float64)
        encode_w = torch.tensor(algorithm.encode_w, dtype=torch.float64, device=device)
        encoded = encode_weights(
            wide.t(),
            encode_w,
            self.tile,
            permutation=self.permutation,
            tiling=self.tiling,
            backend="reference",
        )
        self.encoded_w.copy_(encoded)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Linear,
        encoders: Encoders,
        *,
        trainable_factors: bool = False,
        factors: STLFactors | None = None,
        row_grouping: str = "batch",
        batch_axis: int = 0,
        tiling: str = "consecutive",
        permutation: Tensor | Sequence[int] | None = None,
        fused: bool | None = None,
        backend: str = AUTO,
    ) -> STLLinear:
        """The layer that stands in for `linear`: its weights encoded, its bias copied, its device and dtype.

        Exact up to rounding where the algorithm is exact; otherwise see `distance`. Arguments as for the
        class.

        Raises:
            InvalidInput: `linear` is no nn.Linear, is on the meta device, or holds NaN or an infinity, or an
                argument does not fit.
        """
        if not isinstance(linear, nn.Linear):
            raise InvalidInput("linear", expected="a torch.nn.Linear", got=type(linear).__name__)
        weight = linear.weight
        checks.require_finite(**{"linear.weight": weight, "linear.bias": linear.bias})
        algorithm = as_algorithm(encoders)
        layer = cls(
            linear.in_features,
            linear.out_features,
            algorithm,
            linear.bias is not None,
            trainable_factors=trainable_factors,
            factors=factors,
            row_grouping=row_grouping,
            batch_axis=batch_axis,
            tiling=tiling,
            permutation=permutation,
            fused=fused,
            backend=backend,
            device=weight.device,
            dtype=weight.dtype,
        )
        layer.set_weight(weight.detach(), algorithm)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.copy_(linear.bias)
        layer.train(linear.training)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) to (..., M)."""
        arguments, groups = self._arguments(x)
        return ungroup_rows(ops.linear(*arguments), groups)

    @torch.no_grad()
    def tune(self, x: Tensor) -> bool:
        """Whether one kernel for core and decode is faster than two for inputs like x, measured once.

        The answer is kept on disk for this device, these versions and the shape; layers with `fused=None`
        follow it from then on. Takes a second or two on a GPU.

        Raises:
            InvalidInput: x has another number of features.
            Unavailable: the layer runs x on another backend than Triton, or in Triton's interpreter.
        """
        call = Linear(*self._arguments(x)[0])
        call.check()
        backend = get_backend(self.backend, x.device, x.dtype)
        if not isinstance(backend, Tunable):
            raise Unavailable(f"backend {backend.name!r} has no choice of kernels to measure")
        return backend.tune(call)

    def _arguments(self, x: Tensor) -> tuple[tuple[Any, ...], RowGroups]:
        """The linear op's arguments for x, and how to undo the grouping of the rows."""
        if not isinstance(x, Tensor) or x.dim() < 1 or x.shape[-1] != self.in_features:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInput("x", expected=f"a tensor of shape (..., {self.in_features})", got=got)
        t = self.tile
        rows, groups = group_rows(x, t.n, self.row_grouping, self.batch_axis)
        return (
            *(rows, self.factors.encode_x, self.encoded_w, self.factors.decode, self.bias),
            *(self.out_features, t.n, t.k, t.m),
            *(self.permutation, self.tiling == "strided", self.fused, self.backend),
        ), groups

    @torch.no_grad()
    def effective_map(self) -> Tensor:
        """The linear map that the layer applies to one tile row, without bias: (n*K, n*M), float64.

        vec(Y) = vec(X) @ map for n rows X (n, K) and Y (n, M), both flattened row by row. For an exact
        algorithm it is kron(I_n, W). Takes n^2 K M numbers: meant for inspection.
        """
        t = self.tile
        wide = [p.double() for p in (self.factors.encode_x, self.encoded_w, self.factors.decode)]
        blocks = torch.einsum("ra,rlj,yr->alyj", *wide)
        tiles_k, tiles_m = self.encoded_w.shape[1:]
        full = blocks.reshape(t.n, t.k, tiles_k, t.n, t.m, tiles_m).permute(0, 2, 1, 3, 5, 4)
        full = full.reshape(t.n, tiles_k * t.k, t.n, tiles_m * t.m)
        # From the order of the tiles' entries to the order of the features.
        out = full.new_empty(t.n, self.in_features, t.n, self.out_features)
        strided, device = self.tiling == "strided", full.device
        into = tiled_columns(self.in_features, t.k, strided, device).reshape(-1)
        onto = tiled_columns(self.out_features, t.m, strided, device).reshape(-1)
        full = full[:, into < self.in_features][..., onto < self.out_features]
        into, onto = into[into < self.in_features], onto[onto < self.out_features]
        if self.permutation is not None:
            into = self.permutation[into]
        out[:, into[:, None, None], torch.arange(t.n, device=device)[:, None], onto] = full
        return out.reshape(t.n * self.in_features, t.n * self.out_features)

    @torch.no_grad()
    def distance(self, linear: nn.Linear | Tensor) -> float:
        """|effective map - kron(I_n, W)|_F^2 / |kron(I_n, W)|_F^2, the NMSE of the layer for white inputs.

        Args:
            linear: the dense layer, or its weight (M, K). The biases are not compared.

        Raises:
            InvalidInput: the weight has another shape or is zero.
        """
        weight = linear.weight if isinstance(linear, nn.Linear) else linear
        if tuple(weight.shape) != (self.out_features, self.in_features):
            raise InvalidInput(
                "linear",
                expected=f"a weight of shape {(self.out_features, self.in_features)}",
                got=f"shape {tuple(weight.shape)}",
            )
        w = weight.to(device=self.encoded_w.device, dtype=torch.float64).t()
        size = self.tile.n * float(w.square().sum())
        if size == 0:
            raise InvalidInput("linear", expected="a weight with a non-zero entry", got="zero")
        n = self.tile.n
        difference = self.effective_map().view(n, self.in_features, n, self.out_features)
        for row in range(n):
            difference[row, :, row] -= w
        return float(difference.square().sum()) / size

    def extra_repr(self) -> str:
        parts = [
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}",
            f"tile={self.tile}, rank={self.rank}, row_grouping={self.row_grouping!r}",
        ]
        if self.batch_axis:
            parts.append(f"batch_axis={self.batch_axis}")
        parts.append(f"tiling={self.tiling!r}, backend={self.backend!r}")
        if self.fused is not None:
            parts.append(f"fused={self.fused}")
        if self.permutation is not None:
            parts.append("permuted")
        return ", ".join(parts)


def algorithm_of(layer: STLLinear, encode_w: Tensor) -> BilinearAlgorithm:
    """The algorithm of a layer's present factors together with `encode_w` (r, k*m), for scoring or saving."""
    return BilinearAlgorithm(
        layer.tile,
        layer.factors.encode_x.detach().double().cpu().numpy(),
        encode_w.detach().double().cpu().numpy(),
        layer.factors.decode.detach().double().cpu().numpy(),
    )
