"""Converting one block: from the dense stream's moments, or layer after layer with targets that repair.

Repair (docs/theory.md, section 11): a layer sees the converted stream x~ and should put out what the dense
layer puts out on the dense stream, plus what a residual stream lacks so far. Its weights become

    W + (C~ + ridge)^-1 (C_x~t - C~ W)

before a recipe is fitted to them in the metric of C~, the ridge being the one of a few that serves held-out
rows best, none included. A block keeps its repaired form only where its output on held-out rows comes out
better.

What does not belong here: allocation, running the whole model (`convert`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from stl_kernels.layers.dense import sizes_of
from stl_models.composites.composite import Composite, Select
from stl_models.composites.composite import Sequence as Parts
from stl_models.planning.allocate import Decision
from stl_models.planning.links import Links
from stl_models.planning.regions import slicing_sites
from stl_models.recipes import Choice, Engine, Fit, Layer, Site, get_recipe
from stl_models.recipes.base import placed_composite
from stl_models.statistics.collect import Pair, Targets, block_moments, collect_targets, inner
from stl_models.statistics.moments import Moments, nothing_known
from stl_models.statistics.streams import Streams, relative_distance
from stl_models.structure.modules import replace_module

#: Ridges tried, as shares of the mean variance; infinity is no repair.
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, float("inf"))

MakeLayer = Callable[[str, nn.Module, Moments], Layer]


@dataclass(frozen=True)
class BlockOutcome:
    """A converted block.

    Attributes:
        module: the block with composites in place of its layers, products dense, in the model's dtype.
        repaired: whether the repaired form was kept.
        errors: relative output error of each layer in closed form on its own inputs.
        block_errors: relative error of the block's output on held-out rows, "plain" and "repaired".
        seconds: that its conversion took.
    """

    module: nn.Module
    repaired: bool
    errors: dict[str, float]
    block_errors: dict[str, float]
    seconds: float = 0.0


def make_modules(
    decision: Decision, layers: Mapping[str, Layer], links: Links, engine: Engine
) -> tuple[dict[str, Composite], dict[str, float]]:
    """The modules of a decision and their layers' relative errors in closed form.

    Args:
        decision: what to do.
        layers: the dense layers with their moments.
        links: of the model.
        engine: what products run on.
    """
    modules: dict[str, Composite] = {}
    errors: dict[str, float] = {}
    current, places = dict(layers), dict[str, Any]()
    if decision.cut is not None:
        for site, name in slicing_sites(links.within(decision.names), layers):
            if name == decision.cut.recipe:
                fit = get_recipe(name).fit(site, decision.cut.parameters, engine)
                errors |= fit.errors(site)
                current |= {layer.name: layer for layer in fit.narrowed}
                places |= fit.placed
    for names, choice in decision.products:
        if choice.recipe == "keep":
            continue
        site = Site("linear" if len(names) == 1 else "shared", tuple(current[n] for n in names))
        fit = get_recipe(choice.recipe).fit(site, choice.parameters, engine)
        for name, error in fit.errors(site).items():
            errors[name] = errors.get(name, 0.0) + error
        for name in names:
            modules[name] = _placed(name, fit, layers, places, decision, choice)
    return modules, errors


def _placed(
    name: str,
    fit: Fit,
    layers: Mapping[str, Layer],
    places: Mapping[str, Any],
    decision: Decision,
    choice: Choice,
) -> Composite:
    if name not in places:
        return fit.modules[name]
    before, after = places[name]
    k, m = layers[name].weight.shape
    # A layer without selection or placing is narrower outside as well: the neighbours are, too.
    made = fit.modules[name]
    sizes = (k if before is not None else made.in_features, m if after is not None else made.out_features)
    assert decision.cut is not None
    label = decision.cut.recipe if choice.recipe == "exact" else f"{decision.cut.recipe}+{choice.recipe}"
    return placed_composite(sizes, made.root, (before, after), label)


def convert_plain(
    streams: Streams,
    pair: Pair,
    decisions: Sequence[Decision],
    links: Links,
    make: MakeLayer,
    engine: Engine,
) -> dict[str, float]:
    """Convert the block in `pair.converted` from the moments of the dense stream; the layers' errors."""
    block = streams.blocks[pair.number]
    names = [n for d in decisions if d.approximate for n in d.names]
    moments = block_moments(
        streams, pair.number, pair.dense, pair.dense_states, links.within(names).inputs,
        range(len(streams.batches)),
    )  # fmt: skip
    errors: dict[str, float] = {}
    for decision in decisions:
        layers = {}
        for name in decision.names:
            dense = pair.dense.get_submodule(inner(block, name))
            known = moments[name] if name in moments else nothing_known(sizes_of(dense)[0])
            layers[name] = make(name, dense, known)
        modules, found = make_modules(decision, layers, links, engine)
        errors |= found
        _install(pair.converted, block, modules)
    return errors


def convert_repaired(
    streams: Streams,
    pair: Pair,
    decisions: Sequence[Decision],
    links: Links,
    make: MakeLayer,
    engine: Engine,
    splits: tuple[Sequence[int], Sequence[int]],
) -> dict[str, float]:
    """Convert the block in `pair.converted` layer after layer, with repairing targets; the layers' errors."""
    block = streams.blocks[pair.number]
    own = links.within([n for d in decisions for n in d.names])
    by_name = {n: d for d in decisions for n in d.names}
    place = {n: i for i, n in enumerate(own.order)}
    errors: dict[str, float] = {}
    done: set[str] = set()
    for position, group in enumerate(own.inputs):
        following = own.inputs[position + 1][0] if position + 1 < len(own.inputs) else ""
        if following and place[following] < max(place[n] for n in group):
            # Some readers of this input come later, as where every decoder block reads the encoder's states.
            following = ""
        for decision in dict.fromkeys(by_name[n] for n in group):
            if decision.cut is not None and not done & set(decision.names):
                moments = block_moments(
                    streams, pair.number, pair.converted, pair.converted_states,
                    own.within(decision.names).inputs, splits[0],
                )  # fmt: skip
                layers = {
                    n: make(n, pair.dense.get_submodule(inner(block, n)), moments[n]) for n in decision.names
                }
                modules, found = make_modules(decision, layers, own, engine)
                _install(pair.converted, block, modules)
                errors |= found
                done |= set(decision.names)
        # Ends of residual streams are refitted after a cut; everything else is fitted to its target now.
        late = tuple(n for n in group if n in done and n in own.residual)
        fresh = tuple(n for n in group if n not in done)
        if not late and not fresh:
            continue
        targets = collect_targets(
            streams, pair, tuple(n for n in group if n in late + fresh), own.residual, splits, following
        )
        for name in late:
            refit_product(pair.converted.get_submodule(inner(block, name)), *targets[name])
        for decision in dict.fromkeys(by_name[n] for n in fresh):
            members = tuple(n for n in fresh if n in decision.names)
            layers = {}
            for name in members:
                layer = make(name, pair.dense.get_submodule(inner(block, name)), targets[name][0].moments)
                layers[name] = repaired_layer(layer, *targets[name])
            products = tuple((names, c) for names, c in decision.products if set(names) <= set(members))
            part = replace(decision, names=members, products=products)
            modules, found = make_modules(part, layers, own, engine)
            _install(pair.converted, block, modules)
            errors |= found
            done |= set(members)
    return errors


def repaired_layer(layer: Layer, fit: Targets, held: Targets) -> Layer:
    """The layer with the weights that the targets ask for, the ridge chosen on held-out rows."""
    weight, bias = solve_repair(layer.weight, layer.bias, fit, held)
    return replace(layer, weight=weight, bias=bias, moments=fit.moments)


def solve_repair(weight: Tensor, bias: Tensor | None, fit: Targets, held: Targets) -> tuple[Tensor, Tensor]:
    """(W', b') of least error on held-out rows among the ridges; b' carries the means."""
    c = fit.moments.centred()
    values, vectors = torch.linalg.eigh(c)
    missing = vectors.t() @ (fit.cross - c @ weight)
    scale = float(values.clamp(min=0).mean())
    best: tuple[float, Tensor, Tensor] | None = None
    for ridge in RIDGES:
        new = weight
        if ridge != float("inf"):
            new = weight + vectors @ (missing / (values.clamp(min=0) + ridge * scale + 1e-300)[:, None])
        offset = fit.mean - fit.moments.mean @ new
        error = held.error(new, offset)
        if best is None or error < best[0]:
            best = (error, new, offset)
    assert best is not None
    return best[1], best[2]


def refit_product(module: nn.Module, fit: Targets, held: Targets) -> None:
    """Refit the one product of a composite, after an optional selection of its inputs, to the targets."""
    if not isinstance(module, Composite):
        return
    parts = list(module.root.parts) if isinstance(module.root, Parts) else [module.root]
    index = parts[0].index if isinstance(parts[0], Select) else None
    if len(parts) != 1 + (index is not None) or not isinstance(parts[-1], nn.Linear):
        return
    linear = parts[-1]
    if index is not None:
        fit, held = _selected(fit, index), _selected(held, index)
    old_bias = None if linear.bias is None else linear.bias.detach().double()
    weight, bias = solve_repair(linear.weight.detach().double().t(), old_bias, fit, held)
    like = linear.weight
    linear.weight = nn.Parameter(weight.t().contiguous().to(like))
    linear.bias = nn.Parameter(bias.to(like))


def _selected(targets: Targets, index: Tensor) -> Targets:
    m = targets.moments
    narrow = Moments(m.second[index][:, index], m.mean[index], m.rows)
    return Targets(narrow, targets.cross[index], targets.mean, targets.power)


def convert_block(
    streams: Streams,
    pair: Pair,
    decisions: Sequence[Decision],
    links: Links,
    make: MakeLayer,
    engine: Engine,
    how: tuple[str, Sequence[int]],
) -> BlockOutcome:
    """Convert one block, with the gate on repair.

    Args:
        streams: the calls.
        pair: the block on both streams; `converted` is not used.
        decisions: for the block's regions.
        links: of the model.
        make: a module with its moments as a layer for recipes.
        engine: what products run on.
        how: "held-out", "always" or "never", and the held-out batches.
    """
    mode, held = how
    fitted = [i for i in range(len(streams.batches)) if i not in set(held)]
    splits = (fitted, list(held))
    variants: dict[str, tuple[nn.Module, dict[str, float]]] = {}
    approximate = any(d.approximate for d in decisions)
    # Exact layers have nothing to repair, unless an earlier block left something.
    wants = {"held-out": ("plain", "repaired"), "always": ("repaired",), "never": ("plain",)}[mode]
    if not approximate or not fitted:
        wants = ("plain",)
    for want in wants:
        block = copy.deepcopy(pair.dense)
        mine = replace_pair(pair, block)
        if want == "plain":
            errors = convert_plain(streams, mine, decisions, links, make, engine)
        else:
            errors = convert_repaired(streams, mine, decisions, links, make, engine, splits)
        variants[want] = (block, errors)
    judged: dict[str, float] = {}
    if not approximate:
        block, errors = variants["plain"]
        return BlockOutcome(block, False, errors, judged)
    masks = [streams.masks[i] for i in held]

    def states(block: nn.Module, before: Sequence[Any]) -> Sequence[Any]:
        return streams.keep.states(streams.run(pair.number, block, before[i], i) for i in held)

    wanted_states = states(pair.dense, pair.dense_states) if held else ()
    for want, (block, _) in variants.items():
        got = states(block, pair.converted_states)
        judged[want] = relative_distance(got, wanted_states, masks) if held else float("nan")
    chosen = min(variants, key=lambda w: judged[w]) if held else next(iter(variants))
    return BlockOutcome(variants[chosen][0], chosen == "repaired", variants[chosen][1], judged)


def replace_pair(pair: Pair, block: nn.Module) -> Pair:
    """The pair with another module on the converted stream."""
    return Pair(pair.number, pair.dense, block, pair.dense_states, pair.converted_states)


def _install(module: nn.Module, block: str, modules: Mapping[str, Composite]) -> None:
    for name, made in modules.items():
        old = module.get_submodule(inner(block, name))
        like = next(old.parameters())
        made = made.to(device=like.device, dtype=like.dtype)
        made.train(old.training)
        if not inner(block, name):
            continue
        replace_module(module, inner(block, name), made)
