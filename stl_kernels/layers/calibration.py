"""Fitting a layer's encoded weights to the activations it will meet, on a stream of batches.

The weights are known, so their encoding is free: the Z (r, K/k, M/m) that minimises the output error on
calibration activations solves a linear least-squares problem whose rows are (tile row, entry of the output
tile) and whose columns are (product, inner tile); all output blocks are right-hand sides of one design. White
activations give the encoder's own Z back: the whole gain comes from the activations' correlations.

What does not belong here: the least squares itself (`stl_algebra.numerics`), where activations come from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.numerics import DynamicLeastSquares, Solution
from stl_kernels.contract.checks import require_finite
from stl_kernels.contract.tiles import Cut, to_tiles
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.row_groups import group_rows

#: Unknowns of one output block: the Gram matrix of this many takes 3.2 GB.
_LARGEST_PROBLEM = 20_000


class Calibrator:
    """Collects activations of one layer and then sets its encoded weights.

    Args:
        layer: the layer to calibrate; its `encoded_w` is the start, and what the ridge pulls to.
        linear: the dense layer that it stands for; its bias does not matter.
        relative_ridge: weight of |Z - start|^2 relative to the mean squared entry of the design; it decides
            where there are fewer rows than unknowns.

    Rows are grouped as the layer groups them; the same activations may be added several times in other
    orders of the rows where the layer will meet any order.

    Raises:
        InvalidInput: shapes of `layer` and `linear` differ, or the ridge is negative.
        TooLarge: r * K / k is above 20,000; says the memory it would take.
    """

    def __init__(self, layer: STLLinear, linear: nn.Linear, *, relative_ridge: float = 1e-2) -> None:
        weight = linear.weight.detach()
        if tuple(weight.shape) != (layer.out_features, layer.in_features):
            raise InvalidInput(
                "linear",
                expected=f"a weight of shape {(layer.out_features, layer.in_features)}",
                got=f"shape {tuple(weight.shape)}",
            )
        rank, inner, blocks = layer.encoded_w.shape
        unknowns = rank * inner
        if unknowns > _LARGEST_PROBLEM:
            raise TooLarge(
                f"calibration of {layer.in_features} features at rank {rank} has {unknowns} unknowns, "
                f"above {_LARGEST_PROBLEM}: the Gram matrix would take {8e-9 * unknowns**2:.3g} GB"
            )
        self.layer = layer
        self._weight = weight.to(torch.float64).t()
        self._stream = DynamicLeastSquares(
            unknowns,
            blocks,
            mode="exact",
            deletions="none",
            relative_ridge=relative_ridge,
            device=layer.encoded_w.device,
        )

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Add activations (..., K) of the layer.

        Raises:
            InvalidInput: another number of features, NaN or an infinity.
        """
        if x.dim() < 1 or x.shape[-1] != self.layer.in_features:
            raise InvalidInput(
                "x", expected=f"shape (..., {self.layer.in_features})", got=f"shape {tuple(x.shape)}"
            )
        require_finite(x=x)
        layer, t = self.layer, self.layer.tile
        rows, _ = group_rows(x.to(torch.float64), t.n, layer.options.row_grouping, layer.options.batch_axis)
        strided = layer.options.strided
        into, onto = Cut(t.n, t.k, layer.permutation, strided), Cut(t.n, t.m, None, strided)
        encode = layer.factors.encode_x.double()
        decode = layer.factors.decode.double()
        encoded = torch.einsum("ra,ial->irl", encode, to_tiles(rows, into))
        wanted = to_tiles(rows @ self._weight, onto)
        present = torch.einsum("yr,irl,rlj->iyj", decode, encoded, layer.encoded_w.double())
        design = torch.einsum("yr,irl->iyrl", decode, encoded)
        # The unknown is the change of Z, so that the ridge pulls to the present weights.
        self._stream.insert(
            design.reshape(-1, design.shape[2] * design.shape[3]),
            (wanted - present).reshape(-1, present.shape[2]),
        )

    @torch.no_grad()
    def apply(self) -> Solution:
        """Set the layer's encoded weights; the solution's flags tell of too few rows or dead features.

        The calibrator goes on collecting relative to the weights it began with only if it is not applied in
        between: begin a new one for another round.
        """
        solution = self._stream.solve()
        change = solution.x.reshape(self.layer.rank, -1, solution.x.shape[1])
        self.layer.encoded_w.add_(change.to(self.layer.encoded_w.dtype))
        return solution
