"""From a model's structure to sites and regions: which layers are changed together, and their curves.

What does not belong here: choosing (`allocate`), finding the structure (`structure`, `tracing`, `probing`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from stl_kernels.layers.dense import read_dense
from stl_models.planning.allocate import Alternative, Curve, Region
from stl_models.planning.config import ConversionConfig
from stl_models.planning.links import Links
from stl_models.recipes import RECIPES, Choice, Engine, Layer, Site, curve, get_recipe
from stl_models.statistics.moments import Moments


def allowed_recipes(config: ConversionConfig, name: str) -> tuple[str, ...]:
    """The recipes for a layer; the first override that matches decides."""
    for override in config.overrides:
        if fnmatch.fnmatchcase(name, override.pattern):
            return override.recipes
    return config.recipes


def allowed_for(config: ConversionConfig, names: Sequence[str]) -> set[str]:
    """Recipes that are allowed for every one of the layers."""
    return set.intersection(*(set(allowed_recipes(config, n)) for n in names))


def region_of(
    names: tuple[str, ...],
    layers: Mapping[str, Layer],
    links: Links,
    config: ConversionConfig,
    engine: Engine,
) -> Region:
    """The alternatives of layers that belong together, with costs and losses.

    Args:
        names: the layers, in the order of execution.
        layers: name to the layer with its moments and sensitivity.
        links: of the model; only those among the names count.
        config: recipes allowed.
        engine: what products run on.
    """
    own = links.within(names)
    curves = _Curves(config, engine)
    dense = float(sum(layers[n].weight.numel() for n in names))
    alternatives = [Alternative(None, _groups(own, layers, curves, frozenset()))]
    for site, recipe_name in slicing_sites(own, layers):
        members = tuple(layer.name for layer in site.layers)
        if recipe_name not in allowed_for(config, members):
            continue
        recipe = get_recipe(recipe_name)
        for choice in curve(recipe, site, engine):
            if recipe_name == "neurons":
                groups = _narrow_groups(own, layers, curves, site, choice)
            else:
                narrowed = {
                    layer.name: layer for layer in recipe.fit(site, choice.parameters, engine).narrowed
                }
                groups = _groups(own, {**layers, **narrowed}, curves, frozenset(narrowed))
            alternatives.append(Alternative(choice, groups))
    return Region(names, dense, tuple(alternatives))


def slicing_sites(links: Links, layers: Mapping[str, Layer]) -> list[tuple[Site, str]]:
    """Sites of slicing recipes among the layers, with the recipe's name."""
    sites = []
    for pair in links.neurons:
        members = (*pair.producers, pair.consumer)
        sites.append((Site("neurons", tuple(layers[n] for n in members)), "neurons"))
    for values in links.values:
        members = (values.value, values.output)
        sites.append(
            (Site("values", tuple(layers[n] for n in members), values.heads, values.sources), "value-basis")
        )
    return sites


class _Curves:
    """Curves of single layers, each made once however often its region asks."""

    def __init__(self, config: ConversionConfig, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._made: dict[str, Curve] = {}

    def whole(self, layer: Layer) -> Curve:
        """By every product recipe that is allowed; as it is where `exact` is not."""
        if layer.name not in self._made:
            allowed = allowed_recipes(self.config, layer.name)
            choices: list[Choice] = []
            for name in allowed:
                if get_recipe(name).kind == "linear":
                    choices += curve(get_recipe(name), Site("linear", (layer,)), self.engine)
            if "exact" not in allowed:
                choices.append(Choice("keep", {}, float(layer.weight.numel())))
            self._made[layer.name] = Curve((layer.name,), tuple(choices))
        return self._made[layer.name]

    def narrow(self, name: str, k: int, m: int) -> Curve:
        """A narrowed layer's one product. Low rank would need a decomposition for every width."""
        return Curve((name,), (Choice("exact", {}, self.engine.cost(k, m)),))


def _groups(
    links: Links, layers: Mapping[str, Layer], curves: _Curves, narrowed: frozenset[str]
) -> tuple[tuple[tuple[Curve, ...], ...], ...]:
    """For every distinct input the ways to treat the layers that read it."""
    groups = []
    for names in links.inputs:
        separate = tuple(
            curves.narrow(n, *layers[n].weight.shape) if n in narrowed else curves.whole(layers[n])
            for n in names
        )
        ways: list[tuple[Curve, ...]] = [separate]
        if len(names) > 1 and "shared-input" in allowed_for(curves.config, names):
            site = Site("shared", tuple(layers[n] for n in names))
            choices = curve(RECIPES["shared-input"], site, curves.engine)
            if choices:
                ways.append((Curve(names, tuple(choices)),))
        groups.append(tuple(ways))
    return tuple(groups)


def _narrow_groups(
    links: Links, layers: Mapping[str, Layer], curves: _Curves, site: Site, choice: Choice
) -> tuple[tuple[tuple[Curve, ...], ...], ...]:
    """Fewer neurons: the costs follow from the widths alone, without a fit."""
    width = choice.parameters["neurons"]
    *producers, consumer = (layer.name for layer in site.layers)

    def one(name: str) -> Curve:
        k, m = layers[name].weight.shape
        if name == consumer:
            return curves.narrow(name, width, m)
        return curves.narrow(name, k, width) if name in producers else curves.whole(layers[name])

    return tuple((tuple(one(name) for name in names),) for names in links.inputs)


def dense_layer(
    name: str, module: nn.Module, moments: Moments, gradient: Tensor | None = None, scale: float = 1.0
) -> Layer:
    """A linear module as recipes see it; float64 on the CPU.

    Raises:
        InvalidInput: the module cannot be read; names it.
    """
    dense = read_dense(module, name)
    weight = dense.weight.cpu().double().t().contiguous()
    return Layer(
        name, weight, None if dense.bias is None else dense.bias.cpu().double(), moments, gradient, scale
    )
