"""The layer: owns parameters, shapes and the grouping of rows; the ops compute.

What does not belong here: numerics (`ops`, `backends`), reading a dense layer (`dense`), calibration of the
encoded weights, model conversion.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels.backends import get_backend
from stl_kernels.backends.base import Tunable
from stl_kernels.backends.packed import is_constant
from stl_kernels.contract import checks
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import ceil_div
from stl_kernels.layers import sorting, transforms
from stl_kernels.layers.costs import costs, neighbour_dependence
from stl_kernels.layers.dense import read_dense
from stl_kernels.layers.effective import mean_weight, tile_row_map
from stl_kernels.layers.factors import STLFactors
from stl_kernels.layers.functional import Encoders, as_algorithm, encode_weights, in_bases_of
from stl_kernels.layers.options import LayerOptions
from stl_kernels.layers.row_groups import RowGroups, group_rows, ungroup_rows


class STLLinear(nn.Module):
    """A linear layer y = x W + bias computed by a bilinear algorithm on tiles (arXiv 2503.12211).

    Parameters: `encoded_w` (r, ceil(K/k), ceil(M/m)), trained freely (see `unpacked`); `bias` (M,);
    `factors.encode_x`, `factors.decode`, frozen unless `trainable_factors`. `encode_w` only encodes weights.

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
        options: row grouping, tiling, permutation, kernels, trainable factors.
        factors: a shared `STLFactors` of the same algorithm format and rank.
        device, dtype: as for every torch layer.
        changes: fields of `LayerOptions` by keyword, on top of `options`.

    Attributes:
        options: as given, without the permutation, which is the buffer `permutation` (K,) int64 or None.

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
        options: LayerOptions | None = None,
        factors: STLFactors | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **changes: Any,
    ) -> None:
        chosen = LayerOptions.of(options, changes)
        algorithm = as_algorithm(encoders, dtype or torch.get_default_dtype())
        self._allocate(in_features, out_features, algorithm, bias, chosen, factors, device, dtype)
        self.reset_parameters(algorithm)

    def _allocate(
        self,
        in_features: int,
        out_features: int,
        algorithm: BilinearAlgorithm,
        bias: bool,
        options: LayerOptions,
        factors: STLFactors | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        """Everything but the values of weights and bias."""
        super().__init__()
        for name, size in (("in_features", in_features), ("out_features", out_features)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise InvalidInput(name, expected="a positive integer", got=size)
        order = options.permutation
        if order is not None and len(order) != in_features:
            raise InvalidInput(
                "permutation",
                expected=f"each index from 0 to {in_features - 1} once",
                got=f"{len(order)} indices",
            )
        dtype = dtype or torch.get_default_dtype()
        self.in_features, self.out_features = in_features, out_features
        self.options = replace(options, permutation=None)
        self.tile, self.rank = algorithm.tile, algorithm.rank
        if factors is None:
            factors = STLFactors(algorithm, trainable=options.trainable_factors, device=device, dtype=dtype)
        elif (factors.tile, factors.rank) != (self.tile, self.rank):
            raise InvalidInput(
                "factors",
                expected=f"tile format {self.tile} and rank {self.rank}, as the encoders",
                got=f"{factors.tile} and {factors.rank}",
            )
        self.factors = factors
        shape = (self.rank, ceil_div(in_features, self.tile.k), ceil_div(out_features, self.tile.m))
        self.encoded_w = nn.Parameter(torch.empty(shape, dtype=dtype, device=device))
        place = self.encoded_w.device
        self.register_buffer(
            "permutation", None if order is None else torch.tensor(order, dtype=torch.int64, device=place)
        )
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(out_features, dtype=dtype, device=device)) if bias else None
        )

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
        algorithm = in_bases_of(encoders, self.factors.encode_x)
        if (algorithm.tile, algorithm.rank) != (self.tile, self.rank):
            raise InvalidInput(
                "encoders",
                expected=f"tile format {self.tile} and rank {self.rank}",
                got=f"{algorithm.tile} and {algorithm.rank}",
            )
        self._check_weight("weight", weight)
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
            tiling=self.options.tiling,
            backend="reference",
        )
        self.encoded_w.copy_(encoded)

    @classmethod
    def from_linear(
        cls,
        linear: nn.Module,
        encoders: Encoders,
        *,
        calibration: sorting.Calibration | None = None,
        options: LayerOptions | None = None,
        factors: STLFactors | None = None,
        **changes: Any,
    ) -> STLLinear:
        """The layer that stands in for `linear`: its weights encoded, its bias copied, its device and dtype.

        Exact up to rounding where the algorithm is exact; otherwise see `distance`. What was frozen in
        `linear` is frozen here. No random number is drawn. Arguments as for the class.

        Args:
            linear: a torch.nn.Linear, or a transposed one that stores (K, M), such as transformers' Conv1D.
            calibration: moments of its input, for encoders such as "4x4x4-r32-sorted": they say which
                features share a tile, to whose axes the encoders are turned unless `factors` are shared,
                and the mean goes into the bias. See `layers.sorting`.

        Raises:
            InvalidInput: `linear` is another kind of layer, is lazy, quantised or on the meta device, or
                holds NaN or an infinity, or an argument does not fit.
        """
        dense = read_dense(linear)
        algorithm = as_algorithm(encoders, dense.weight.dtype)
        out_features, in_features = dense.weight.shape
        moments = None if calibration is None else sorting.InputMoments.of(calibration, in_features)
        chosen = LayerOptions.of(options, changes)
        chosen, algorithm = sorting.laid_out(chosen, algorithm, moments, turn=factors is None)
        layer = cls.__new__(cls)
        layer._allocate(
            *(in_features, out_features, algorithm),
            *(dense.bias is not None or moments is not None, chosen, factors),
            *(dense.weight.device, dense.weight.dtype),
        )
        layer.set_weight(dense.weight, algorithm)
        layer.encoded_w.requires_grad_(dense.trains)
        if layer.bias is not None:
            if moments is not None:
                sorting.move_mean(layer, layer.bias, dense, moments)
            elif dense.bias is not None:
                layer.bias.data.copy_(dense.bias)
            layer.bias.requires_grad_(dense.bias is not None and dense.bias_trains)
        layer.train(linear.training)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """x (..., K) to (..., M)."""
        arguments, groups = self._arguments(x)
        return ungroup_rows(transforms.linear(*arguments), groups)

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
        backend = get_backend(self.options.backend, x.device, x.dtype)
        if not isinstance(backend, Tunable):
            raise Unavailable(f"backend {backend.name!r} has no choice of kernels to measure")
        return backend.tune(call)

    def _arguments(self, x: Tensor) -> tuple[tuple[Any, ...], RowGroups]:
        """The linear op's arguments for x, and how to undo the grouping of the rows."""
        if not isinstance(x, Tensor) or x.dim() < 1 or x.shape[-1] != self.in_features:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InvalidInput("x", expected=f"a tensor of shape (..., {self.in_features})", got=got)
        t, options = self.tile, self.options
        rows, groups = group_rows(x, t.n, options.row_grouping, options.batch_axis)
        encode_x, decode = self.factors()
        return (
            *(rows, encode_x, self.encoded_w, decode, self.bias, self.out_features, t.n, t.k, t.m),
            *(self.permutation, options.strided, options.fused, options.backend, is_constant(self.encoded_w)),
        ), groups

    def effective_map(self) -> Tensor:
        """The linear map that the layer applies to one tile row, without bias: (n*K, n*M), float64.

        vec(Y) = vec(X) @ map for n rows X (n, K) and Y (n, M), both flattened row by row. For an exact
        algorithm it is kron(I_n, W). Takes n^2 K M numbers: meant for inspection.
        """
        return tile_row_map(self)

    @property
    def weight(self) -> Tensor:
        """The dense weight (M, K) that the layer applies to a row on its own, mean over the n rows of a tile.

        Computed anew at each access and read-only: changing it does not change the layer. It is W for an
        exact algorithm up to rounding; what it leaves out otherwise is what rows of a tile do to each
        other. For code that looks at a linear layer's `.weight.dtype`, `.weight.device` or values.
        """
        return mean_weight(self)

    def neighbour_dependence(self) -> float:
        """How far a row's output moves, relative to its norm, when the other rows of its tile are replaced.

        Root mean square for white inputs; 0 for an exact algorithm up to rounding. See `costs`.
        """
        return neighbour_dependence(self)

    @torch.no_grad()
    def distance(self, linear: nn.Linear | Tensor) -> float:
        """|effective map - kron(I_n, W)|_F^2 / |kron(I_n, W)|_F^2, the NMSE of the layer for white inputs.

        Args:
            linear: the dense layer, or its weight (M, K). The biases are not compared.

        Raises:
            InvalidInput: the weight has another shape or is zero.
        """
        weight = linear if isinstance(linear, Tensor) else read_dense(linear).weight
        self._check_weight("linear", weight, "a weight of ")
        w = weight.to(device=self.encoded_w.device, dtype=torch.float64).t()
        size = self.tile.n * float(w.square().sum())
        if size == 0:
            raise InvalidInput("linear", expected="a weight with a non-zero entry", got="zero")
        n = self.tile.n
        difference = self.effective_map().view(n, self.in_features, n, self.out_features)
        for row in range(n):
            difference[row, :, row] -= w
        return float(difference.square().sum()) / size

    def _check_weight(self, name: str, weight: Tensor, prefix: str = "") -> None:
        if tuple(weight.shape) != (self.out_features, self.in_features):
            raise InvalidInput(
                name,
                expected=f"{prefix}shape {(self.out_features, self.in_features)}",
                got=f"shape {tuple(weight.shape)}",
            )

    def extra_repr(self) -> str:
        options = self.options
        parts = [
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}",
            f"tile={self.tile}, rank={self.rank}, row_grouping={options.row_grouping!r}",
        ]
        if options.batch_axis:
            parts.append(f"batch_axis={options.batch_axis}")
        parts.append(f"tiling={options.tiling!r}, backend={options.backend!r}")
        parts.append(str(costs(self.tile, self.rank, self.in_features, self.out_features)))
        if options.fused is not None:
            parts.append(f"fused={options.fused}")
        if self.permutation is not None:
            parts.append("permuted")
        return ", ".join(parts)
