"""The dense maps that a layer's parameters amount to: for inspection and for code that reads a weight.

What does not belong here: running the layer (`linear`).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from stl_algebra.algorithms.tile import TileFormat
from stl_kernels.contract.tiles import tiled_columns
from stl_kernels.layers.factors import STLFactors
from stl_kernels.layers.options import LayerOptions


class Layer(Protocol):
    """What is read of a layer: see `STLLinear`."""

    in_features: int
    out_features: int
    tile: TileFormat
    rank: int
    options: LayerOptions
    factors: STLFactors
    encoded_w: torch.nn.Parameter
    permutation: Tensor | None


@torch.no_grad()
def tile_row_map(layer: Layer) -> Tensor:
    """The linear map of one tile row, without bias: (n*K, n*M), float64; see `STLLinear.effective_map`."""
    t = layer.tile
    wide = [p.double() for p in (layer.factors.encode_x, layer.encoded_w, layer.factors.decode)]
    blocks = torch.einsum("ra,rlj,yr->alyj", *wide)
    tiles_k, tiles_m = layer.encoded_w.shape[1:]
    full = blocks.reshape(t.n, t.k, tiles_k, t.n, t.m, tiles_m).permute(0, 2, 1, 3, 5, 4)
    full = full.reshape(t.n, tiles_k * t.k, t.n, tiles_m * t.m)
    # From the order of the tiles' entries to the order of the features.
    out = full.new_empty(t.n, layer.in_features, t.n, layer.out_features)
    into, onto = _places(layer, full.device)
    full = full[:, into < layer.in_features][..., onto < layer.out_features]
    into, onto = _features(layer, into, onto)
    out[:, into[:, None, None], torch.arange(t.n, device=full.device)[:, None], onto] = full
    return out.reshape(t.n * layer.in_features, t.n * layer.out_features)


@torch.no_grad()
def mean_weight(layer: Layer) -> Tensor:
    """What a row does to its own output, (M, K), mean over the n rows of a tile; in the layer's dtype.

    The diagonal blocks of `tile_row_map`, without forming it: r n k m + (k m r) L J multiplications.
    """
    t = layer.tile
    x = layer.factors.encode_x.view(layer.rank, t.n, t.k)
    y = layer.factors.decode.t().reshape(layer.rank, t.n, t.m)
    own = torch.einsum("ria,rib->rab", x, y) / t.n
    blocks = torch.einsum("rab,rlj->blaj", own.to(layer.encoded_w.dtype), layer.encoded_w)
    # Rows (L, a) and columns (j, b) in the order of the tiles.
    full = blocks.permute(1, 2, 3, 0).reshape(-1, layer.encoded_w.shape[2] * t.m)
    into, onto = _places(layer, full.device)
    full = full[into < layer.in_features][:, onto < layer.out_features]
    into, onto = _features(layer, into, onto)
    out = full.new_empty(layer.out_features, layer.in_features)
    out[onto[:, None], into] = full.t()
    return out


def _places(layer: Layer, device: torch.device) -> tuple[Tensor, Tensor]:
    """Feature, before any permutation, at each place of the tiles, for inputs and outputs."""
    strided = layer.options.strided
    into = tiled_columns(layer.in_features, layer.tile.k, strided, device).reshape(-1)
    onto = tiled_columns(layer.out_features, layer.tile.m, strided, device).reshape(-1)
    return into, onto


def _features(layer: Layer, into: Tensor, onto: Tensor) -> tuple[Tensor, Tensor]:
    """The features at the places that are no padding."""
    into, onto = into[into < layer.in_features], onto[onto < layer.out_features]
    return (into if layer.permutation is None else layer.permutation[into]), onto


def tile_maps(factors: STLFactors) -> Tensor:
    """A (n*k*n*m, r): encoded weights z (r,) of a tile amount to the map A z, axes as in `tile_row_map`."""
    encode_x, decode = factors()
    return torch.einsum("ra,yr->ayr", encode_x, decode).reshape(-1, factors.rank)


def map_metric(factors: STLFactors) -> Tensor:
    """G = A^T A / n, (r, r), A being `tile_maps`: sum of z^T G z over tiles is |effective map|^2 / n.

    For weights that an exact algorithm encoded that is |W|^2. Entries of the map that lie in padding count.
    """
    encode_x, decode = factors()
    metric: Tensor = (encode_x @ encode_x.t()) * (decode.t() @ decode) / factors.tile.n
    return metric
