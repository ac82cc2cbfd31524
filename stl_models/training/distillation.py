"""A few gradient steps towards the dense model, on the calibration text alone.

The loss is the KL divergence of the logits, or the squared error of the last hidden states where there are
none. The steps end when the loss on held-out batches has stopped falling; the best state is kept.
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
from stl_models.statistics.streams import output_tensor
from stl_models.structure.tracing import Batch, at_rest, run_model


@dataclass(frozen=True)
class Distillation:
    """What was done.

    Attributes:
        steps: taken; fewer than asked for where the held-out loss stopped falling.
        before, after: loss on held-out batches.
    """

    steps: int
    before: float
    after: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def distil(
    converted: nn.Module,
    dense: nn.Module,
    batches: Sequence[Batch],
    *,
    steps: int,
    learning_rate: float = 1e-4,
    patience: int = 3,
    progress: Progress | None = None,
) -> Distillation:
    """Train the converted layers' parameters for some steps.

    Args:
        converted: changed in place; only its composites are trained, 2:4 masks stay.
        dense: what it should do.
        batches: at least two; the last eighth is held out.
        steps: at most.
        learning_rate: of AdamW; falls linearly to zero.
        patience: evaluations (one every tenth of the steps) without a better held-out loss before it ends.
        progress: called per step.

    Raises:
        InvalidInput: fewer than two batches, or nothing was converted.
    """
    if len(batches) < 2:
        raise InvalidInput("batches", expected="at least two", got=len(batches))
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
    held = list(batches[-max(1, len(batches) // 8) :])
    fitted = list(batches[: len(batches) - len(held)])
    required = {p: p.requires_grad for p in converted.parameters()}
    for p in converted.parameters():
        p.requires_grad_(False)
    for p in parameters:
        p.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    every, since = max(1, steps // 10), 0
    before = best = _held_out(converted, dense, held)
    kept = [p.detach().clone() for p in parameters]
    taken = 0
    try:
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * (1 - step / steps)
            batch = fitted[step % len(fitted)]
            loss = _distance(converted, dense, batch)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            taken = step + 1
            if taken % every == 0 or taken == steps:
                found = _held_out(converted, dense, held)
                since = 0 if found < best else since + 1
                if found < best:
                    best, kept = found, [p.detach().clone() for p in parameters]
                if since >= patience:
                    break
            if progress:
                progress(f"distillation, held-out loss {best:.4g}", taken, steps)
    finally:
        with torch.no_grad():
            for p, value in zip(parameters, kept, strict=True):
                p.copy_(value)
        for p, needed in required.items():
            p.requires_grad_(needed)
    return Distillation(taken, before, best)


def _distance(converted: nn.Module, dense: nn.Module, batch: Batch) -> Tensor:
    with at_rest(dense):
        output = run_model(dense, batch)
        wanted = output_tensor(output)
    got = output_tensor(run_model(converted, batch))
    if getattr(output, "logits", None) is not None:
        return F.kl_div(
            got.float().log_softmax(-1).flatten(0, -2),
            wanted.float().log_softmax(-1).flatten(0, -2),
            log_target=True,
            reduction="batchmean",
        )
    return F.mse_loss(got.float(), wanted.float()) / wanted.float().square().mean()


def _held_out(converted: nn.Module, dense: nn.Module, batches: Sequence[Batch]) -> float:
    with at_rest(converted):
        return sum(float(_distance(converted, dense, b)) for b in batches) / len(batches)
