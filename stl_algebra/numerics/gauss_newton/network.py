"""Regression with a network of dense layers as a least-squares problem, with its Khatri-Rao structure.

What does not belong here: what follows from the structure (`jacobian`), solving, training loops.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.gauss_newton.jacobian import DenseJacobian, Jacobian, Layer, LayeredJacobian
from stl_algebra.numerics.gauss_newton.problem import Gram, Problem


class NetworkProblem(Problem):
    """r = module(inputs) - targets, over the module's trainable parameters.

    The structure is used when every trainable parameter belongs to an nn.Linear that is used once, on
    (n, features) inputs; samples must not influence each other (no batch normalisation in training mode).

    Args:
        module: maps (n, ...) to (n, o) or (n,). It is not changed; `write_back` stores an answer.
        inputs: (n, ...).
        targets: shaped like the module's output.

    Raises:
        InvalidInput: the module has no trainable parameters, mixes dtypes, or targets have another shape.
    """

    def __init__(self, module: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not named:
            raise InvalidInput("module", expected="trainable parameters", got="none")
        if len({p.dtype for p in named.values()}) != 1:
            raise InvalidInput(
                "module", expected="one dtype", got=sorted({str(p.dtype) for p in named.values()})
            )
        self.module, self.inputs, self.targets, self._named = module, inputs, targets, named
        with torch.no_grad():
            shape = module(inputs).shape
        if shape != targets.shape or len(shape) not in (1, 2):
            raise InvalidInput(
                "targets", expected=f"shape {tuple(shape)}", got=f"shape {tuple(targets.shape)}"
            )
        self.outputs = 1 if len(shape) == 1 else shape[1]
        self._linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
        owned = {id(p) for m in self._linear for p in m.parameters(recurse=False)}
        self.structured = all(id(p) in owned for p in named.values()) and self._all_trainable(named)
        super().__init__(torch.cat([p.detach().flatten() for p in named.values()]))
        self.structured = self.structured and self._fits()

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """theta as named parameters."""
        parts: Any = torch.split(theta, [p.numel() for p in self._named.values()])
        return {n: v.reshape(p.shape) for (n, p), v in zip(self._named.items(), parts, strict=True)}

    def shaped(self, theta: Tensor) -> dict[str, Tensor]:
        return self.split(theta)

    def write_back(self, theta: Tensor) -> None:
        """Store theta in the module."""
        with torch.no_grad():
            for name, value in self.split(theta).items():
                self._named[name].copy_(value)

    def residual(self, theta: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(self.module, self.split(theta), (self.inputs,))
        return (out - self.targets).flatten()

    def jacobian(self, theta: Tensor) -> Tensor:
        if self.structured:
            return self._layers(theta).matrix()

        def one(parameters: dict[str, Tensor], sample: Tensor) -> Tensor:
            out: Tensor = torch.func.functional_call(self.module, parameters, (sample.unsqueeze(0),))
            return out.flatten()

        per_sample = torch.func.vmap(torch.func.jacrev(one), in_dims=(None, 0))(
            self.split(theta), self.inputs
        )
        rows = self.inputs.shape[0] * self.outputs
        return torch.cat([per_sample[name].reshape(rows, -1) for name in self._named], dim=1).detach()

    def linearise(self, theta: Tensor) -> Jacobian:
        return self._layers(theta) if self.structured else DenseJacobian(self.jacobian(theta))

    def gram(self, theta: Tensor) -> Gram:
        return Gram("residuals", self._layers(theta).gram())

    def _layers(self, theta: Tensor) -> LayeredJacobian:
        """Run once with hooks that record each dense layer's input and output, in the order of parameters."""
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def record(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            seen[layer] = (args[0].detach(), output)

        hooks = [layer.register_forward_hook(record) for layer in self._linear]
        try:
            with torch.enable_grad():
                parameters = {n: v.detach().requires_grad_(True) for n, v in self.split(theta).items()}
                out: Tensor = torch.func.functional_call(self.module, parameters, (self.inputs,))
                columns = out.reshape(out.shape[0], -1)
                ends = [seen[layer][1] for layer in self._linear]
                slopes = [
                    torch.autograd.grad(columns[:, o].sum(), ends, retain_graph=o + 1 < self.outputs)
                    for o in range(self.outputs)
                ]
        finally:
            for hook in hooks:
                hook.remove()
        return LayeredJacobian(
            tuple(
                Layer(seen[layer][0], torch.stack([s[index] for s in slopes], dim=1), layer.bias is not None)
                for index, layer in enumerate(self._linear)
            )
        )

    def _all_trainable(self, named: dict[str, nn.Parameter]) -> bool:
        # Shared or frozen parameters break the one-block-per-layer layout.
        chosen = {id(p) for p in named.values()}
        listed = [id(p) for m in self._linear for p in m.parameters(recurse=False)]
        return len(listed) == len(set(listed)) and set(listed) == chosen

    def _fits(self) -> bool:
        """Whether every dense layer is used once on a matrix, in an order that matches the parameters."""
        calls: dict[nn.Module, int] = dict.fromkeys(self._linear, 0)
        flat = True

        def count(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal flat
            calls[layer] += 1
            flat = flat and args[0].dim() == 2 and args[0].shape[0] == self.inputs.shape[0]

        hooks = [layer.register_forward_hook(count) for layer in self._linear]
        try:
            with torch.no_grad():
                self.module(self.inputs)
        finally:
            for hook in hooks:
                hook.remove()
        normalised = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.module.modules())
        return flat and not normalised and all(c == 1 for c in calls.values())
