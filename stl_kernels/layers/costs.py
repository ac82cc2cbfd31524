"""What a layer costs beside the dense one: multiplications, numbers, and how much rows of a tile depend on
each other.

Times depend on a device and are `stl_kernels.speed`'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.tile import TileFormat

if TYPE_CHECKING:
    from stl_kernels.layers.effective import Layer


@dataclass(frozen=True)
class Costs:
    """Ratios to the dense product of the same sizes; encoded weights are ready.

    Attributes:
        core: nkm / r, the products of the core alone; what papers quote.
        all: with the multiplications of encoding the rows and decoding the result.
        weights: numbers of the encoded weights over those of the dense ones; above 1 they take more memory.
        numbers: of the encoded weights.
    """

    core: float
    all: float
    weights: float
    numbers: int

    def __str__(self) -> str:
        return f"core {self.core:.2f}x, all {self.all:.2f}x, weights {self.weights:.2f}x of dense"


def costs(tile: TileFormat, rank: int, in_features: int, out_features: int) -> Costs:
    """The costs of a layer (K, M), per row of input; sizes are padded as the layer pads them.

    Encode takes r nk multiplications a tile of X, decode r nm a tile of Y: with the core
    1 / all = r/nkm + r/M + r/K where the tile divides (docs/theory.md, section 16).
    """
    inner, columns = -(-in_features // tile.k), -(-out_features // tile.m)
    dense = tile.n * in_features * out_features
    core = rank * inner * columns
    moved = rank * tile.x_size * inner + rank * tile.y_size * columns
    return Costs(dense / core, dense / (core + moved), core / (in_features * out_features), core)


@torch.no_grad()
def neighbour_dependence(layer: Layer) -> float:
    """How far a row's output moves when the other rows of its tile are replaced, relative to its norm.

    The root mean square over rows of independent white entries: sqrt(2 |E_off|^2 / |E|^2), E the effective
    map of a tile row and E_off its blocks between different rows. 0 for an exact algorithm up to rounding.
    It matters where results are compared or kept: retrieval, caching, evaluation in other batches.
    """
    t = layer.tile
    x = layer.factors.encode_x.detach().double().view(layer.rank, t.n, t.k)
    y = layer.factors.decode.detach().double().t().reshape(layer.rank, t.n, t.m)
    z = layer.encoded_w.detach().double().flatten(1)
    return _share(x, y, z @ z.t())


def neighbour_dependence_of(algorithm: BilinearAlgorithm) -> float:
    """The same for an algorithm's own encoding of white weights."""
    t, r = algorithm.tile, algorithm.rank
    x = torch.tensor(algorithm.encode_x.reshape(r, t.n, t.k))
    y = torch.tensor(algorithm.decode.T.reshape(r, t.n, t.m))
    w = torch.tensor(algorithm.encode_w)
    return _share(x, y, w @ w.t())


def _share(x: torch.Tensor, y: torch.Tensor, gram: torch.Tensor) -> float:
    # |E_ij|^2 = sum_{a b} c^T G c with c_rho = x[rho, i, a] y[rho, j, b] and G the Gram of the encoded
    # weights.
    left, right = torch.einsum("ria,sia->irs", x, x), torch.einsum("rjb,sjb->jrs", y, y)
    energy = torch.einsum("irs,jrs,rs->ij", left, right, gram)
    off = float(energy.sum() - energy.diagonal().sum())
    return math.sqrt(max(2 * off / float(energy.sum()), 0.0))
