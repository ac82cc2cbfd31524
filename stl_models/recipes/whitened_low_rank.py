"""Recipe `low-rank-whitened`, a peer: what is usual as activation-aware low rank, two dense factors."""

from __future__ import annotations

from stl_models.composites.composite import Sequence, product
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
from stl_models.recipes.low_rank import spectrum


class WhitenedLowRank:
    """Two factors of rank q, q (K + M) multiplications, dense."""

    name = "low-rank-whitened"
    summary = "activation-aware low rank in two dense factors (a peer)"
    kind = "linear"
    slices = False

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        k, m = shape.sizes[0]
        step = engine.step
        ranks = range(step, min(k, m), step)
        return [({"rank": q}, float(q * (k + m))) for q in ranks if q * (k + m) < k * m]

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        (k, m), q = shape.sizes[0], parameters["rank"]
        return [(k, q), (q, m)]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        (layer,) = site.layers
        tails = spectrum(layer.weight, layer.moments.covariance()).tails()
        return [0.5 * layer.scale * float(tails[c["rank"]]) for c in choices]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        (layer,) = site.layers
        found = spectrum(layer.weight, layer.moments.covariance())
        vectors = found.vectors[:, : parameters["rank"]]
        down = layer.weight @ vectors
        bias = corrected_bias(layer, down @ vectors.t())
        root = Sequence(product(down), product(vectors.t().contiguous(), bias))
        return finished(site, Fit({layer.name: composite(layer, root, self.name)}, {}))


register(WhitenedLowRank())
