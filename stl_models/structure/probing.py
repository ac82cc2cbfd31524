"""Which channel of one layer's output reaches which channel of another's input: asked of the model itself.

Channels of a layer's output are poisoned with NaN, and NaN spreads exactly along dependence. Every watched
layer notes which of its input channels are poisoned and goes on with its clean input of an earlier run, so
that only what lies between two neighbouring layers is seen, and all blocks are probed in the same pass.

* An MLP: channel i of a layer reaches channel i alone of the next layer, and the map is not linear, or two
  layers reach it (a gated MLP).
* Values of attention: channel c reaches one channel in each head of its group, linearly. With one token's
  values set to 1 and all others to 0, a head's channels all show that token's weight: equal channels are one
  head.

What anything else reads too, another layer or the model's output, is no such pair.

Nothing is asked of names. Where a model hides its structure (fused projections), nothing is found, and the
recipes for single layers apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from stl_models.structure.tracing import Batch, at_rest, hooked, run_model

#: What values are multiplied by to see whether what follows is linear; powers of two are exact in any dtype.
_FAR = -1024.0


@dataclass(frozen=True)
class Neurons:
    """An MLP: output channel i of every producer meets input channel i of the consumer and no other."""

    producers: tuple[str, ...]
    consumer: str

    def within(self, prefix: str) -> Neurons:
        """The same with a prefix before the names."""
        return Neurons(tuple(prefix + n for n in self.producers), prefix + self.consumer)


@dataclass(frozen=True, eq=False)
class Values:
    """Values and output projection of an attention.

    Attributes:
        value, output: the two layers.
        heads: one row of input channels of `output` for each head, grouped by the channels of `value` that
            they come from: (groups, heads of a group, dimensions).
        sources: (groups, dimensions), the channels of `value`.
    """

    value: str
    output: str
    heads: Tensor
    sources: Tensor

    def within(self, prefix: str) -> Values:
        """The same with a prefix before the names."""
        return Values(prefix + self.value, prefix + self.output, self.heads, self.sources)


Hook = Callable[[str, Tensor], Tensor]


class Prober:
    """Runs a model with changed outputs of some layers and reads the inputs of all.

    Args:
        model: the model.
        names: the layers to watch, in the order of execution.
        run: runs what holds the layers on a small batch: two sequences of a few tokens are enough.
    """

    def __init__(self, model: nn.Module, names: list[str], run: Callable[[], Any]) -> None:
        self.model, self.names, self.run = model, names, run
        self.widths: dict[str, int] = {}
        # Whether the last run's poison reached what the model returns, past all layers.
        self.escaped = False
        self.clean = self._run({}, None)

    def _run(self, change: dict[str, Hook], restore: dict[str, Tensor] | None) -> dict[str, Tensor]:
        """Inputs of the layers while outputs are changed, each going on with its input in `restore`."""
        inputs: dict[str, Tensor] = {}

        def before(name: str) -> Any:
            def look(_: nn.Module, args: tuple[Any, ...]) -> Any:
                inputs.setdefault(name, args[0].detach().clone())
                clean = None if restore is None else restore.get(name)
                # What a router chose for a layer may be other rows in another run: it goes on with those.
                same = clean is not None and clean.shape[:-1] == args[0].shape[:-1]
                return (clean, *args[1:]) if same else None

            return look

        def after(name: str) -> Any:
            def look(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
                self.widths[name] = output.shape[-1]
                return change[name](name, output) if name in change else None

            return look

        handles: list[Any] = []
        for name in self.names:
            module = self.model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(before(name)))
            handles.append(module.register_forward_hook(after(name)))
        with hooked(handles), at_rest(self.model):
            self.escaped = _holds_nan(self.run())
        return inputs

    def poisoned(self, layers: list[str], channels: Callable[[int], Tensor]) -> dict[str, Tensor]:
        """For each layer the mask (K,) of input channels that the poisoned output channels reach.

        Args:
            layers: whose outputs are poisoned at once; no two of them may meet before the next layer.
            channels: width to the mask of channels to poison.
        """

        def poison(_: str, output: Tensor) -> Tensor:
            output = output.clone()
            output[..., channels(output.shape[-1]).to(output.device)] = math.nan
            return output

        inputs = self._run(dict.fromkeys(layers, poison), self.clean)
        return {n: x.reshape(-1, x.shape[-1]).isnan().any(0).cpu() for n, x in inputs.items()}

    def feeds_only(self, source: str, target: str) -> bool:
        """Whether nothing but the target reads the source's output: then its channels may be left out."""
        reached = self.poisoned([source], lambda width: torch.ones(width, dtype=torch.bool))
        return not self.escaped and all(name == target for name, mask in reached.items() if mask.any())

    def cuttable(self, pairs: list[Neurons]) -> list[Neurons]:
        """Those of which every second channel can be left out, and the consumer is given just the others.

        What lies between must not mind how many there are, as a gate does that something else computes.
        """
        change: dict[str, Hook] = {n: lambda _, y: y[..., ::2] for pair in pairs for n in pair.producers}
        try:
            inputs = self._run(change, self.clean)
        except Exception:  # whatever a model's own code raises
            return [p for pair in pairs for p in self.cuttable([pair])] if len(pairs) > 1 else []
        halves = {pair.consumer: self.clean[pair.consumer][..., ::2] for pair in pairs}
        return [
            pair
            for pair in pairs
            for half in (halves[pair.consumer],)
            if inputs[pair.consumer].shape == half.shape
            and torch.allclose(inputs[pair.consumer], half, rtol=1e-3, atol=1e-6)
        ]

    def responses(self, layers: list[str], hook: Hook) -> dict[str, Tensor]:
        """Inputs of all layers with the outputs of some changed."""
        return self._run(dict.fromkeys(layers, hook), self.clean)


def _holds_nan(output: Any) -> bool:
    """Whether a model's output, a tensor or tensors in containers, holds NaN."""
    if isinstance(output, Tensor):
        return output.is_floating_point() and bool(output.isnan().any())
    if isinstance(output, Mapping):
        return any(map(_holds_nan, output.values()))
    return isinstance(output, (tuple, list)) and any(map(_holds_nan, output))


def find_pairs(
    model: nn.Module, names: list[str], batch: Batch, run: Callable[[], Any] | None = None
) -> tuple[list[Neurons], list[Values]]:
    """MLPs and attention values among the layers.

    Args:
        model: the model, or a block of it.
        names: the layers, in the order of execution; each is called once a pass.
        batch: a small batch.
        run: runs the layers, where calling the model on the batch is not how.
    """
    prober = Prober(model, names, run or partial(run_model, model, batch))
    # One layer of each kind in a block at a time: layers whose names differ in numbers only.
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(re.sub(r"\d+", "*", name), []).append(name)
    into: dict[str, list[tuple[str, Tensor]]] = {}
    for layers in kinds.values():
        for source, target, channels in _reached(prober, names, layers):
            into.setdefault(target, []).append((source, channels))
    neurons, values = [], []
    for target, sources in into.items():
        direct = [s for s, c in sources if torch.equal(c, torch.arange(len(c)))]
        heads = _heads(prober, sources[0][0], target, sources[0][1]) if len(sources) == 1 else None
        if heads is not None:
            values.append(heads)
        elif direct and len(direct) == len(sources):
            neurons.append(Neurons(tuple(direct), target))
    return prober.cuttable(neurons), values


def _reached(prober: Prober, names: list[str], layers: list[str]) -> list[tuple[str, str, Tensor]]:
    """(source, target, channel of the source that feeds each channel of the target) for these layers."""
    place = {name: i for i, name in enumerate(names)}
    generator = torch.Generator().manual_seed(0)
    drawn: dict[int, Tensor] = {}

    def half(width: int) -> Tensor:
        if width not in drawn:
            drawn[width] = torch.rand(width, generator=generator) < 0.5
        return drawn[width]

    first = prober.poisoned(layers, half)
    found = []
    for source in layers:
        following = [n for n in names[place[source] + 1 : place[source] + 8] if n in first]
        # The nearest later layer that some but not all of the channels reach.
        target = next((n for n in following if first[n].any() and not first[n].all()), None)
        if target is not None:
            found.append((source, target))
    if not found:
        return []
    width = max(prober.widths[s] for s, _ in found)
    sources = [s for s, _ in found]
    codes = {s: torch.zeros(len(first[t]), dtype=torch.int64) for s, t in found}
    single = {s: torch.ones(len(first[t]), dtype=torch.bool) for s, t in found}
    for bit in range(max(1, (width - 1).bit_length())):
        one = prober.poisoned(sources, partial(_with_bit, bit, 1))
        zero = prober.poisoned(sources, partial(_with_bit, bit, 0))
        for source, target in found:
            if target not in one or target not in zero:
                single[source][:] = False
                continue
            codes[source] |= one[target].to(torch.int64) << bit
            # A channel fed by exactly one channel is reached by one of the two halves, never by both.
            single[source] &= one[target] ^ zero[target]
    # Every channel has to arrive: kernels that treat NaN scores as masked would hide what queries do.
    return [
        (s, t, codes[s])
        for s, t in found
        if single[s].all()
        and torch.equal(torch.unique(codes[s]), torch.arange(prober.widths[s]))
        # As queries that are also multiplied into something else are read twice.
        and prober.feeds_only(s, t)
    ]


def _with_bit(bit: int, value: int, width: int) -> Tensor:
    """The channels below `width` whose number has this bit."""
    return (torch.arange(width) >> bit) & 1 == value


def _drawn(factor: float, _: str, output: Tensor) -> Tensor:
    """Gaussian outputs times a factor, the same every time."""
    drawn = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return factor * drawn.to(output)


def _heads(prober: Prober, source: str, target: str, channels: Tensor) -> Values | None:
    """Heads of an attention, if the source's channels are values that attention adds up."""

    def first_token(_: str, output: Tensor) -> Tensor:
        output = torch.zeros_like(output)
        output[..., 0, :] = 1
        return output

    seen = prober.responses([source], first_token)[target].double()
    if seen.dim() != 3:
        return None
    # ReLU is linear in positive values, a clamp in small ones, keeping the largest in equal ones.
    near, far = (
        prober.responses([source], partial(_drawn, factor))[target].double() for factor in (1.0, _FAR)
    )
    if not torch.allclose(far, _FAR * near, rtol=1e-4, atol=1e-6 * abs(_FAR)):
        return None
    columns = seen.reshape(-1, seen.shape[-1]).t()
    starts = [0]
    for channel in range(1, len(columns)):
        if not torch.allclose(columns[channel], columns[starts[-1]], rtol=1e-4, atol=1e-6):
            starts.append(channel)
    sizes = {b - a for a, b in zip(starts, [*starts[1:], len(columns)], strict=True)}
    # Every channel on its own is an MLP without a bend; unequal heads are nothing that we know.
    if len(sizes) != 1 or 1 in sizes:
        return None
    size = sizes.pop()
    heads = torch.arange(len(columns)).view(-1, size)
    fed = channels.view(-1, size)
    groups: dict[tuple[int, ...], list[Tensor]] = {}
    for head, sources in zip(heads, fed, strict=True):
        groups.setdefault(tuple(sources.tolist()), []).append(head)
    if len({len(g) for g in groups.values()}) != 1:
        return None
    stacked = torch.stack([torch.stack(g) for g in groups.values()])
    return Values(source, target, stacked, torch.tensor(list(groups)))
