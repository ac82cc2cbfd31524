"""What STL layers are compared with, fewer multiplications the plain ways: a narrower model, low rank."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.structure.modules import find_structure, replace_module
from stl_models.training.counting import Multiplications, count
from stl_models.vision.t2t import T2TConfig, T2TViT


def low_rank_linears_(model: nn.Module, ratio: float, skip: tuple[str, ...] = ()) -> dict[str, nn.Module]:
    """Replace linear layers (K, M) by two of inner width q, the largest with q (K + M) <= K M / ratio.

    Drawn so that outputs start with the dense layer's variance for white inputs: the first factor keeps
    variances, the second has the dense weights' variance times K / q.

    Returns:
        Name to the new layer.

    Raises:
        InvalidInput: a ratio below 1, nothing to replace, or a layer too small for it.
    """
    if not ratio >= 1:
        raise InvalidInput("ratio", expected="a number of at least 1", got=ratio)
    found = find_structure(model, skip, everything=True).linears
    if not found:
        raise InvalidInput("model", expected="linear layers", got="none that are not skipped or tied")
    made: dict[str, nn.Module] = {}
    for name, (inner, columns) in found.items():
        rank = int(inner * columns / ratio / (inner + columns))
        if rank < 1:
            raise InvalidInput("ratio", expected=f"one that leaves {name} a rank of 1", got=ratio)
        dense = model.get_submodule(name)
        made[name] = _two_factors(dense, inner, columns, rank)
        replace_module(model, name, made[name])
    return made


@torch.no_grad()
def _two_factors(dense: nn.Module, inner: int, columns: int, rank: int) -> nn.Sequential:
    weight, bias = dense.weight, dense.bias
    assert isinstance(weight, Tensor)
    place = {"device": weight.device, "dtype": weight.dtype}
    first = nn.Linear(inner, rank, bias=False, **place)
    second = nn.Linear(rank, columns, bias=bias is not None, **place)
    nn.init.normal_(first.weight, std=1 / math.sqrt(inner))
    nn.init.normal_(second.weight, std=math.sqrt(float(weight.square().mean()) * inner / rank))
    if isinstance(bias, Tensor):
        second.bias.copy_(bias)
    return nn.Sequential(first, second)


def narrowed(config: T2TConfig, wanted: int, *, everything: bool = False) -> T2TConfig:
    """The same model with all widths scaled so that it takes about as many multiplications as wanted.

    Depth, heads and splits stay; the width stays a multiple of the heads and of 4, the width between splits
    of 4. The closest such width is taken.

    Args:
        config: of the wide model.
        wanted: multiplications of one image: of the linear layers, or with attention too (`everything`).

    Raises:
        InvalidInput: fewer than the narrowest, or more than the wide model takes.
    """
    step = math.lcm(config.heads, 4)
    size = (1, config.channels, *config.extent)

    def cost(width: int) -> int:
        made = count(T2TViT(_scaled(config, width)), torch.zeros(size))
        return made.everything if everything else made.core

    low, high = 1, config.width // step
    least, most = cost(low * step), cost(high * step)
    if not least <= wanted <= most:
        raise InvalidInput("wanted", expected=f"{least} to {most} multiplications", got=wanted)
    while high - low > 1:
        middle = (low + high) // 2
        if cost(middle * step) <= wanted:
            low = middle
        else:
            high = middle
    closest = min((low, high), key=lambda width: abs(cost(width * step) - wanted))
    return _scaled(config, closest * step)


def _scaled(config: T2TConfig, width: int) -> T2TConfig:
    between = max(4, 4 * round(config.token_width * width / config.width / 4))
    return replace(config, width=width, token_width=between)


def count_image(model: nn.Module, config: T2TConfig) -> Multiplications:
    """Of one image. Rows must not be grouped across the batch: one image would be padded to a tile."""
    return count(model, torch.zeros(1, config.channels, *config.extent))
