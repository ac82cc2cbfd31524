"""How much a model minds a change of each layer: second moments of gradients, or one layer at a time.

*kfac*: E g g^T at every layer's output for a loss whose second-order model is the objective: labels drawn
from the model's own predictions for "logits", white noise for "hidden" and "pooled" states (Martens and
Grosse 2015; docs/theory.md, section 19). *one at a time*: every layer replaced alone, the objective measured:
the scale of a layer's loss is what was measured over what its closed form says.

What does not belong here: the losses of choices (`recipes`), choosing (`allocate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.statistics.streams import output_tensor
from stl_models.structure.modules import replace_module
from stl_models.structure.tracing import Batch, at_rest, hooked, row_mask, run_model

#: Outputs wider than this have one number, E |g|^2 / M, in place of a matrix.
WIDEST = 1024


def resolve_objective(name: str, model: nn.Module, batch: Batch) -> str:
    """ "logits" where the output has logits, else "hidden"; or what was asked for."""
    if name != "auto":
        return name
    with at_rest(model):
        output = run_model(model, batch)
    return "logits" if isinstance(getattr(output, "logits", None), Tensor) else "hidden"


def _pooled(states: Tensor, mask: Tensor | None) -> Tensor:
    """Unit vectors (B, d): the mean over positions that are not padding."""
    if states.dim() == 2:
        return F.normalize(states, dim=-1)
    weight = torch.ones(states.shape[:2], device=states.device) if mask is None else mask.to(states)
    mean = (states * weight[..., None]).sum(1) / weight.sum(1, keepdim=True).clamp(min=1)
    return F.normalize(mean, dim=-1)


def _probe_loss(output: Any, mask: Tensor | None, objective: str, generator: torch.Generator) -> Tensor:
    """A scalar whose gradients' second moment is the objective's curvature."""
    states = output_tensor(output)
    if objective == "logits":
        flat = states.reshape(-1, states.shape[-1]).float()
        if mask is not None and states.dim() == 3:
            flat = flat[mask.reshape(-1)]
        labels = torch.multinomial(flat.detach().softmax(-1).cpu(), 1, generator=generator)[:, 0]
        return F.cross_entropy(flat, labels.to(flat.device), reduction="sum")
    if objective == "pooled":
        states = _pooled(states.float(), mask)
    else:
        states = states.float()
        # Relative to the states' own size, so that models can be compared.
        states = states / states.detach().square().mean().sqrt()
        if mask is not None and states.dim() == 3:
            states = states[mask]
    noise = torch.randn(states.shape, generator=generator).to(states.device)
    return (states * noise).sum()


def gradient_moments(
    model: nn.Module, names: Sequence[str], batches: Sequence[Batch], objective: str, seed: int = 0
) -> dict[str, Tensor]:
    """E g g^T (M, M) of the gradient at each layer's output, a mean over rows; for wide outputs one number.

    Takes one backward pass a batch and 4 M^2 bytes a layer for M up to `WIDEST`.

    Args:
        model: any differentiable model; its parameters and their gradients stay as they are.
        names: layers.
        batches: calibration batches.
        objective: "logits", "hidden" or "pooled".
        seed: of labels and noise.
    """
    generator = torch.Generator().manual_seed(seed)
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = dict.fromkeys(names, 0)
    mask: list[Tensor | None] = [None]

    def look(name: str) -> Any:
        def keep(gradient: Tensor) -> None:
            g = gradient.detach()
            flat = g[mask[0]] if mask[0] is not None and g.shape[:2] == mask[0].shape else g
            flat = flat.reshape(-1, g.shape[-1]).double()
            if flat.shape[1] > WIDEST:
                # One number stands for a wide output: M^2 numbers for every layer would outgrow the model.
                gram = flat.square().sum() / flat.shape[1]
            else:
                gram = (flat.t() @ flat).float()
            sums[name] = sums[name] + gram if name in sums else gram
            rows[name] += len(flat)

        def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not output.requires_grad:
                output.requires_grad_()
            torch.Tensor.register_hook(output, keep)  # type: ignore[no-untyped-call]
            return output

        return hook

    required = {p: p.requires_grad for p in model.parameters()}
    handles = [model.get_submodule(name).register_forward_hook(look(name)) for name in names]
    modes = {m: m.training for m in model.modules()}
    try:
        model.eval()
        for p in model.parameters():
            p.requires_grad_(False)
        with hooked(handles), torch.enable_grad():
            for batch in batches:
                mask[0] = row_mask(batch)
                torch.autograd.backward(_probe_loss(run_model(model, batch), mask[0], objective, generator))
    finally:
        for p, needed in required.items():
            p.requires_grad_(needed)
        for module, training in modes.items():
            module.training = training
    return {name: total / max(rows[name], 1) for name, total in sums.items()}


def distance(output: Any, reference: Tensor, mask: Tensor | None, objective: str) -> float:
    """How far an output is from the dense model's, in the objective's own measure; summed over rows.

    KL divergence of the predictions a token, 1 - cosine of the pooled states a sequence, or the relative
    squared error of the hidden states a token.
    """
    states = output_tensor(output).float()
    if objective == "logits":
        kl = F.kl_div(
            states.log_softmax(-1), reference.float().log_softmax(-1), log_target=True, reduction="none"
        ).sum(-1)
        return float((kl if mask is None else kl[mask]).sum())
    if objective == "pooled":
        one, two = _pooled(states, mask), _pooled(reference.float(), mask)
        return float((1 - (one.double() * two.double()).sum(-1)).sum())
    error = (states - reference.float()).square().mean(-1) / reference.float().square().mean()
    return float((error if mask is None or error.shape != mask.shape else error[mask]).sum())


class OneAtATime:
    """The objective's distance, a mean over batches, with one layer replaced.

    Args:
        model: the dense model; as it was after every measurement.
        batches: on which the distance is measured.
        objective: "logits", "hidden" or "pooled".
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], objective: str) -> None:
        if not batches:
            raise InvalidInput("calibration", expected="at least one batch", got="none")
        self.model, self.batches, self.objective = model, list(batches), objective
        with at_rest(model):
            self._references = [output_tensor(run_model(model, b)) for b in self.batches]

    def distance(self, name: str, stand_in: nn.Module) -> float:
        """With `stand_in` in the place of the layer `name`."""
        dense = self.model.get_submodule(name)
        replace_module(self.model, name, stand_in)
        try:
            with at_rest(self.model):
                total = sum(
                    distance(run_model(self.model, batch), reference, row_mask(batch), self.objective)
                    for batch, reference in zip(self.batches, self._references, strict=True)
                )
        finally:
            replace_module(self.model, name, dense)
        return total / len(self.batches)
