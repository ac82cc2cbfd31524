"""Recipe `pivoted-low-rank`: W as a product of rank q in which q features pass through unmultiplied.

y = (x_p + x_rest T) B' + b, q (K + M - q) multiplications in place of q (K + M); at q = min(K, M) it is W
itself (docs/theory.md, section 11).
"""

from __future__ import annotations

from stl_models.composites.composite import Sequence, product
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
from stl_models.recipes.low_rank import Spectrum, pivoted_map, spectrum


class PivotedLowRank:
    """Two products on one layer."""

    name = "pivoted-low-rank"
    summary = "low rank in the metric of the inputs, pivot features unmultiplied, on exact tiles"
    kind = "linear"
    slices = False

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        k, m = shape.sizes[0]
        step = engine.step
        whole = engine.cost(k, m)
        ranks = range(step, min(k, m), step)
        costs = [({"rank": q}, engine.cost(k - q, q) + engine.cost(q, m)) for q in ranks]
        return [(parameters, cost) for parameters, cost in costs if cost < whole]

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        (k, m), q = shape.sizes[0], parameters["rank"]
        return [(k - q, q), (q, m)]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        if not choices:
            return []
        (layer,) = site.layers
        tails = _spectrum(layer).tails()
        return [0.5 * layer.scale * float(tails[c["rank"]]) for c in choices]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        (layer,) = site.layers
        vectors = _spectrum(layer).vectors[:, : parameters["rank"]]
        first, basis = pivoted_map(layer.weighted @ vectors)
        back = vectors.t() if layer.roots is None else vectors.t() @ layer.roots[1]
        new = layer.weighted @ vectors @ back
        root = Sequence(first, product(basis @ back, corrected_bias(layer, new)))
        return finished(site, Fit({layer.name: composite(layer, root, self.name)}, {}))


def _spectrum(layer: Layer) -> Spectrum:
    return spectrum(layer.weighted, layer.moments.covariance())


register(PivotedLowRank())
