"""Recipe `value-basis`: attention values in fewer dimensions, in the basis that counts for the output.

For every group of heads that share values, A = the pooled centred covariance of their inputs to the output
projection and T = the rows of the projection times G^(1/2), heads side by side: the leading left singular
vectors U of A^(1/2) T give values v A^(-1/2) U and projections U^T A^(1/2) T (docs/theory.md, section 19, B).
Attention adds values up linearly, so both are absorbed by the two layers. The attention between them keeps
its width: the value layer fills up with zeros, which the output layer skips.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stl_models.composites.composite import Scatter, Select, product
from stl_models.recipes.base import (
    Engine,
    Fit,
    Layer,
    Parameters,
    Shape,
    Site,
    corrected_bias,
    placed_composite,
    register,
)
from stl_models.recipes.low_rank import tails
from stl_models.statistics.moments import Moments

Places = tuple[Select | None, Scatter | None]


class ValueBasis:
    """Narrower values; both products stay dense, or go on exact tiles."""

    name = "value-basis"
    summary = "attention values in fewer dimensions, absorbed by v and o"
    kind = "values"
    slices = True

    def sizes(self, shape: Shape, engine: Engine) -> list[tuple[Parameters, float]]:
        (k, _), (_, out) = shape.sizes
        groups, per_group, d = shape.heads
        found: list[tuple[Parameters, float]] = []
        # Eight widths are enough for a curve, and each costs the allocation a decomposition.
        step = max(engine.step, d // 8 // engine.step * engine.step)
        for dims in range(step, d, step):
            cost = engine.cost(k, groups * dims) + engine.cost(groups * per_group * dims, out)
            found.append(({"dimensions": dims}, cost))
        return found

    def parts(self, shape: Shape, parameters: Parameters) -> list[tuple[int, int]]:
        (k, _), (_, out) = shape.sizes
        groups, per_group, _ = shape.heads
        dims = parameters["dimensions"]
        return [(k, groups * dims), (groups * per_group * dims, out)]

    def losses(self, site: Site, choices: list[Parameters], engine: Engine) -> list[float]:
        if not choices:
            return []
        output = site.layers[1]
        left = torch.stack([tails(squares) for squares, _, _ in _bases(site)]).sum(0)
        return [0.5 * output.scale * float(left[c["dimensions"]]) for c in choices]

    def fit(self, site: Site, parameters: Parameters, engine: Engine) -> Fit:
        value, output = site.layers
        assert site.heads is not None
        assert site.sources is not None
        dims = parameters["dimensions"]
        groups, per_group, _ = site.heads.shape
        down = value.weight.new_zeros(value.weight.shape[1], groups * dims)
        # B maps all input channels of the projection to those of the narrow one.
        b = value.weight.new_zeros(output.weight.shape[0], groups * per_group * dims)
        up = b.new_zeros(b.shape[1], b.shape[0])
        # How narrow values amount to dense ones: the gradient at the narrow ones is pulled back through it.
        amount = value.weight.new_zeros(groups * dims, value.weight.shape[1])
        for g, (_, into, back) in enumerate(_bases(site)):
            own = slice(g * dims, (g + 1) * dims)
            # The same values in an orthonormal basis: A^(-1/2) stretches what hardly varies, and short dtypes
            # would round the rest away.
            into, mixed = torch.linalg.qr(into[:, :dims])
            back = mixed @ back[:dims]
            down[site.sources[g], own] = into
            amount[own, site.sources[g]] = back
            for h in range(per_group):
                start = (g * per_group + h) * dims
                b[site.heads[g, h], start : start + dims] = into
                up[start : start + dims, site.heads[g, h]] = back
        new_weight = up @ output.weight
        bias = corrected_bias(output, b @ new_weight)
        m = output.moments
        narrow_value = replace(
            value,
            weight=value.weight @ down,
            bias=None if value.bias is None else value.bias @ down,
            gradient=None if value.gradient is None else amount @ value.gradient.double() @ amount.t(),
        )
        narrow_output = replace(
            output, weight=new_weight, bias=bias, moments=Moments(b.t() @ m.second @ b, m.mean @ b, m.rows)
        )
        select = Select(site.heads[:, :, :dims].reshape(-1), output.weight.shape[0])
        scatter = Scatter(site.sources[:, :dims].reshape(-1), value.weight.shape[1])
        places: dict[str, Places] = {value.name: (None, scatter), output.name: (select, None)}
        modules = {}
        for old, new in ((value, narrow_value), (output, narrow_output)):
            sizes = (old.weight.shape[0], old.weight.shape[1])
            inner = product(new.weight, new.bias)
            modules[old.name] = placed_composite(sizes, inner, places[old.name], self.name)
        changes = {output.name: output.weight - b @ new_weight}
        return Fit(modules, changes, (narrow_value, narrow_output), places)


def _bases(site: Site) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each group: squared singular values (d,), A^(-1/2) U (d, d) and U^T A^(1/2) (d, d)."""
    output: Layer = site.layers[1]
    assert site.heads is not None
    covariance = output.moments.covariance()
    found = []
    for heads in site.heads:
        pooled = torch.stack([covariance[h][:, h] for h in heads]).mean(0)
        values, vectors = torch.linalg.eigh(pooled)
        values = values.clamp(min=1e-12 * float(values.max().clamp(min=1e-300)))
        root = (vectors * values.sqrt()) @ vectors.t()
        inverse = (vectors / values.sqrt()) @ vectors.t()
        seen = root @ torch.cat([output.weighted[h] for h in heads], dim=1)
        squares, u = torch.linalg.eigh(seen @ seen.t())
        squares, u = squares.flip(0).clamp(min=0), u.flip(1)
        found.append((squares, inverse @ u, u.t() @ root))
    return found


register(ValueBasis())
