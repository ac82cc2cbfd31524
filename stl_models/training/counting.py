"""Multiplications of one forward pass of any model, whatever its linear layers are.

A multiplication with its addition counts as one, as in tables of vision models, where it is called a FLOP.
Norms, activations and the position embedding are left out, also as there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from stl_kernels import STLLinear
from stl_kernels.layers.costs import costs
from stl_kernels.layers.row_groups import group_rows
from stl_models.structure.tracing import at_rest


@dataclass(frozen=True)
class Multiplications:
    """What one forward pass takes.

    Attributes:
        core: of the linear layers: K M a row of a dense one; r products a tile triple of an STL one, padded
            rows and columns included.
        moved: for encoding the rows and decoding the results of STL layers.
        other: products of matrices outside linear layers: attention.
        parameters: numbers that are trained.
    """

    core: int
    moved: int
    other: int
    parameters: int

    @property
    def everything(self) -> int:
        """core + moved + other."""
        return self.core + self.moved + self.other

    def as_json(self) -> dict[str, Any]:
        """Plain values, the sum included."""
        return {**asdict(self), "everything": self.everything}


def ratios(dense: Multiplications, other: Multiplications) -> dict[str, float]:
    """How many times less: "core" of the linear layers' products, "everything" of all that is counted."""
    return {"core": dense.core / other.core, "everything": dense.everything / other.everything}


@torch.no_grad()
def count(model: nn.Module, *inputs: Tensor) -> Multiplications:
    """Run the model once and count; it is left as it was.

    Args:
        model: any module.
        inputs: of its forward. Where STL layers group rows across the batch, the counts are of this batch.
    """
    core = moved = dense = 0

    def linear(layer: nn.Linear, given: tuple[Tensor, ...], _: Any) -> None:
        nonlocal core, dense
        products = given[0].numel() * layer.out_features
        core, dense = core + products, dense + products

    def tiles(layer: STLLinear, given: tuple[Tensor, ...], _: Any) -> None:
        nonlocal core, moved
        rows = group_rows(given[0], layer.tile.n, layer.options.row_grouping, layer.options.batch_axis)[0]
        blocks = -(-len(rows) // layer.tile.n)
        cost = costs(layer.tile, layer.rank, layer.in_features, layer.out_features)
        core += blocks * cost.numbers
        inner, columns = layer.encoded_w.shape[1:]
        moved += blocks * layer.rank * (layer.tile.x_size * inner + layer.tile.y_size * columns)

    handles = []
    for module in model.modules():
        if isinstance(module, STLLinear):
            handles.append(module.register_forward_hook(tiles))
        elif isinstance(module, nn.Linear):
            handles.append(module.register_forward_hook(linear))
    counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
    try:
        with at_rest(model), counter:
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    # The layers' ops are opaque to torch's counter: what it saw is dense layers and attention.
    return Multiplications(core, moved, counter.get_total_flops() // 2 - dense, parameters)


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    # Shapes (batch, heads, tokens, width).
    return int(2 * math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1]))


#: torch counts attention on GPUs; its operation on processors is unknown to it.
_ATTENTION: dict[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
}
