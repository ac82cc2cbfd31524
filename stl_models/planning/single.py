"""A layer's scale by converting it alone: what the model minds, over what the closed form says."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stl_models.planning.config import ConversionConfig
from stl_models.recipes import RECIPES, Engine, Layer, Shape, Site
from stl_models.statistics.sensitivity import OneAtATime
from stl_models.structure.tracing import Batch


class Single:
    """Measures layers one at a time on some batches.

    Args:
        model: the dense model.
        batches: on which the distance is measured.
        objective: see `sensitivity.distance`.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], objective: str) -> None:
        self._measured = OneAtATime(model, batches, objective)

    def scale(self, layer: Layer, engine: Engine, config: ConversionConfig) -> float:
        """2 distance / error: the layer's loss is then the measured distance at the size that was tried."""
        recipe = RECIPES["pivoted-low-rank"]
        site = Site("linear", (layer,))
        whole = float(layer.weight.numel())
        sizes = recipe.sizes(Shape.of(site), engine)
        ratio = max(config.ratio or 2.0, 1.1)
        within = [p for p, cost in sizes if cost <= whole / ratio] or [p for p, _ in sizes[:1]]
        if not within:
            power = layer.moments.power(layer.weight)
            return 2 / power if power > 0 else 1.0
        fit = recipe.fit(site, within[-1], engine)
        error = layer.moments.error(fit.changes[layer.name])
        like = next(self._measured.model.get_submodule(layer.name).parameters())
        stand_in = fit.modules[layer.name].to(device=like.device, dtype=like.dtype)
        found = self._measured.distance(layer.name, stand_in)
        return 2 * max(found, 1e-12) / max(error, 1e-300)
