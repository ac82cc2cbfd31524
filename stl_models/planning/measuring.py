"""How much a model minds what is done to each layer, and from it the curves and the allocation.

Block after block, one in memory at a time where the model is not; what is kept of a block is its curves and
the second moments of its gradients.

What does not belong here: how gradients are taken (`sensitivity`), choosing (`allocate`), converting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress
from stl_kernels.device.peaks import Peaks
from stl_models.composites.composite import on_tiles, product
from stl_models.planning.allocate import Allocation, Decision, Region, allocate
from stl_models.planning.config import ConversionConfig
from stl_models.planning.plan import Plan, product_seconds
from stl_models.planning.regions import dense_layer, region_of
from stl_models.planning.single import Single
from stl_models.recipes import Engine, Layer, Shape, get_recipe
from stl_models.statistics.collect import block_moments, inner
from stl_models.statistics.moments import Moments, nothing_known
from stl_models.statistics.sensitivity import gradient_moments, resolve_objective
from stl_models.statistics.streams import Streams, pieces, rows_in
from stl_models.structure.residence import Lazy, resident
from stl_models.structure.tracing import Batch


class Measuring:
    """Sensitivities of a plan's layers, and what follows from them.

    Args:
        streams: the dense model's calls.
        plan: without problems.
        on: what products run on, and the device's rates.
        progress: called as steps finish.
    """

    def __init__(
        self, streams: Streams, plan: Plan, on: tuple[Engine, Peaks | None], progress: Progress
    ) -> None:
        self.streams, self.plan, self.config, self.progress = streams, plan, plan.config, progress
        self.engine, self.peaks = on
        self.gradients: dict[str, Lazy] = {}
        self.scales: dict[str, float] = {}
        #: Seconds that a block is expected to take.
        self.expected = 0.0

    def names(self, number: int) -> list[str]:
        """The layers of a block."""
        block = self.streams.blocks[number]
        return [n for n in self.plan.links.order if not block or n.startswith(f"{block}.")]

    def layer(self, name: str, module: nn.Module, moments: Moments) -> Layer:
        """A dense layer as recipes see it, with its sensitivity."""
        kept, scale = self.gradients.get(name), self.scales.get(name, 1.0)
        gradient = None if kept is None else kept.read()
        if gradient is None or gradient.dim() == 2:
            return dense_layer(name, module, moments, gradient, scale)
        return dense_layer(name, module, moments, None, scale * float(gradient))

    def forget(self, number: int) -> None:
        """Let go of what is known of a block that has been converted."""
        for name in self.names(number):
            self.gradients.pop(name, None)

    def sensitivities(self) -> dict[str, Lazy]:
        """All that a conversion that goes on later needs to know, as tensors."""

        def number(value: float) -> Lazy:
            return Lazy.of(torch.tensor(value, dtype=torch.float64))

        return {
            **{f"gradient.{n}": g for n, g in self.gradients.items()},
            **{f"scale.{n}": number(s) for n, s in self.scales.items()},
            "expected.": number(self.expected),
        }

    def take_sensitivities(self, tensors: Mapping[str, Lazy]) -> None:
        """Inverse of `sensitivities`."""
        for name, tensor in tensors.items():
            kind, _, layer = name.partition(".")
            if kind == "gradient":
                self.gradients[layer] = tensor
            elif kind == "scale":
                self.scales[layer] = float(tensor.read())
            else:
                self.expected = float(tensor.read())

    def allocate(self) -> Allocation:
        """Measure sensitivities, make all curves, and choose."""
        config = self.config
        regions = self._regions()
        if config.seconds is not None:
            return allocate(regions, cost_of=self.seconds_of, budget=config.seconds)
        if config.loss is not None:
            # Shares are shares of the loss at the smallest sizes.
            share = config.loss * sum(_whole_loss(r) for r in regions)
            return allocate(regions, loss=share)
        return allocate(regions, ratio=config.ratio)

    def _regions(self) -> list[Region]:
        config, streams = self.config, self.streams
        approximate = any(get_recipe(r).name != "exact" for r in config.recipes) or bool(config.overrides)
        kind, single = self._sensitivity(approximate)
        states = streams.first
        regions: list[Region] = []
        encoding = 0.0
        count = len(streams.blocks)
        for number, name in enumerate(streams.blocks):
            started = time.monotonic()
            with resident(streams.model, name):
                block = streams.model.get_submodule(name)
                own = self.plan.links.within(self.names(number))
                if approximate:
                    moments = block_moments(streams, number, block, states, own.inputs, range(len(states)))
                    check_moments(moments)
                else:
                    # Exact tiles need no statistics: the curves follow from the shapes.
                    moments = {n: nothing_known(self.plan.structure.linears[n][0]) for n in own.order}
                if single is not None:
                    whole = [self._dense(number, block, n, moments) for n in own.order]
                    self.scales |= single.scales(number, whole, self.engine, config)
                    del whole
                for members in own.components():
                    layers = {n: self._dense(number, block, n, moments) for n in members}
                    if kind == "error":
                        for n, layer in layers.items():
                            power = layer.moments.power(layer.weight)
                            self.scales[n] = 2 / power if power > 0 else 1.0
                        layers = {n: self._dense(number, block, n, moments) for n in members}
                    regions.append(region_of(members, layers, self.plan.links, config, self.engine))
                if approximate and number + 1 < count:
                    states = streams.run_all(
                        number, block, states, None if states is streams.first else states
                    )
                if not approximate and number == 0:
                    whole = [self._dense(number, block, n, moments) for n in own.order]
                    encoding = encoding_seconds(whole, self.engine, config)
            if approximate:
                # Twice for a block's two streams, and again where two forms of it are compared.
                forms = 2 if config.repair == "held-out" else 1
                self.expected = 2 * forms * (time.monotonic() - started)
            else:
                # Reading the layers once more, and putting them on tiles.
                self.expected = encoding
            self.progress("curves", number + 1, count)
        return regions

    def _dense(self, number: int, block: nn.Module, name: str, moments: Mapping[str, Moments]) -> Layer:
        module = block.get_submodule(inner(self.streams.blocks[number], name))
        return self.layer(name, module, moments[name])

    def _sensitivity(self, approximate: bool) -> tuple[str, Single | None]:
        """The kind of sensitivity; gradients are measured now, layers one at a time later."""
        if not approximate:
            return "error", None
        streams, config = self.streams, self.config
        batches = [part for batch in self._sensitivity_batches() for part in pieces(batch)]
        objective = resolve_objective(config.objective, streams.model, batches[0])
        kind = config.sensitivity
        if kind == "auto":
            kind = "kfac" if objective == "logits" else "one-at-a-time"
        if kind == "error":
            return kind, None
        # Where blocks are given what other blocks answer, the model is run as a whole.
        blocks = streams.blocks if streams.answers is not None else ()
        own = Streams(streams.model, blocks, batches)
        if kind == "one-at-a-time":
            return kind, Single(own, objective)
        self.progress("gradients", 0, 1)
        self.gradients = gradient_moments(own, self.plan.links.order, objective, config.seed)
        return kind, None

    def _sensitivity_batches(self) -> list[Batch]:
        chosen: list[Batch] = []
        for batch in self.streams.batches:
            chosen.append(batch)
            if rows_in(chosen) >= self.config.sensitivity_rows:
                break
        return chosen

    def seconds_of(self, decisions: tuple[Decision, ...]) -> float:
        """Predicted seconds of all converted layers."""
        total = 0.0
        for decision in decisions:
            for names, choice in decision.products:
                sizes = tuple(self.plan.structure.linears[n] for n in names)
                recipe = get_recipe("exact" if choice.recipe == "keep" else choice.recipe)
                parts = recipe.parts(Shape(recipe.kind, sizes), choice.parameters)
                if decision.cut is not None and choice.recipe == "exact":
                    # A cut's widths show in the cost: the same share of the dense layer.
                    share = choice.cost / max(self.engine.cost(*sizes[0]), 1e-300)
                    parts = [(sizes[0][0], max(1, round(sizes[0][1] * share)))]
                total += sum(product_seconds(p, self.config, (self.engine, self.peaks)) for p in parts)
        return total


def encoding_seconds(layers: Sequence[Layer], engine: Engine, config: ConversionConfig) -> float:
    """Seconds to put layers on exact tiles, from doing it to the largest one."""
    tiled = [layer for layer in layers if engine.uses_tiles(*layer.weight.shape)]
    if engine.exact is None or not tiled:
        return 0.0
    largest = max(tiled, key=lambda layer: layer.weight.numel())
    started = time.monotonic()
    on_tiles(product(largest.weight.float()), engine.exact, config.row_grouping)
    taken = time.monotonic() - started
    return taken * sum(layer.weight.numel() for layer in tiled) / largest.weight.numel()


def _whole_loss(region: Region) -> float:
    worst = [
        max((c.loss for c in curve.choices), default=0.0)
        for alternative in region.alternatives[:1]
        for ways in alternative.groups
        for curve in ways[0]
    ]
    return sum(worst)


def check_moments(moments: Mapping[str, Moments]) -> None:
    """Refuse inputs that never vary: nothing can be learnt from them.

    Raises:
        InvalidInput: names the layer.
    """
    for name, m in moments.items():
        power = float(m.second.diagonal().sum())
        if m.rows < 2 or float(m.centred().diagonal().sum()) <= 1e-9 * power:
            raise InvalidInput(
                "calibration", expected="rows that differ", got=f"{m.rows} rows, all alike, at {name}",
                hint="give more and more varied text, or leave the layer alone with skip",
            )  # fmt: skip
