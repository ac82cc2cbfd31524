"""Recipe `shared-input`: layers with one input (q, k, v; gate, up) through one map down, computed once.

[W_1 W_2 ...] G^(1/2), G block diagonal, is truncated in the metric of the input; the map down is pivoted. R
(K + sum of M - R) multiplications (docs/theory.md, section 19, C).
"""

from __future__ import annotations

import torch

from stl_models.composites.composite import Borrowed, Sequence, Shared, product
from stl_models.recipes.base import (
    Engine,
    Fit,
    Parameters,
    Shape,
    Site,
    composite,
    corrected_bias,
    finished,
    register,
)
from stl_models.recipes.low_rank import Spectrum, pivoted_map, spectrum


class SharedInput:
    """One map down, one product up for every layer."""

    name = "shared-input"
    summary = "layers with one input through one low-rank map, on exact tiles"
    kind = "shared"
    slices = False

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        k, step = shape.sizes[0][0], engine.step
        outputs = [m for _, m in shape.sizes]
        whole = sum(engine.cost(k, m) for m in outputs)
        found: list[tuple[Parameters, float]] = []
        for rank in range(step, min(k, sum(outputs)), step):
            cost = engine.cost(k - rank, rank) + sum(engine.cost(rank, m) for m in outputs)
            if cost < whole:
                found.append(({"rank": rank}, cost))
        return found

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        k, rank = shape.sizes[0][0], parameters["rank"]
        return [(k - rank, rank), *((rank, m) for _, m in shape.sizes)]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        if not choices:
            return []
        tails = _spectrum(site).tails()
        return [0.5 * float(tails[c["rank"]]) for c in choices]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        vectors = _spectrum(site).vectors[:, : parameters["rank"]]
        weighted = torch.cat([layer.weighted * layer.scale**0.5 for layer in site.layers], dim=1)
        down = weighted @ vectors
        first, basis = pivoted_map(down)
        shared = Shared(first, site.layers[0].name, len(site.layers))
        modules, start = {}, 0
        for reader, layer in enumerate(site.layers):
            own = vectors[start : start + layer.weight.shape[1]].t() / layer.scale**0.5
            start += layer.weight.shape[1]
            back = own if layer.roots is None else own @ layer.roots[1]
            stem = shared if reader == 0 else Borrowed(shared, reader)
            root = Sequence(stem, product(basis @ back, corrected_bias(layer, down @ back)))
            modules[layer.name] = composite(layer, root, self.name)
        return finished(site, Fit(modules, {}))


def _spectrum(site: Site) -> Spectrum:
    weighted = torch.cat([layer.weighted * layer.scale**0.5 for layer in site.layers], dim=1)
    return spectrum(weighted, site.layers[0].moments.covariance())


register(SharedInput())
