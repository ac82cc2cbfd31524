"""Converting a model: plan, statistics, allocation, block after block with repair, tiles; and what was done.

What does not belong here: how any of these works (their modules), saving (`saving`), the page (`reporting`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress
from stl_models.composites.composite import Composite, on_tiles, replace_products
from stl_models.planning.allocate import Allocation, Decision, Region, allocate
from stl_models.planning.config import ConversionConfig
from stl_models.planning.counting import count_layers, predicted_seconds
from stl_models.planning.plan import Plan, make_engine, make_plan, product_seconds
from stl_models.planning.regions import dense_layer, region_of
from stl_models.planning.single import Single
from stl_models.recipes import Engine, Layer, Shape, get_recipe
from stl_models.repair import BlockOutcome, convert_block
from stl_models.report import Report
from stl_models.statistics.collect import Pair, block_moments, inner
from stl_models.statistics.moments import Moments, nothing_known
from stl_models.statistics.sensitivity import gradient_moments, resolve_objective
from stl_models.statistics.streams import Streams, rows_in
from stl_models.storage.transformers import attach
from stl_models.structure.modules import replace_module
from stl_models.structure.tracing import Batch


class BlockStore(Protocol):
    """Keeps finished blocks, so that a conversion that was stopped goes on where it was."""

    def load(self, block: str, module: nn.Module) -> BlockOutcome | None:
        """The block as it was finished before, or None."""
        ...

    def save(self, block: str, outcome: BlockOutcome) -> None:
        """Keep a finished block."""
        ...

    def decisions(self) -> tuple[Allocation, dict[str, Tensor]] | None:
        """The allocation of the same conversion and its sensitivities, or None."""
        ...

    def keep_decisions(self, allocation: Allocation, sensitivities: Mapping[str, Tensor]) -> None:
        """Keep the allocation, and what fits depend on."""
        ...


def convert_(
    model: nn.Module,
    config: ConversionConfig | None = None,
    calibration: Iterable[Batch] = (),
    *,
    store: BlockStore | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert the linear layers of a model in place.

    Args:
        model: any torch or transformers model, in floating point.
        config: what is wanted; ratio 2.0 by default.
        calibration: batches that the model is called with: mappings of keywords (a DataLoader's), tensors, or
            tuples of positional arguments. Text that the model will meet; thousands of tokens.
        store: keeps finished blocks.
        progress: called as blocks finish.

    Returns:
        What was done. The model is left as it was when an error is raised before the first block is replaced.

    Raises:
        InvalidInput: the plan has problems (all are named), the target cannot be reached, or the calibration
            is empty, has one row only or never varies.
    """
    config = config or ConversionConfig()
    started = time.monotonic()
    batches = list(calibration)
    if not batches:
        raise InvalidInput("calibration", expected="at least one batch", got="none")
    plan = make_plan(model, config, batches[0])
    if plan.problems:
        raise InvalidInput(
            "model", expected="layers that can be converted", got="; ".join(plan.problems[:5]),
            hint="name them with skip to leave them alone",
        )  # fmt: skip
    torch.manual_seed(config.seed)
    work = Conversion(model, plan, batches, progress)
    kept = store.decisions() if store is not None else None
    if kept is None:
        allocation = work.allocate()
        if store is not None:
            store.keep_decisions(allocation, work.sensitivities())
    else:
        allocation = kept[0]
        work.take_sensitivities(kept[1])
    report = Report(config, plan, allocation, rows=rows_in(batches), notes=list(plan.notes))
    work.convert(allocation, report, store)
    report.ratios = count_layers(model, plan)
    if work.peaks is not None:
        report.ratios |= predicted_seconds(model, plan, (work.engine, work.peaks))
        if report.ratios["seconds"] > report.ratios["seconds_dense"]:
            report.notes.append(f"the converted layers are predicted to be slower on {config.device!r}")
    attach(model)
    report.seconds = time.monotonic() - started
    return report


class Conversion:
    """A conversion at work: the streams, the sensitivities, the blocks.

    Args:
        model: converted in place.
        plan: without problems.
        batches: the calibration.
        progress: called as steps finish.
    """

    def __init__(
        self, model: nn.Module, plan: Plan, batches: Sequence[Batch], progress: Progress | None = None
    ) -> None:
        self.model, self.plan, self.config = model, plan, plan.config
        self.progress = progress or (lambda what, done, of: None)
        self.engine, self.peaks, _ = make_engine(model, plan.config)
        blocks = plan.structure.blocks if plan.chained else ()
        self.streams = Streams(model, blocks, batches)
        self.gradients: dict[str, Tensor] = {}
        self.scales: dict[str, float] = {}
        #: Seconds that a block is expected to take.
        self.expected = 0.0

    def _block(self, number: int) -> nn.Module:
        name = self.streams.blocks[number]
        return self.model.get_submodule(name) if name else self.model

    def _names(self, number: int) -> list[str]:
        block = self.streams.blocks[number]
        return [n for n in self.plan.links.order if not block or n.startswith(f"{block}.")]

    def layer(self, name: str, module: nn.Module, moments: Moments) -> Layer:
        """A dense layer as recipes see it, with its sensitivity."""
        gradient, scale = self.gradients.get(name), self.scales.get(name, 1.0)
        if gradient is None or gradient.dim() == 2:
            return dense_layer(name, module, moments, gradient, scale)
        return dense_layer(name, module, moments, None, scale * float(gradient))

    def sensitivities(self) -> dict[str, Tensor]:
        """Gradients' moments and scales as plain tensors."""
        scales = {f"scale.{n}": torch.tensor(s, dtype=torch.float64) for n, s in self.scales.items()}
        return {**{f"gradient.{n}": g for n, g in self.gradients.items()}, **scales}

    def take_sensitivities(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `sensitivities`."""
        for name, tensor in tensors.items():
            kind, _, layer = name.partition(".")
            if kind == "scale":
                self.scales[layer] = float(tensor)
            else:
                self.gradients[layer] = tensor

    def allocate(self) -> Allocation:
        """Measure sensitivities, make all curves, and choose."""
        config, links = self.config, self.plan.links
        approximate = any(get_recipe(r).name != "exact" for r in config.recipes) or bool(config.overrides)
        batches = self._sensitivity_batches()
        objective = resolve_objective(config.objective, self.model, batches[0])
        kind = config.sensitivity
        if kind == "auto":
            kind = "kfac" if objective == "logits" else "one-at-a-time"
        single: Single | None = None
        if not approximate:
            kind = "error"
        if kind == "kfac":
            self.progress("gradients", 0, 1)
            self.gradients = gradient_moments(self.model, links.order, batches, objective, config.seed)
        elif kind == "one-at-a-time":
            single = Single(self.model, batches, objective)
        states = list(self.streams.first)
        regions: list[Region] = []
        count = len(self.streams.blocks)
        for number in range(count):
            block, names = self._block(number), self._names(number)
            own = links.within(names)
            started = time.monotonic()
            if approximate:
                moments = block_moments(self.streams, number, block, states, own.inputs, range(len(states)))
                check_moments(moments)
            else:
                # Exact tiles need no statistics: the curves follow from the shapes.
                moments = {n: nothing_known(self.plan.structure.linears[n][0]) for n in names}
            for members in own.components():
                layers = {}
                for name in members:
                    dense = block.get_submodule(inner(self.streams.blocks[number], name))
                    layers[name] = self.layer(name, dense, moments[name])
                    if single is not None:
                        self.scales[name] = single.scale(layers[name], self.engine, config)
                    elif kind == "error":
                        power = layers[name].moments.power(layers[name].weight)
                        self.scales[name] = 2 / power if power > 0 else 1.0
                    layers[name] = self.layer(name, dense, moments[name])
                regions.append(region_of(members, layers, links, config, self.engine))
            if approximate and number + 1 < count:
                states = self.streams.run_all(number, block, states)
            # Twice for the two forms of a block, and again for its two streams.
            self.expected = 4 * (time.monotonic() - started)
            self.progress("curves", number + 1, count)
        if config.seconds is not None:
            return allocate(regions, cost_of=self.seconds_of, budget=config.seconds)
        if config.loss is not None:
            # Shares are shares of the loss at the smallest sizes.
            share = config.loss * sum(self._whole_loss(r) for r in regions)
            return allocate(regions, loss=share)
        return allocate(regions, ratio=config.ratio)

    def _whole_loss(self, region: Region) -> float:
        worst = [max((c.loss for c in curve.choices), default=0.0)
                 for alternative in region.alternatives[:1] for ways in alternative.groups
                 for curve in ways[0]]  # fmt: skip
        return sum(worst)

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

    def _sensitivity_batches(self) -> list[Batch]:
        chosen: list[Batch] = []
        for batch in self.streams.batches:
            chosen.append(batch)
            if rows_in(chosen) >= self.config.sensitivity_rows:
                break
        return chosen

    def convert(self, allocation: Allocation, report: Report, store: BlockStore | None) -> None:
        """Convert block after block, both streams side by side; fills in the report."""
        links = self.plan.links
        by_name = {n: d for d in allocation.decisions for n in d.names}
        count = len(self.streams.batches)
        held = list(range(count))[:: max(1, round(1 / self.config.held_out))] if self.config.held_out else []
        held = held if len(held) < count else []
        dense_states, converted_states = list(self.streams.first), list(self.streams.first)
        streaming = any(d.approximate for d in allocation.decisions)
        for number, block in enumerate(self.streams.blocks):
            module, started = self._block(number), time.monotonic()
            decisions = list(dict.fromkeys(by_name[n] for n in self._names(number) if n in by_name))
            words = f"blocks, about {self.expected:.0f} s each" if self.expected >= 1 else "blocks"
            self.progress(words, number, len(self.streams.blocks))
            outcome = store.load(block, module) if store is not None else None
            if outcome is None:
                pair = Pair(number, module, module, dense_states, converted_states)
                outcome = convert_block(
                    self.streams, pair, decisions, links, self.layer, self.engine, (self.config.repair, held)
                )
                finished = False
            else:
                finished = True
            last = number + 1 == len(self.streams.blocks)
            if streaming and not last:
                dense_states = self.streams.run_all(number, module, dense_states)
            self._finish(block, outcome.module)
            if store is not None and not finished:
                store.save(block, replace(outcome, module=self._block(number)))
            if streaming and not last:
                # Through the block as it will run, so that a conversion that was resumed is the same.
                converted_states = self.streams.run_all(number, self._block(number), converted_states)
            self.expected = time.monotonic() - started
            report.errors |= outcome.errors
            report.blocks[block or "model"] = {
                "repaired": outcome.repaired,
                "held_out_error": outcome.block_errors,
                "seconds": self.expected,
            }
            self.progress("blocks", number + 1, len(self.streams.blocks))

    def _finish(self, block: str, converted: nn.Module) -> None:
        """Put a converted block's layers into the model, their products on tiles."""
        for name, module in list(converted.named_modules()):
            if not isinstance(module, Composite):
                continue
            if self.config.dtype:
                module.to(getattr(torch, self.config.dtype))
            tile_products(module, self.engine, self.config)
            replace_module(self.model, f"{block}.{name}" if block else name, module)


def tile_products(module: nn.Module, engine: Engine, config: ConversionConfig) -> None:
    """Put a composite's dense products on the exact tiles where the engine uses them."""

    def make(linear: nn.Linear) -> nn.Module | None:
        if engine.exact is None or not engine.uses_tiles(linear.in_features, linear.out_features):
            return None
        return on_tiles(linear, engine.exact, config.row_grouping)

    replace_products(module, make)


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
                hint="give more and more varied text",
            )  # fmt: skip
