"""Statistics of one block's layers on a stream: moments of inputs, and moments towards a target.

What does not belong here: what is done with them (`repair`, `allocate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stl_models.statistics.moments import Moments, MomentSum
from stl_models.statistics.streams import Streams
from stl_models.structure.tracing import Additions, Enough, hooked, rows_of


def inner(block: str, name: str) -> str:
    """The name of a layer inside its block."""
    return name[len(block) + 1 :] if block else name


def block_moments(
    streams: Streams,
    number: int,
    module: nn.Module,
    states: Sequence[Any],
    groups: Sequence[tuple[str, ...]],
    batches: Sequence[int],
) -> dict[str, Moments]:
    """Moments of the inputs of a block's layers, one collection for layers that share an input.

    Args:
        streams: the calls.
        number: of the block.
        module: the block, dense or converted.
        states: hidden states of all batches.
        groups: full names of layers with one input each.
        batches: which batches count.
    """
    if not groups:
        return {}
    sums: dict[str, MomentSum] = {}
    mask: list[Tensor | None] = [None]

    def look(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
            if name not in sums:
                sums[name] = MomentSum(args[0].shape[-1], args[0].device)
            sums[name].add(rows_of(args[0], mask[0]))

        return hook

    block = streams.blocks[number]
    handles = [module.get_submodule(inner(block, g[0])).register_forward_pre_hook(look(g[0])) for g in groups]
    with hooked(handles):
        for i in batches:
            mask[0] = streams.masks[i]
            streams.run(number, module, states[i], i)
    found: dict[str, Moments] = {}
    for group in groups:
        if group[0] in sums:
            value = sums.pop(group[0]).value()
            found |= dict.fromkeys(group, value)
    return found


@dataclass(frozen=True, eq=False)
class Targets:
    """Moments of an input x~ together with what its layer should put out.

    Attributes:
        moments: of x~.
        cross: E (x~ - mean)(t - mean)^T, (K, M).
        mean: E t, (M,).
        power: E |t - mean|^2.
    """

    moments: Moments
    cross: Tensor
    mean: Tensor
    power: float

    def error(self, weight: Tensor, bias: Tensor) -> float:
        """E |t - x~^T weight - bias|^2, closed form."""
        c = self.moments.centred()
        varying = self.power - 2 * float((self.cross * weight).sum()) + float((weight * (c @ weight)).sum())
        off = self.mean - self.moments.mean @ weight - bias
        return max(varying, 0.0) + float(off.square().sum())


class _TargetSum:
    def __init__(self) -> None:
        self.inputs: MomentSum | None = None
        self.cross: Tensor | None = None
        self.total: Tensor | None = None
        self.power = 0.0

    def add(self, x: Tensor, target: Tensor) -> None:
        x, target = x.double(), target.double()
        if self.inputs is None or self.cross is None or self.total is None:
            self.inputs = MomentSum(x.shape[1], x.device)
            self.cross = x.new_zeros(x.shape[1], target.shape[1])
            self.total = x.new_zeros(target.shape[1])
        self.inputs.add(x)
        self.cross += x.t() @ target
        self.total += target.sum(0)
        self.power += float(target.square().sum())

    def value(self) -> Targets:
        assert self.inputs is not None
        assert self.cross is not None
        assert self.total is not None
        moments, rows = self.inputs.value(), self.inputs.rows
        mean = self.total / rows
        cross = self.cross / rows - torch.outer(moments.mean, mean)
        return Targets(moments, cross, mean, self.power / rows - float(mean.square().sum()))


@dataclass
class Pair:
    """A block on its two streams.

    Attributes:
        number: of the block.
        dense: the block as it was. converted: as far as it is converted.
        dense_states, converted_states: hidden states at its input.
    """

    number: int
    dense: nn.Module
    converted: nn.Module
    dense_states: Sequence[Any]
    converted_states: Sequence[Any]


def collect_targets(
    streams: Streams,
    pair: Pair,
    group: tuple[str, ...],
    residual: frozenset[str],
    splits: tuple[Sequence[int], Sequence[int]],
    stop_before: str = "",
) -> dict[str, tuple[Targets, Targets]]:
    """For every layer of a group the moments of x~ and its target, on fitting and on held-out batches.

    The target is the dense layer's output on the dense stream; where the output is added to a residual
    stream, what the converted stream lacks so far is added to it.

    Args:
        streams: the calls.
        pair: the block on both streams.
        group: full names of layers that share an input.
        residual: names of layers that end in a residual stream.
        splits: batches to fit on, batches held out.
        stop_before: a layer whose call ends the pass; "" for none.
    """
    block = streams.blocks[pair.number]
    sums = {name: (_TargetSum(), _TargetSum()) for name in group}
    watched = residual & set(group)
    for part, batches in enumerate(splits):
        for i in batches:
            mask = streams.masks[i]
            _, outputs, dense_others = _run(
                streams, pair.number, pair.dense, pair.dense_states[i], i, block, group, watched, stop_before
            )
            inputs, _, others = _run(
                streams, pair.number, pair.converted, pair.converted_states[i], i, block, group, watched,
                stop_before,
            )  # fmt: skip
            for name in group:
                target = outputs[name]
                if name in dense_others and name in others:
                    target = target.double() + dense_others[name].double() - others[name].double()
                sums[name][part].add(rows_of(inputs[name], mask), rows_of(target, mask))
    return {
        name: (fit.value(), held.value() if held.inputs is not None else fit.value())
        for name, (fit, held) in sums.items()
    }


def _run(
    streams: Streams,
    number: int,
    module: nn.Module,
    state: Any,
    batch: int,
    block: str,
    group: tuple[str, ...],
    watched: set[str] | frozenset[str],
    stop_before: str,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Inputs, outputs and the residual operands of a group's layers in one pass of a block."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    additions = Additions()

    def look(name: str) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            inputs[name], outputs[name] = args[0].detach(), output.detach()
            if name in watched:
                additions.want(name, output)

        return hook

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        raise Enough

    handles = [module.get_submodule(inner(block, n)).register_forward_hook(look(n)) for n in group]
    if stop_before:
        handles.append(module.get_submodule(inner(block, stop_before)).register_forward_pre_hook(stop))
    with hooked(handles):
        try:
            if watched:
                with additions:
                    streams.run(number, module, state, batch)
            else:
                streams.run(number, module, state, batch)
        except Enough:
            pass
    return inputs, outputs, additions.other
