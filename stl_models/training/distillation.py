"""A few gradient steps towards the dense model, on the calibration text alone.

The loss is the KL divergence of the logits, or the squared error of the last hidden states where there are
none. The best state on held-out batches is kept; the steps end when lower rates do not help any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_algebra.progress import Progress
from stl_models.composites.composite import Composite
from stl_models.statistics.sensitivity import divergence
from stl_models.statistics.streams import output_tensor
from stl_models.structure.tracing import Batch, at_rest, run_model
from stl_models.training.parameters import Rates, parameter_groups


@dataclass(frozen=True)
class Distillation:
    """What was done.

    Attributes:
        steps: taken, those that were taken back too; fewer than asked for where no rate helped any more.
        before, after: loss on held-out batches.
    """

    steps: int
    before: float
    after: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def split(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Batches to fit to, and the last eighth, at least one, that nothing should have been fitted to.

    Raises:
        InvalidInput: fewer than two batches.
    """
    if len(batches) < 2:
        raise InvalidInput("batches", expected="at least two", got=len(batches))
    count = len(batches) - max(1, len(batches) // 8)
    return list(batches[:count]), list(batches[count:])


def distil(
    converted: nn.Module,
    dense: nn.Module,
    batches: Sequence[Batch],
    held: Sequence[Batch],
    *,
    steps: int,
    learning_rate: float = 1e-4,
    patience: int = 3,
    progress: Progress | None = None,
) -> Distillation:
    """Train the converted layers' parameters for some steps.

    Steps that did not lower the loss on held-out batches are taken back, and go on at a quarter of the rate.

    Args:
        converted: changed in place; only its composites are trained, 2:4 masks stay.
        dense: what it should do.
        batches: to fit to.
        held: to judge on. Statistics of the conversion must not be of these: what a model was fitted to it
            does better on than after any step.
        steps: at most, those that are taken back counted.
        learning_rate: of AdamW at the start, for dense weights; steps on encoded weights are made as long by
            `parameters.step_scale`. It falls linearly to zero.
        patience: how often the rate is lowered before it ends.
        progress: called per step.

    Raises:
        InvalidInput: no batch, or nothing was converted.
    """
    for name, given in (("batches", batches), ("held", held)):
        if not given:
            raise InvalidInput(name, expected="at least one batch", got="none")
    parameters = [
        p
        for m in converted.modules()
        if isinstance(m, Composite)
        for n, p in m.named_parameters()
        if p.is_floating_point() and "factors." not in n
    ]
    parameters = list(dict.fromkeys(parameters))
    if not parameters:
        raise InvalidInput("converted", expected="a converted model", got="no converted layer")
    required = {p: p.requires_grad for p in converted.parameters()}
    for p in converted.parameters():
        p.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    groups = parameter_groups(converted, Rates(lr=learning_rate, weight_decay=0.0))
    rates = [group["lr"] for group in groups]
    optimiser = torch.optim.AdamW(groups)
    every, lowered = max(1, steps // 10), 0
    before = best = _held_out(converted, dense, held)
    kept = [p.detach().clone() for p in parameters]
    taken = 0
    try:
        for step in range(steps):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * 0.25**lowered * (1 - step / steps)
            loss = _distance(converted, dense, batches[step % len(batches)])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            taken = step + 1
            if taken % every == 0 or taken == steps:
                found = _held_out(converted, dense, held)
                if found < best:
                    best, kept = found, [p.detach().clone() for p in parameters]
                else:
                    lowered += 1
                    _restore(parameters, kept)
                    optimiser.state.clear()
                if lowered > patience:
                    break
            if progress:
                progress(f"distillation, held-out loss {best:.4g}", taken, steps)
    finally:
        _restore(parameters, kept)
        for p, needed in required.items():
            p.requires_grad_(needed)
    return Distillation(taken, before, best)


@torch.no_grad()
def _restore(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


def _distance(converted: nn.Module, dense: nn.Module, batch: Batch) -> Tensor:
    with at_rest(dense):
        output = run_model(dense, batch)
        wanted = output_tensor(output)
    got = output_tensor(run_model(converted, batch))
    if getattr(output, "logits", None) is not None:
        return divergence(got, wanted).mean()
    return F.mse_loss(got.float(), wanted.float()) / wanted.float().square().mean()


def _held_out(converted: nn.Module, dense: nn.Module, batches: Sequence[Batch]) -> float:
    with at_rest(converted):
        return sum(float(_distance(converted, dense, b)) for b in batches) / len(batches)
