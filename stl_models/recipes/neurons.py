"""Recipe `neurons`: an MLP with fewer hidden neurons, chosen one group after another, the rest refitted.

Optimal brain surgeon for sets (docs/theory.md, section 19, A): with V = W G^(1/2) of the last matrix and P =
C^-1 of its input, the neurons of least |V_i|^2 / P_ii go, V <- V - P_:Q P_QQ^-1 V_Q, P likewise, and the loss
grows by 1/2 tr(V_Q^T P_QQ^-1 V_Q). Plain and gated MLPs alike: producers lose columns, the consumer rows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from stl_models.composites.composite import product
from stl_models.recipes.base import (
    Engine,
    Fit,
    Layer,
    Parameters,
    Shape,
    Site,
    composite,
    corrected_bias,
    register,
)
from stl_models.statistics.moments import Moments


class NeuronsRecipe:
    """Narrower hidden layers; all products stay dense, or go on exact tiles."""

    name = "neurons"
    summary = "fewer neurons in an MLP (optimal brain surgeon, refitted)"
    kind = "neurons"
    slices = True

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        *producers, (hidden, out) = shape.sizes
        step = group_size(hidden, engine.step)
        found: list[tuple[Parameters, float]] = []
        for count in range(step, hidden, step):
            cost = sum(engine.cost(k, count) for k, _ in producers) + engine.cost(count, out)
            found.append(({"neurons": count}, cost))
        return found

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        *producers, (_, out) = shape.sizes
        count = parameters["neurons"]
        return [*((k, count) for k, _ in producers), (count, out)]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        if not choices:
            return []
        consumer = site.layers[-1]
        wanted = sorted({c["neurons"] for c in choices})
        step = min([b - a for a, b in pairwise(wanted)] + [wanted[0]])
        _, losses = removal(consumer, wanted[0], step)
        hidden = consumer.weight.shape[0]
        left = [max(hidden - (i + 1) * step, wanted[0]) for i in range(len(losses))]
        # Where the groups do not meet a count exactly, the loss of the next smaller one bounds it.
        table = [
            next(loss for n, loss in zip(left, losses, strict=True) if n <= c["neurons"]) for c in choices
        ]
        return [consumer.scale * loss for loss in table]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        *producers, consumer = site.layers
        hidden = consumer.weight.shape[0]
        order, _ = removal(consumer, parameters["neurons"], group_size(hidden, engine.step))
        gone = order[: hidden - parameters["neurons"]]
        kept = torch.ones(hidden, dtype=torch.bool)
        kept[gone] = False
        index = kept.nonzero().flatten()
        c = consumer.moments.covariance()
        weight = torch.linalg.solve(c[index][:, index], c[index] @ consumer.weight)
        full = torch.zeros_like(consumer.weight)
        full[index] = weight
        bias = corrected_bias(consumer, full)
        m = consumer.moments
        moments = Moments(m.second[index][:, index], m.mean[index], m.rows)
        narrowed = [_columns(layer, index) for layer in producers]
        narrowed.append(replace(consumer, weight=weight, bias=bias, moments=moments))
        modules = {
            layer.name: composite(layer, product(layer.weight, layer.bias), self.name) for layer in narrowed
        }
        changes = {consumer.name: consumer.weight - full}
        places = {layer.name: (None, None) for layer in narrowed}
        return Fit(modules, changes, tuple(narrowed), dict(places))


def group_size(hidden: int, step: int) -> int:
    """How many neurons go at a time: about a forty-eighth of them, in full tiles."""
    return max(step, hidden // 48 // step * step)


def _columns(layer: Layer, index: Tensor) -> Layer:
    gradient = None if layer.gradient is None else layer.gradient[index][:, index]
    bias = None if layer.bias is None else layer.bias[index]
    return replace(layer, weight=layer.weight[:, index].contiguous(), bias=bias, gradient=gradient)


def removal(consumer: Layer, keep: int, step: int) -> tuple[Tensor, list[float]]:
    """The order in which neurons go until `keep` are left, and the loss after every `step` of them."""
    covariance = consumer.moments.covariance()
    p = torch.linalg.inv(covariance)
    v = consumer.weighted.clone()
    left = torch.arange(len(v))
    order: list[Tensor] = []
    losses: list[float] = []
    total = 0.0
    while len(left) > keep:
        cost = v.square().sum(1) / p.diagonal()
        chosen = cost.argsort(dim=0, stable=True)[: min(step, len(left) - keep)]
        solved = torch.linalg.solve(p[chosen][:, chosen], torch.cat([v[chosen], p[chosen]], dim=1))
        total += 0.5 * float((v[chosen] * solved[:, : v.shape[1]]).sum())
        across = p[:, chosen]
        stay = torch.ones(len(left), dtype=torch.bool)
        stay[chosen] = False
        order.append(left[chosen])
        v = (v - across @ solved[:, : v.shape[1]])[stay]
        p = (p - across @ solved[:, v.shape[1] :])[stay][:, stay]
        left = left[stay]
        losses.append(total)
    return torch.cat(order) if order else left[:0], losses


register(NeuronsRecipe())
