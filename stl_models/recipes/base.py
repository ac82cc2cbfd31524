"""What a recipe is: sizes and costs from shapes, losses from second moments, plain modules at the end.

A *site* is the layers that a recipe changes together. *Slicing* recipes make layers narrower and leave them
dense (neurons, value basis); *product* recipes say how the products of a layer, or of layers with one input,
are formed. A slicing recipe's result may be given to product recipes.

Loss of a change D (K, M) of a layer's weight: 1/2 tr(G D^T C D), C the centred second moment of its input, G
the second moment of the gradient at its output, or a multiple of the identity (docs/theory.md, section 19).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput
from stl_models.composites.composite import Composite, Scatter, Select, Sequence, effective, product
from stl_models.statistics.moments import Moments

#: The parameters of a choice: plain integers, so that a plan can store them.
Parameters = Mapping[str, int]


@dataclass(frozen=True)
class Engine:
    """What dense products run on.

    Attributes:
        exact: the exact algorithm; None for dense products.
        approximate: the algorithm of the recipe `tiles`; None where the user gave none.
        pays: (k, m) to whether tiles are faster than a dense product; None for always.
    """

    exact: BilinearAlgorithm | None
    approximate: BilinearAlgorithm | None = None
    pays: Callable[[int, int], bool] | None = None

    def uses_tiles(self, k: int, m: int) -> bool:
        """Whether a (k, m) product goes on the exact tiles: where they save multiplications, and pay."""
        return self.on_tiles(k, m) < k * m and (self.pays is None or self.pays(k, m))

    def cost(self, k: int, m: int) -> float:
        """Core multiplications a row of a (k, m) product, dense where tiles are not used."""
        return self.on_tiles(k, m) if self.uses_tiles(k, m) else float(k * m)

    def on_tiles(self, k: int, m: int) -> float:
        """Core multiplications a row on the exact tiles, rows in full tiles."""
        if self.exact is None:
            return float(k * m)
        tile = self.exact.tile
        return self.exact.rank * -(-k // tile.k) * -(-m // tile.m) / tile.n

    @property
    def step(self) -> int:
        """Inner sizes are multiples of this, so that no tile is padded."""
        return 1 if self.exact is None else max(self.exact.tile.k, self.exact.tile.m)


@dataclass(frozen=True, eq=False)
class Layer:
    """A dense layer with what is known of its input and of its output's importance.

    Attributes:
        name: of the module.
        weight: (K, M) float64.
        bias: (M,) float64; None for none.
        moments: of the input.
        gradient: (M, M), second moment of the loss's gradient at the output; None for the identity.
        scale: a factor of the loss.
    """

    name: str
    weight: Tensor
    bias: Tensor | None
    moments: Moments
    gradient: Tensor | None = None
    scale: float = 1.0

    @cached_property
    def roots(self) -> tuple[Tensor, Tensor] | None:
        """G^(1/2) and G^(-1/2) with a ridge of 1e-3 of the mean; None for the identity."""
        if self.gradient is None:
            return None
        g = self.gradient.double()
        values, vectors = torch.linalg.eigh(g)
        mean = float(values.clamp(min=0).mean())
        values = values.clamp(min=0) + 1e-3 * (mean if mean > 0 else 1.0)
        return (vectors * values.sqrt()) @ vectors.t(), (vectors / values.sqrt()) @ vectors.t()

    @cached_property
    def weighted(self) -> Tensor:
        """weight G^(1/2), (K, M)."""
        return self.weight if self.roots is None else self.weight @ self.roots[0]

    def loss(self, change: Tensor) -> float:
        """1/2 tr(G change^T C change), the mean taken up by the bias."""
        if self.roots is not None:
            change = change @ self.roots[0]
        return 0.5 * self.scale * self.moments.error(change)

    def relative_error(self, change: Tensor) -> float:
        """E |x^T change|^2 / E |x^T weight|^2, both without their means."""
        power = self.moments.power(self.weight)
        return self.moments.error(change) / power if power > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Site:
    """Layers that are changed together.

    Attributes:
        kind: "linear" (one layer), "shared" (one input), "neurons" (producers, then the consumer) or "values"
            (value and output projection).
        layers: in the order that the kind says.
        heads: for "values": (groups, heads of a group, d) input channels of the output projection.
        sources: for "values": (groups, d) output channels of the value projection.
    """

    kind: str
    layers: tuple[Layer, ...]
    heads: Tensor | None = None
    sources: Tensor | None = None


@dataclass(frozen=True)
class Shape:
    """A site's sizes: all that costs depend on.

    Attributes:
        kind: as of the site.
        sizes: (K, M) of the layers.
        heads: (groups, heads of a group, d) for "values".
    """

    kind: str
    sizes: tuple[tuple[int, int], ...]
    heads: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of(cls, site: Site) -> Shape:
        """The shape of a site."""
        sizes = tuple((layer.weight.shape[0], layer.weight.shape[1]) for layer in site.layers)
        heads = (0, 0, 0)
        if site.heads is not None:
            heads = (site.heads.shape[0], site.heads.shape[1], site.heads.shape[2])
        return cls(site.kind, sizes, heads)


@dataclass(frozen=True)
class Choice:
    """One point of a curve.

    Attributes:
        recipe: its name.
        parameters: what `fit` needs to make it.
        cost: core multiplications a row, summed over the layers.
        loss: in the units of the layers' losses.
    """

    recipe: str
    parameters: Mapping[str, int]
    cost: float
    loss: float = 0.0


@dataclass(frozen=True, eq=False)
class Fit:
    """What a recipe made of a site.

    Attributes:
        modules: name to the layer's new module, float64, products dense.
        changes: name to the change (K, M) of the dense weight that the error is about, for every layer at
            whose output it can be measured.
        narrowed: the site's layers after slicing, for product recipes; empty for product recipes.
    """

    modules: dict[str, Composite]
    changes: dict[str, Tensor]
    narrowed: tuple[Layer, ...] = ()
    placed: dict[str, tuple[Select | None, Scatter | None]] = field(default_factory=dict)

    def loss(self, site: Site) -> float:
        """Closed form: the sum over the layers at whose output the change shows."""
        return sum(
            layer.loss(self.changes[layer.name]) for layer in site.layers if layer.name in self.changes
        )

    def errors(self, site: Site) -> dict[str, float]:
        """Relative output error of every layer at whose output the change shows; agrees with running it."""
        return {
            layer.name: layer.relative_error(self.changes[layer.name])
            for layer in site.layers
            if layer.name in self.changes
        }


class Recipe(Protocol):
    """One way to make layers cheaper; register an instance with `register`."""

    name: str
    summary: str
    kind: str
    slices: bool

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        """Every choice with its core multiplications a row; empty where the recipe does not apply."""
        ...

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        """(K, M) of every product of a choice."""
        ...

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        """The loss of every choice, in closed form."""
        ...

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        """The modules of one choice."""
        ...


RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Add a recipe; its module must be imported by the package."""
    assert recipe.name not in RECIPES
    RECIPES[recipe.name] = recipe
    return recipe


def get_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        InvalidInput: unknown name; lists the known ones.
    """
    if name not in RECIPES:
        raise InvalidInput("recipe", expected=f"one of {', '.join(RECIPES)}", got=repr(name))
    return RECIPES[name]


def curve(recipe: Recipe, site: Site, engine: Engine) -> list[Choice]:
    """All choices of a recipe on a site, with costs and losses."""
    sizes = recipe.sizes(Shape.of(site), engine)
    losses = recipe.losses(site, [parameters for parameters, _ in sizes], engine)
    return [
        Choice(recipe.name, dict(parameters), cost, loss)
        for (parameters, cost), loss in zip(sizes, losses, strict=True)
    ]


def corrected_bias(layer: Layer, new_weight: Tensor) -> Tensor:
    """The bias that keeps the mean of the output when the weight becomes `new_weight` (K, M)."""
    bias = layer.moments.mean @ (layer.weight - new_weight)
    return bias if layer.bias is None else layer.bias + bias


def composite(layer: Layer, root: nn.Module, recipe: str) -> Composite:
    """The module that stands in for a layer."""
    return Composite(root, layer.weight.shape[0], layer.weight.shape[1], recipe)


def placed_composite(
    sizes: tuple[int, int], inner: nn.Module, places: tuple[Select | None, Scatter | None], recipe: str
) -> Composite:
    """A narrowed layer's module between the selection of its inputs and the placing of its outputs."""
    parts = [p for p in (places[0], inner, places[1]) if p is not None]
    root = parts[0] if len(parts) == 1 else Sequence(*parts)
    return Composite(root, *sizes, recipe)


def finished(site: Site, fit: Fit) -> Fit:
    """The fit with the changes of its weights filled in from the modules, for sites without slicing."""
    changes = {layer.name: layer.weight - effective(fit.modules[layer.name])[0] for layer in site.layers}
    return replace(fit, changes=changes)


def dense_composite(layer: Layer, recipe: str) -> Composite:
    """The layer itself as one product."""
    bias = None if layer.bias is None else layer.bias.clone()
    return composite(layer, product(layer.weight, bias), recipe)
