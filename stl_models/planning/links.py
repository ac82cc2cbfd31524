"""What connects the layers of a model: found from one small example, a block in memory at a time.

What does not belong here: how it is seen (`structure`), what is made of it (`regions`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from stl_models.statistics.collect import inner
from stl_models.statistics.streams import Streams
from stl_models.structure.modules import Structure
from stl_models.structure.probing import Neurons, Values, find_pairs
from stl_models.structure.residence import resident
from stl_models.structure.tracing import Batch, trace


@dataclass(frozen=True, eq=False)
class Links:
    """What connects the layers of a model.

    Attributes:
        order: names in the order of execution.
        inputs: layers that share an input, one tuple for every distinct input, in order.
        neurons, values: pairs that were found.
        residual: layers that end in a residual stream.
    """

    order: tuple[str, ...]
    inputs: tuple[tuple[str, ...], ...]
    neurons: tuple[Neurons, ...] = ()
    values: tuple[Values, ...] = ()
    residual: frozenset[str] = field(default_factory=frozenset)

    def within(self, names: Sequence[str]) -> Links:
        """The links among some layers only."""
        chosen = set(names)
        return Links(
            tuple(n for n in self.order if n in chosen),
            tuple(g for g in (tuple(n for n in group if n in chosen) for group in self.inputs) if g),
            tuple(n for n in self.neurons if {*n.producers, n.consumer} <= chosen),
            tuple(v for v in self.values if {v.value, v.output} <= chosen),
            self.residual & chosen,
        )

    def components(self) -> list[tuple[str, ...]]:
        """Layers that some recipe may change together, in the order of execution."""
        parent = {name: name for name in self.order}

        def root(name: str) -> str:
            while parent[name] != name:
                name = parent[name]
            return name

        tied = [*self.inputs, *((*n.producers, n.consumer) for n in self.neurons)]
        tied += [(v.value, v.output) for v in self.values]
        for names in tied:
            for other in names[1:]:
                parent[root(other)] = root(names[0])
        found: dict[str, list[str]] = {}
        for name in self.order:
            found.setdefault(root(name), []).append(name)
        return [tuple(names) for names in found.values()]


def find_links(
    model: nn.Module, structure: Structure, example: Batch
) -> tuple[Structure, Links, bool, list[str]]:
    """The structure that the example reaches, its links, whether the blocks are a chain, and notes.

    Args:
        model: the model.
        structure: of it; layers that the example does not reach are left alone from here on.
        example: a small batch.
    """
    notes: list[str] = []
    seen = trace(model, list(structure.linears), structure.blocks, example)
    # A tower for pictures has blocks too, which a text does not reach.
    structure = replace(structure, blocks=seen.blocks)
    order = list(seen.calls)
    for name in structure.linears:
        if name in seen.unlike:
            structure.left[name] = seen.unlike[name]
        elif name not in seen.calls:
            structure.left[name] = "not reached by the example"
    repeated = [name for name, calls in seen.calls.items() if calls > 1]
    if repeated:
        notes.append(f"{len(repeated)} layers are called more than once a pass, such as {repeated[0]}")
        return structure, Links(tuple(order), tuple((n,) for n in order)), False, notes
    if not seen.chained:
        notes.append("the blocks do not follow each other: the model is converted as one block")
    neurons, values = _pairs(model, structure.blocks if seen.chained else (), order, example)
    links = Links(tuple(order), tuple(seen.inputs), tuple(neurons), tuple(values), frozenset(seen.residual))
    return structure, links, seen.chained, notes


def _pairs(
    model: nn.Module, blocks: tuple[str, ...], order: list[str], example: Batch
) -> tuple[list[Neurons], list[Values]]:
    """Block by block, each in memory once; across blocks nothing is changed together."""
    streams = Streams(model, blocks, [example])
    neurons: list[Neurons] = []
    values: list[Values] = []
    states: Sequence[Any] = streams.first
    for number, block in enumerate(streams.blocks):
        names = [n for n in order if not block or n.startswith(f"{block}.")]
        with resident(model, block):
            module, state = model.get_submodule(block), states[0]
            run = partial(streams.run, number, module, state, 0)
            if names:
                # Its layers by the names that they have in it.
                part = find_pairs(module, [inner(block, n) for n in names], example, run)
                before = f"{block}." if block else ""
                neurons += [n.within(before) for n in part[0]]
                values += [v.within(before) for v in part[1]]
            states = streams.run_all(number, module, states)
    return neurons, values
