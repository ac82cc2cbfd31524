"""Recipes of two weights in four: `2:4`, and the peers `2:4-sparsegpt` and `2:4-wanda`.

`2:4` is SparseGPT's choice (Frantar and Alistarh 2023) with a least-squares refit of the kept weights, column
by column, from the same moments; the mask stays. The peers are SparseGPT as published and Wanda (Sun et al.
2023: the two smallest |w| times the feature's norm go). All take their moments centred, with the mean in the
bias, as every recipe here does.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stl_algebra.numerics import sparsity
from stl_models.composites.composite import Masked
from stl_models.recipes.base import (
    Engine,
    Fit,
    Layer,
    Parameters,
    Shape,
    Site,
    composite,
    corrected_bias,
    finished,
    register,
)


class TwoFour:
    """Half of the weights of every four inputs, on hardware that skips them; dense elsewhere."""

    kind = "linear"
    slices = False

    def __init__(self, name: str, summary: str, prune: Callable[[Layer], Tensor], refit: bool) -> None:
        self.name, self.summary, self._prune, self._refit = name, summary, prune, refit

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        k, m = shape.sizes[0]
        return [({}, k * m / 2)] if k % 4 == 0 else []

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        return [shape.sizes[0]]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        (layer,) = site.layers
        return [layer.loss(layer.weight - self._weight(layer)) for _ in choices]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        (layer,) = site.layers
        weight = self._weight(layer)
        mask = (weight != 0).t().contiguous()
        module = Masked(weight.t().contiguous(), mask.to(weight), corrected_bias(layer, weight))
        return finished(site, Fit({layer.name: composite(layer, module, self.name)}, {}))

    def _weight(self, layer: Layer) -> Tensor:
        weight = self._prune(layer)
        return refitted(layer, weight != 0) if self._refit else weight


def sparsegpt(layer: Layer) -> Tensor:
    """The weight (K, M) with two of every four inputs kept, errors pushed on."""
    return torch.from_numpy(sparsity.sparse_gpt(layer.weight.numpy(), layer.moments.centred().numpy()))


def wanda(layer: Layer) -> Tensor:
    """The weight (K, M) without the two of every four inputs of least |w| sqrt(E x^2)."""
    mask = sparsity.wanda_mask(layer.weight.numpy(), layer.moments.second.numpy())
    return layer.weight * torch.from_numpy(mask)


def refitted(layer: Layer, mask: Tensor, together: int = 64) -> Tensor:
    """Least squares in the metric of the inputs for the weights in the mask (K, M), every column on its own.

    Args:
        layer: gives the target W and the moments.
        mask: the same number of entries in every column.
        together: columns solved in one batch; the memory is together * (K/2)^2 numbers.
    """
    c = layer.moments.covariance()
    wanted = c @ layer.weight
    kept = mask.sum(0)
    size = int(kept.max())
    # A column with a zero weight among the kept ones has fewer entries: it gets others, which do no harm.
    index = mask.to(torch.int8).argsort(dim=0, descending=True, stable=True)[:size].t()
    out = torch.zeros_like(layer.weight)
    for first in range(0, len(index), together):
        rows = index[first : first + together]
        columns = torch.arange(first, first + len(rows))
        grams = c[rows[:, :, None], rows[:, None, :]]
        right = wanted[rows, columns[:, None]]
        factor = torch.linalg.cholesky(grams)
        solved = torch.cholesky_solve(right[:, :, None], factor)[:, :, 0]
        out[rows, columns[:, None]] = solved
    return out


register(TwoFour("2:4", "SparseGPT's two of four weights, kept ones refitted", sparsegpt, True))
register(TwoFour("2:4-sparsegpt", "SparseGPT as published (a peer)", sparsegpt, False))
register(TwoFour("2:4-wanda", "Wanda's two of four weights (a peer)", wanda, False))
