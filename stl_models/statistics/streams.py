"""Hidden states of a calibration set as they pass through a model, block by block, dense and converted.

Where blocks are chained, the states at a block's input are kept, and a block is run as often as its
conversion needs, without the others. What else the blocks are given (masks, positions) is recorded once for
each block. Otherwise the whole model is the only block, and its state is the batch.

Memory: one hidden state a token and stream, and one block's inner activations for one batch.

What does not belong here: statistics of the states (`collect`), deciding anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.structure.tracing import Batch, at_rest, first_tensor, hooked, row_mask, run_model


@dataclass(frozen=True, eq=False)
class Call:
    """How a block was called, its hidden state taken out."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    slot: int | str

    def with_state(self, state: Tensor) -> tuple[list[Any], dict[str, Any]]:
        """Arguments for the same call on another hidden state."""
        args, kwargs = list(self.args), dict(self.kwargs)
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
        self.blocks, self.batches = blocks or ("",), list(batches)
        self.masks = [row_mask(b) for b in self.batches]
        self.calls: list[list[Call]] = [[] for _ in self.blocks]
        self.first: list[Any] = list(self.batches)
        if blocks:
            self.first = [self._record(model, batch) for batch in self.batches]

    def _record(self, model: nn.Module, batch: Batch) -> Tensor:
        states: list[Tensor] = []

        def look(number: int) -> Any:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                state = first_tensor(args, kwargs)
                assert state is not None
                places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
                slot = next(place for place, value in places if value is state)
                if number == 0:
                    states.append(state.detach())
                # A cache of keys and values would grow with every run of the block.
                kept = {
                    k: None if k in ("past_key_values", "past_key_value") else v for k, v in kwargs.items()
                }
                if isinstance(slot, int):
                    args = tuple(None if i == slot else a for i, a in enumerate(args))
                else:
                    kept[slot] = None
                self.calls[number].append(Call(args, kept, slot))

            return hook

        handles = [
            model.get_submodule(name).register_forward_pre_hook(look(i), with_kwargs=True)
            for i, name in enumerate(self.blocks)
        ]
        with hooked(handles), at_rest(model):
            run_model(model, batch)
        return states[0]

    def run(self, number: int, module: nn.Module, state: Any, batch: int) -> Any:
        """The state after block `number`, computed by `module`, on one batch."""
        if self.blocks == ("",):
            with at_rest(module):
                return output_tensor(run_model(module, state))
        args, kwargs = self.calls[number][batch].with_state(state)
        with at_rest(module):
            out = module(*args, **kwargs)
        return out if isinstance(out, Tensor) else out[0]

    def run_all(self, number: int, module: nn.Module, states: list[Any]) -> list[Any]:
        """The states after a block, of all batches."""
        return [self.run(number, module, state, i) for i, state in enumerate(states)]


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
