"""Fitting a layer's encoded weights to the activations it will meet, on a stream of batches.

The weights are known, so their encoding is free: the Z (r, K/k, M/m) that minimises the output error on
calibration activations solves a linear least-squares problem whose rows are (tile row, entry of the output
tile) and whose columns are (product, inner tile); all output blocks are right-hand sides of one design. Its
normal matrix is a Hadamard product, (Xe^T Xe) * (D^T D (x) 1) with the encoded rows Xe (I, r L) and the
decoder D (docs/theory.md, section 5), so a tile row is one row of products and not n m of them. White
activations give the encoder's own Z back: the whole gain comes from the activations' correlations.

What does not belong here: the least squares itself (`stl_algebra.numerics`), where activations come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput, TooLarge
from stl_algebra.numerics import Solution
from stl_algebra.numerics.least_squares.gram import BufferedGram
from stl_algebra.numerics.least_squares.solve import solve_from_gram
from stl_algebra.progress import Progress
from stl_kernels.contract.checks import require_finite
from stl_kernels.contract.tiles import Cut, to_tiles
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.row_groups import group_rows

#: Unknowns of one output block: the Gram matrix of this many takes 3.2 GB.
_LARGEST_PROBLEM = 20_000


@dataclass(frozen=True)
class Calibrated:
    """What a calibration found.

    Attributes:
        solution: of the least-squares problem, with its rank, condition and flags.
        rows: of activations that were seen.
        before, after: squared error relative to the dense layer's squared output, on those rows.
    """

    solution: Solution
    rows: int
    before: float
    after: float

    @property
    def condition(self) -> float:
        """Of the problem, see `Solution`."""
        return self.solution.condition

    @property
    def flags(self) -> tuple[str, ...]:
        """What to mind, see `Solution`; empty where there is nothing."""
        return self.solution.flags

    def __str__(self) -> str:
        words = f"{self.rows} rows: error {self.before:.4g} -> {self.after:.4g}"
        return words + (f" ({', '.join(self.flags)})" if self.flags else "")


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
        if not (math.isfinite(relative_ridge) and relative_ridge >= 0):
            raise InvalidInput("relative_ridge", expected="a finite number of at least 0", got=relative_ridge)
        self.layer = layer
        self._ridge = relative_ridge
        self._weight = weight.to(torch.float64).t()
        device = layer.encoded_w.device
        self._start = layer.encoded_w.detach().to(torch.float64).clone()
        self._encoded = BufferedGram(unknowns, device, torch.float64, torch.float64)
        self._right = torch.zeros(rank, inner, blocks, dtype=torch.float64, device=device)
        self._tile_rows, self._rows, self._wanted, self._missed = 0, 0, 0.0, 0.0

    @torch.no_grad()
    def add(self, x: Tensor) -> None:
        """Add activations (..., K) of the layer; costs one product (I, r L) with itself.

        Raises:
            InvalidInput: another number of features, NaN or an infinity.
        """
        if x.dim() < 1 or x.shape[-1] != self.layer.in_features:
            raise InvalidInput(
                "x", expected=f"shape (..., {self.layer.in_features})", got=f"shape {tuple(x.shape)}"
            )
        require_finite(x=x)
        layer, t, options = self.layer, self.layer.tile, self.layer.options
        rows, _ = group_rows(x.to(torch.float64), t.n, options.row_grouping, options.batch_axis)
        into, onto = Cut(t.n, t.k, layer.permutation, options.strided), Cut(t.n, t.m, None, options.strided)
        decode = layer.factors.decode.double()
        encoded = torch.einsum("ra,ial->irl", layer.factors.encode_x.double(), to_tiles(rows, into))
        wanted = to_tiles(rows @ self._weight, onto)
        # The unknown is the change of Z, so that the ridge pulls to the present weights.
        # In two steps each: the order of the sums decides what they cost.
        products = torch.einsum("irl,rlj->irj", encoded, self._start)
        missed = wanted - torch.einsum("yr,irj->iyj", decode, products)
        self._encoded.defer(encoded.reshape(len(encoded), -1))
        self._right += torch.einsum("irl,irj->rlj", encoded, torch.einsum("yr,iyj->irj", decode, missed))
        self._tile_rows += len(encoded)
        self._rows += rows.shape[0]
        self._wanted += float(wanted.square().sum())
        self._missed += float(missed.square().sum())

    def collect(self, batches: Iterable[Tensor], progress: Progress | None = None) -> Calibrator:
        """`add` every batch; `progress` hears of each. Returns the calibrator."""
        known = len(batches) if isinstance(batches, Sized) else 0
        for number, batch in enumerate(batches, 1):
            self.add(batch)
            if progress:
                progress(f"calibrating, {self._rows} rows", number, max(known, number))
        return self

    @torch.no_grad()
    def apply(self) -> Calibrated:
        """Set the layer's encoded weights; the answer tells of too few rows or dead features.

        The weights are those of the rows added since the calibrator was made, whether it was applied in
        between or not.
        """
        layer = self.layer
        rank, inner, blocks = layer.encoded_w.shape
        size = rank * inner
        decode = layer.factors.decode.double()
        gram = self._encoded.value().view(rank, inner, rank, inner)
        gram = (gram * (decode.t() @ decode)[:, None, :, None]).reshape(size, size)
        right = self._right.reshape(size, blocks)
        ridge = self._ridge * float(gram.diagonal().mean())
        t = layer.tile
        solution = solve_from_gram(
            torch.cat([gram, right], dim=1), size, ridge, self._tile_rows * t.y_size, size
        )
        change: Tensor = solution.x
        fallen = 2 * float((change * right).sum()) - float((change * (gram @ change)).sum())
        layer.encoded_w.copy_((self._start + change.reshape(rank, inner, blocks)).to(layer.encoded_w.dtype))
        scale = self._wanted or 1.0
        before, after = self._missed / scale, max(self._missed - fallen, 0.0) / scale
        return Calibrated(solution, self._rows, before, after)
