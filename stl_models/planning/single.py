"""Layers' scales by converting each alone: what the model minds, over what the closed form says."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from stl_models.planning.config import ConversionConfig
from stl_models.recipes import RECIPES, Engine, Layer, Shape, Site
from stl_models.statistics.sensitivity import OneAtATime
from stl_models.statistics.streams import Streams


class Single:
    """Measures layers one at a time on some batches.

    Args:
        streams: the dense model's calls on the batches on which the distance is measured.
        objective: see `sensitivity.distance`.
    """

    def __init__(self, streams: Streams, objective: str) -> None:
        self._measured = OneAtATime(streams, objective)

    def scales(
        self, number: int, layers: Sequence[Layer], engine: Engine, config: ConversionConfig
    ) -> dict[str, float]:
        """2 distance / error of a block's layers: a loss is then what was measured at the size tried."""
        scales: dict[str, float] = {}
        errors: dict[str, float] = {}
        stand_ins: dict[str, nn.Module] = {}
        model = self._measured.streams.model
        for layer in layers:
            tried = _smaller(layer, engine, config)
            if tried is None:
                power = layer.moments.power(layer.weight)
                scales[layer.name] = 2 / power if power > 0 else 1.0
                continue
            stand_in, errors[layer.name] = tried
            like = next(model.get_submodule(layer.name).parameters())
            stand_ins[layer.name] = stand_in.to(device=like.device, dtype=like.dtype)
        for name, found in self._measured.distances(number, stand_ins).items():
            scales[name] = 2 * max(found, 1e-12) / max(errors[name], 1e-300)
        return scales


def _smaller(layer: Layer, engine: Engine, config: ConversionConfig) -> tuple[nn.Module, float] | None:
    """A layer at the wanted ratio and its error in closed form; None where it has no size."""
    recipe = RECIPES["pivoted-low-rank"]
    site = Site("linear", (layer,))
    whole = float(layer.weight.numel())
    sizes = recipe.sizes(Shape.of(site), engine)
    ratio = max(config.ratio or 2.0, 1.1)
    within = [p for p, cost in sizes if cost <= whole / ratio] or [p for p, _ in sizes[:1]]
    if not within:
        return None
    fit = recipe.fit(site, within[-1], engine)
    return fit.modules[layer.name], layer.moments.error(fit.changes[layer.name])
