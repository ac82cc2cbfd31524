"""Hidden states of a calibration set as they pass through a model, block by block, dense and converted.

Where blocks are chained, the states at a block's input are kept, and a block is run as often as its
conversion needs, without the others. What else the blocks are given (masks, positions) is recorded once for
each block, without running the blocks where an example shows that it does not depend on them. Otherwise the
whole model is the only block, and its state is the batch.

Memory: one block's inner activations for one batch; and one hidden state a token and stream and what blocks
are given beside it, in files where the model is in files.

What does not belong here: statistics of the states (`collect`), deciding anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.statistics.keeping import Keep, States, keep_for
from stl_models.structure.residence import Lazy
from stl_models.structure.tracing import (
    Batch,
    Enough,
    at_rest,
    first_tensor,
    hooked,
    mapped,
    row_mask,
    run_model,
    small,
)


@dataclass(frozen=True, eq=False)
class Call:
    """How a block was called, its hidden state taken out; tensors wait where the states do."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    slot: int | str

    def with_state(self, state: Tensor) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for the same call on another hidden state."""

        def read(value: Any) -> Any:
            return value.read() if isinstance(value, Lazy) else value

        args, kwargs = list(mapped(self.args, read)), dict(mapped(dict(self.kwargs), read))
        if isinstance(self.slot, int):
            args[self.slot] = state
        else:
            kwargs[self.slot] = state
        return args, kwargs


class Streams:
    """The calls of every block on every batch.

    Args:
        model: the model; not changed.
        blocks: names of chained blocks; empty for the whole model.
        batches: what the model is called with.
    """

    def __init__(self, model: nn.Module, blocks: tuple[str, ...], batches: Sequence[Batch]) -> None:
        if not batches:
            raise InvalidInput("calibration", expected="at least one batch", got="none")
        self.model, self.blocks, self.batches = model, blocks or ("",), list(batches)
        self.keep: Keep = keep_for(model)
        self.masks = [row_mask(b) for b in self.batches]
        self.calls: list[list[Call]] = [[] for _ in self.blocks]
        #: What every block answers beside the state; None where calls depend on what blocks answer.
        self.answers: list[Any] | None = None
        self.first = self.keep.states(self.batches)
        if blocks:
            self.answers = _independent(model, blocks, self.batches[0])
            self.first = first = self.keep.states()
            for batch in self.batches:
                first.append(self._record(batch))

    def _record(self, batch: Batch) -> Tensor:
        kept: dict[int, tuple[Tensor, Lazy]] = {}

        def put(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            # One mask that all blocks are given is kept once.
            if id(value) not in kept:
                kept[id(value)] = (value, self.keep.put(value))
            return kept[id(value)][1]

        passing = nullcontext() if self.answers is None else _passing(self.model, self.blocks, self.answers)
        with passing:
            calls, state = _calls(self.model, self.blocks, batch)
        for number, call in enumerate(calls):
            self.calls[number].append(Call(mapped(call.args, put), mapped(dict(call.kwargs), put), call.slot))
        return state

    def run(self, number: int, module: nn.Module, state: Any, batch: int, *, grad: bool = False) -> Any:
        """The state after block `number`, computed by `module`, on one batch.

        Args:
            number: of the block.
            module: the block, dense or converted.
            state: at its input.
            batch: number of the batch.
            grad: keep what a backward pass needs; the caller sees to evaluation mode.
        """
        if self.blocks == ("",):
            with nullcontext() if grad else at_rest(module):
                return output_tensor(run_model(module, state))
        args, kwargs = self.calls[number][batch].with_state(state)
        with nullcontext() if grad else at_rest(module):
            out = module(*args, **kwargs)
        return out if isinstance(out, Tensor) else out[0]

    def run_all(
        self, number: int, module: nn.Module, states: Sequence[Any], into: States | None = None
    ) -> States:
        """The states after a block, of all batches.

        Args:
            number: of the block.
            module: the block.
            states: at its input.
            into: where they go, batch by batch; `states` itself where nobody needs it any more.
        """
        found = self.keep.states([None] * len(states)) if into is None else into
        for i in range(len(states)):
            found[i] = self.run(number, module, states[i], i)
        return found

    def tail(self, state: Tensor, batch: int) -> Any:
        """The model's output where the last block answers `state`; only what lies outside the blocks runs."""
        if self.blocks == ("",):
            return state
        assert self.answers is not None
        with _passing(self.model, self.blocks, self.answers, state):
            return run_model(self.model, self.batches[batch])


def _calls(
    model: nn.Module, blocks: Sequence[str], batch: Batch, *, whole: bool = False
) -> tuple[list[Call], Tensor]:
    """How every block is called on a batch, and the state at the first one.

    The pass ends with the last call, unless it is wanted whole: a head's output outweighs what blocks make.
    """
    calls: list[Call] = []
    states: list[Tensor] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = first_tensor(args, kwargs)
        assert state is not None
        places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        slot = next(place for place, value in places if value is state)
        if not states:
            states.append(state.detach())
        # A cache of keys and values would grow with every run of the block.
        kept = {k: None if k in ("past_key_values", "past_key_value") else v for k, v in kwargs.items()}
        if isinstance(slot, int):
            args = tuple(None if i == slot else a for i, a in enumerate(args))
        else:
            kept[slot] = None
        calls.append(Call(args, kept, slot))
        if len(calls) == len(blocks) and not whole:
            raise Enough

    handles = [model.get_submodule(n).register_forward_pre_hook(hook, with_kwargs=True) for n in blocks]
    with hooked(handles), at_rest(model), suppress(Enough):
        run_model(model, batch)
    return calls, states[0]


@contextmanager
def _passing(
    model: nn.Module, blocks: Sequence[str], answers: Sequence[Any], last: Tensor | None = None
) -> Iterator[None]:
    """Blocks answer the state that they are given; the last one answers `last`, where it is given."""
    before: list[tuple[nn.Module, Any]] = []

    def answer(number: int) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            state = first_tensor(args, kwargs)
            if last is not None and number + 1 == len(blocks):
                state = last
            return state if answers[number] is None else (state, *answers[number])

        return forward

    try:
        for number, name in enumerate(blocks):
            module = model.get_submodule(name)
            before.append((module, module.__dict__.get("forward")))
            module.forward = answer(number)
        yield
    finally:
        for module, forward in before:
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.forward = forward


def _independent(model: nn.Module, blocks: Sequence[str], batch: Batch) -> list[Any] | None:
    """What blocks answer beside the state (None for a bare tensor), if their calls depend on no answer."""
    example, seen = small(batch), []

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        seen.append(None if isinstance(output, Tensor) else tuple(output[1:]))

    with hooked([model.get_submodule(name).register_forward_hook(hook) for name in blocks]):
        calls, _ = _calls(model, blocks, example, whole=True)
    if any(isinstance(v, Tensor) for rest in seen for v in rest or ()):
        return None
    with _passing(model, blocks, seen):
        others, _ = _calls(model, blocks, example)
    same = all(
        _same((a.args, dict(a.kwargs)), (b.args, dict(b.kwargs))) for a, b in zip(calls, others, strict=True)
    )
    return seen if same else None


def _same(one: Any, two: Any) -> bool:
    """Whether two arguments are known to be the same."""
    if isinstance(one, Tensor) and isinstance(two, Tensor):
        return one.shape == two.shape and torch.equal(one, two)
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return one.keys() == two.keys() and all(_same(v, two[k]) for k, v in one.items())
    if isinstance(one, (tuple, list)) and isinstance(two, (tuple, list)):
        return len(one) == len(two) and all(map(_same, one, two))
    return one is two or (isinstance(one, (bool, int, float, str)) and one == two)


def pieces(batch: Batch, rows: int = 128) -> list[Batch]:
    """A batch in parts of about so many rows, at least one sequence each; as it is where it has no one axis.

    What a backward pass keeps is bounded so: logits of a large vocabulary outweigh a small model.
    """
    values = [batch] if isinstance(batch, Tensor) else list(
        batch.values() if isinstance(batch, Mapping) else batch
    )  # fmt: skip
    sizes = {len(v) if isinstance(v, Tensor) and v.dim() > 0 else -1 for v in values}
    if len(sizes) != 1 or sizes == {-1}:
        return [batch]
    tokens = [v for v in values if v.dim() >= 3 or (v.dim() == 2 and not v.is_floating_point())]
    each = max(1, rows // (tokens[0].shape[1] if tokens[0].dim() < 4 else rows)) if tokens else rows
    cut = list(zip(*(torch.split(v, each) for v in values), strict=True))
    if isinstance(batch, Tensor):
        return [part for (part,) in cut]
    if isinstance(batch, Mapping):
        return [dict(zip(batch, parts, strict=True)) for parts in cut]
    return [tuple(parts) for parts in cut]


def output_tensor(output: Any) -> Tensor:
    """The tensor that a model's output is about: logits, the last hidden state, or the first tensor."""
    for name in ("logits", "last_hidden_state"):
        found = getattr(output, name, None)
        if isinstance(found, Tensor):
            return found
    if isinstance(output, Tensor):
        return output
    values = output.values() if isinstance(output, Mapping) else output
    return next(v for v in values if isinstance(v, Tensor))


def relative_distance(one: Sequence[Tensor], two: Sequence[Tensor], masks: Sequence[Tensor | None]) -> float:
    """|one - two|^2 / |two - its mean|^2 over all rows that are not padding."""
    difference = power = 0.0
    total: Tensor | None = None
    count = 0
    for a, b, mask in zip(one, two, masks, strict=True):
        rows = (a, b) if mask is None or a.shape[:2] != mask.shape else (a[mask], b[mask])
        wide = rows[1].double().reshape(-1, b.shape[-1])
        difference += float((rows[0].double() - rows[1].double()).square().sum())
        power += float(wide.square().sum())
        total = wide.sum(0) if total is None else total + wide.sum(0)
        count += len(wide)
    assert total is not None
    power -= float(total.square().sum()) / max(count, 1)
    return difference / power if power > 0 else 0.0


def rows_in(batches: Sequence[Batch]) -> int:
    """How many tokens the batches hold, for messages; 0 where they hold no two-axis tensor."""
    total = 0
    for batch in batches:
        values = (
            batch.values() if isinstance(batch, Mapping) else [batch] if isinstance(batch, Tensor) else batch
        )
        shape = next((v.shape for v in values if isinstance(v, Tensor) and v.dim() >= 2), None)
        total += int(torch.tensor(shape[:2]).prod()) if shape is not None else 0
    return total
