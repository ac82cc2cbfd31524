"""How much a model minds a change of each layer: second moments of gradients, or one layer at a time.

*kfac*: E g g^T at every layer's output for a loss whose second-order model is the objective: labels drawn
from the model's own predictions for "logits", white noise for "hidden" and "pooled" states (Martens and
Grosse 2015; docs/theory.md, section 19). *one at a time*: every layer replaced alone, the objective measured:
the scale of a layer's loss is what was measured over what its closed form says.

What does not belong here: the losses of choices (`recipes`), choosing (`allocate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_models.statistics.collect import inner
from stl_models.statistics.keeping import States
from stl_models.statistics.streams import Streams, output_tensor
from stl_models.structure.modules import replace_module
from stl_models.structure.residence import Lazy, resident
from stl_models.structure.tracing import Batch, at_rest, hooked, run_model, small

#: Outputs wider than this have one number, E |g|^2 / M, in place of a matrix.
WIDEST = 1024


def resolve_objective(name: str, model: nn.Module, batch: Batch) -> str:
    """ "logits" where the output has logits, else "hidden"; or what was asked for."""
    if name != "auto":
        return name
    with at_rest(model):
        output = run_model(model, small(batch))
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
    streams: Streams, names: Sequence[str], objective: str, seed: int = 0
) -> dict[str, Lazy]:
    """E g g^T (M, M) of the gradient at each layer's output, a mean over rows; for wide outputs one number.

    Block after block from the last to the first: the states at every block's input wait where `streams` keeps
    them, the block is run again with gradients, and what arrives at its input is what the block before gets.
    One block's inner activations for one batch are alive at a time. 4 M^2 bytes a layer for M up to `WIDEST`.

    Args:
        streams: the dense model's calls; its parameters and their gradients stay as they are.
        names: layers.
        objective: "logits", "hidden" or "pooled".
        seed: of labels and noise.
    """
    model, last = streams.model, len(streams.blocks) - 1
    generator = torch.Generator().manual_seed(seed)
    inputs, _ = block_inputs(streams, outputs=False)
    gradients = streams.keep.states()
    found: dict[str, Lazy] = {}
    required = {p: p.requires_grad for p in model.parameters()}
    modes = {m: m.training for m in model.modules()}
    try:
        model.eval()
        for p in required:
            p.requires_grad_(False)
        for number in range(last, -1, -1):
            with resident(model, streams.blocks[number]):
                module = model.get_submodule(streams.blocks[number])
                own = _GradientSums(module, streams.blocks[number], names)
                for i in range(len(streams.batches)):
                    own.mask = streams.masks[i]
                    state = inputs[number][i]
                    if isinstance(state, Tensor) and state.is_floating_point():
                        state = state.detach().requires_grad_()
                    with hooked(own.handles()), torch.enable_grad():
                        out = streams.run(number, module, state, i, grad=True)
                        if number == last:
                            loss = _probe_loss(streams.tail(out, i), own.mask, objective, generator)
                            torch.autograd.backward(loss)
                            del loss
                        else:
                            torch.autograd.backward(out, gradients[i])
                    del out
                    if number == 0:
                        continue
                    if number == last:
                        gradients.append(state.grad)
                    else:
                        gradients[i] = state.grad
                found |= {name: streams.keep.put(value) for name, value in own.means().items()}
    finally:
        for p, needed in required.items():
            p.requires_grad_(needed)
        for module, training in modes.items():
            module.training = training
    return found


class _GradientSums:
    """Sums of g g^T at the outputs of one block's layers."""

    def __init__(self, module: nn.Module, block: str, names: Sequence[str]) -> None:
        self.layers = {
            n: module.get_submodule(inner(block, n)) for n in names if not block or n.startswith(f"{block}.")
        }
        self.mask: Tensor | None = None
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = dict.fromkeys(self.layers, 0)

    def handles(self) -> list[Any]:
        """Hooks that are to be removed after the backward pass."""
        return [layer.register_forward_hook(self._look(name)) for name, layer in self.layers.items()]

    def _look(self, name: str) -> Any:
        def keep(gradient: Tensor) -> None:
            g = gradient.detach()
            flat = g[self.mask] if self.mask is not None and g.shape[:2] == self.mask.shape else g
            flat = flat.reshape(-1, g.shape[-1]).double()
            if flat.shape[1] > WIDEST:
                # One number stands for a wide output: M^2 numbers for every layer would outgrow the model.
                gram = flat.square().sum() / flat.shape[1]
            else:
                gram = (flat.t() @ flat).float()
            self.sums[name] = self.sums[name] + gram if name in self.sums else gram
            self.rows[name] += len(flat)

        def hook(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            if not output.requires_grad:
                # No leaf: models may change what a layer answers in place.
                output = output.detach().requires_grad_().clone()
            torch.Tensor.register_hook(output, keep)  # type: ignore[no-untyped-call]
            return output

        return hook

    def means(self) -> dict[str, Tensor]:
        """Means over rows, of the layers that were reached."""
        return {name: total / max(self.rows[name], 1) for name, total in self.sums.items()}


def block_inputs(streams: Streams, *, outputs: bool) -> tuple[list[Sequence[Any]], States]:
    """The dense model's states at every block's input, and its output tensors where they are wanted."""
    found: list[Sequence[Any]] = [streams.first]
    last = streams.keep.states()
    for number, name in enumerate(streams.blocks):
        final = number + 1 == len(streams.blocks)
        if final and not outputs:
            break
        with resident(streams.model, name):
            states = streams.run_all(number, streams.model.get_submodule(name), found[-1])
        if not final:
            found.append(states)
            continue
        for i in range(len(states)):
            with at_rest(streams.model):
                last.append(output_tensor(streams.tail(states[i], i)))
    return found, last


def divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """KL divergence of the predictions (..., V) from those wanted, per token (...), in float32."""
    one, two = (t.float().log_softmax(-1) for t in (logits, wanted))
    return F.kl_div(one, two, log_target=True, reduction="none").sum(-1)


def distance(output: Any, reference: Tensor, mask: Tensor | None, objective: str) -> float:
    """How far an output is from the dense model's, in the objective's own measure; summed over rows.

    KL divergence of the predictions a token, 1 - cosine of the pooled states a sequence, or the relative
    squared error of the hidden states a token.
    """
    states = output_tensor(output).float()
    if objective == "logits":
        kl = divergence(states, reference)
        return float((kl if mask is None else kl[mask]).sum())
    if objective == "pooled":
        one, two = _pooled(states, mask), _pooled(reference.float(), mask)
        return float((1 - (one.double() * two.double()).sum(-1)).sum())
    error = (states - reference.float()).square().mean(-1) / reference.float().square().mean()
    return float((error if mask is None or error.shape != mask.shape else error[mask]).sum())


class OneAtATime:
    """The objective's distance, a mean over batches, with one layer replaced.

    A layer's stand-in is felt from its block on; what comes before is not run again.

    Args:
        streams: the dense model's calls; the model is as it was after every measurement.
        objective: "logits", "hidden" or "pooled".
    """

    def __init__(self, streams: Streams, objective: str) -> None:
        self.streams, self.objective = streams, objective
        self._inputs, self._references = block_inputs(streams, outputs=True)

    def distances(self, number: int, stand_ins: Mapping[str, nn.Module]) -> dict[str, float]:
        """With each stand-in alone in the place of its layer, all of block `number`."""
        streams = self.streams
        # Where blocks cannot be run on their own there is one, the model.
        number = min(number, len(streams.blocks) - 1)
        block = streams.blocks[number]
        states: dict[str, States] = {}
        with resident(streams.model, block):
            module = streams.model.get_submodule(block)
            for name, stand_in in stand_ins.items():
                dense = module.get_submodule(inner(block, name))
                replace_module(module, inner(block, name), stand_in)
                try:
                    states[name] = streams.run_all(number, module, self._inputs[number])
                finally:
                    replace_module(module, inner(block, name), dense)
        for later in range(number + 1, len(streams.blocks)):
            with resident(streams.model, streams.blocks[later]):
                module = streams.model.get_submodule(streams.blocks[later])
                states = {name: streams.run_all(later, module, s) for name, s in states.items()}
        return {name: self._distance(s) for name, s in states.items()}

    def _distance(self, states: States) -> float:
        total = 0.0
        with at_rest(self.streams.model):
            for i, mask in enumerate(self.streams.masks):
                output = self.streams.tail(states[i], i)
                total += distance(output, self._references[i], mask, self.objective)
        return total / len(self.streams.batches)
