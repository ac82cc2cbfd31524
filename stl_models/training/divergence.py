"""A loss or gradient that is not finite: found in the step where it happens, and the layer named."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import StlError


class Diverged(StlError):
    """Training cannot go on: a loss or a gradient is not finite."""


def refuse_divergence(
    model: nn.Module, step: int, value: float, again: Callable[[], Any] | None, rank: int = 0
) -> None:
    """Do nothing for a finite value; else find where it comes from.

    Args:
        model: whose step it is.
        step: counted from 0.
        value: the loss, or the norm of the gradient where there is no `again`.
        again: computes the loss once more.
        rank: of the process, named where it is not the first.

    Raises:
        Diverged: the value is NaN or an infinity.
    """
    if math.isfinite(value):
        return
    where = f"step {step}" + (f" of process {rank}" if rank else "")
    hint = "a lower learning rate, a longer warmup or float32 may help"
    for name, p in model.named_parameters():
        if not bool(torch.isfinite(p).all()):
            raise Diverged(
                f"loss: expected a finite number, got {value} in {where}: {name} is not finite; {hint}"
            )
    if again is None:
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        bad = (n for n, grad in gradients.items() if not bool(torch.isfinite(grad).all()))
        name = next(bad, "none alone")
        raise Diverged(
            f"gradient: expected a finite norm, got {value} in {where}: first that of {name}; {hint}"
        )
    name = _first_layer(model, again)
    raise Diverged(
        f"loss: expected a finite number, got {value} in {where}: first in the output of {name}; {hint}"
    )


def _first_layer(model: nn.Module, again: Callable[[], Any]) -> str:
    """The innermost module whose output is the first that is not finite, "the loss" where all are."""
    found: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look(_: nn.Module, __: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not found and not bool(torch.isfinite(output).all()):
                found.append(name)

        return look

    handles = [m.register_forward_hook(watch(n or "the model")) for n, m in model.named_modules()]
    try:
        with torch.no_grad():
            again()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else "the loss itself"
