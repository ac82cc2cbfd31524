"""Recipe `exact`: the layer as it is, its product on exact tiles; the error is rounding."""

from __future__ import annotations

from stl_models.recipes.base import Engine, Fit, Parameters, Shape, Site, dense_composite, finished, register


class Exact:
    """One product, the layer's own."""

    name = "exact"
    summary = "exact tiles only, no approximation"
    kind = "linear"
    slices = False

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        return [({}, engine.cost(*shape.sizes[0]))]

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        return [shape.sizes[0]]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        return [0.0] * len(choices)

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        (layer,) = site.layers
        return finished(site, Fit({layer.name: dense_composite(layer, self.name)}, {}))


register(Exact())
