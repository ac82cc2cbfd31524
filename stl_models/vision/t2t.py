"""T2T-ViT (Yuan et al. 2021, arXiv 2101.11986): overlapping splits to tokens, then a narrow ViT.

What does not belong here: training, and which kind of linear layers the model has (`stl_models.training`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput
from stl_models.vision.tokens import Block, TokensToTokens


@dataclass(frozen=True)
class T2TConfig:
    """Sizes of a T2T-ViT; the defaults are T2T-ViT-7's.

    Attributes:
        size: height and width of the images in pixels, or (height, width).
        classes: of the head.
        width, depth, heads: of the backbone. hidden: of its MLPs, as a multiple of the width.
        token_width: of the tokens between the soft splits.
        splits: (kernel, stride, padding) in pixels or tokens of every soft split; a tokens-to-tokens layer
            stands between each two.
        tokens: the attention of those layers, "performer" or "transformer".
        pooling: "class", a token of its own as in the paper, or "mean" over the tokens, which keeps the
            number of tokens a multiple of a tile's rows.
        channels: of the images.
    """

    size: int | tuple[int, int] = 224
    classes: int = 1000
    width: int = 256
    depth: int = 7
    heads: int = 4
    hidden: float = 2.0
    token_width: int = 64
    splits: tuple[tuple[int, int, int], ...] = ((7, 4, 2), (3, 2, 1), (3, 2, 1))
    tokens: str = "performer"
    pooling: str = "class"
    channels: int = 3

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the images."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def grids(self) -> list[tuple[int, int]]:
        """Height and width in tokens after every split.

        Raises:
            InvalidInput: the images are too small for the splits.
        """
        grid, found = self.extent, []
        for kernel, stride, padding in self.splits:
            grid = tuple((side + 2 * padding - kernel) // stride + 1 for side in grid)  # type: ignore[assignment]
            found.append(grid)
        if min(grid) < 1:
            raise InvalidInput("size", expected="images large enough for every split", got=str(self.extent))
        return found


class T2TViT(nn.Module):
    """Images (B, channels, height, width) to logits (B, classes).

    The position embedding is the fixed sinusoid of Vaswani et al. 2017. Linear layers are drawn from a
    normal distribution of standard deviation .02 cut off at two, biases are zero.

    Raises:
        InvalidInput: sizes that do not fit together.
    """

    positions: Tensor

    def __init__(self, config: T2TConfig) -> None:
        super().__init__()
        if config.pooling not in ("class", "mean"):
            raise InvalidInput("pooling", expected="class or mean", got=repr(config.pooling))
        if config.classes < 2:
            raise InvalidInput("classes", expected="at least two", got=config.classes)
        self.config = config
        self.grids = config.grids()
        between = []
        width = config.channels
        for kernel, _, _ in config.splits[:-1]:
            between.append(TokensToTokens(width * kernel**2, config.token_width, config.tokens))
            width = config.token_width
        self.tokens = nn.ModuleList(between)
        self.embed = nn.Linear(width * config.splits[-1][0] ** 2, config.width)
        hidden = round(config.hidden * config.width)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, hidden) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.classes)
        with_class = config.pooling == "class"
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width)) if with_class else None
        count = math.prod(self.grids[-1]) + with_class
        self.register_buffer("positions", sinusoid(count, config.width), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=0.02, a=-0.04, b=0.04)

    def forward(self, images: Tensor) -> Tensor:
        """Raises InvalidInput where the images are not (B, channels, height, width) of the configuration."""
        expected = (self.config.channels, *self.config.extent)
        if images.dim() != 4 or tuple(images.shape[1:]) != expected:
            raise InvalidInput(
                "images", expected=f"shape (B, *{expected})", got=f"shape {tuple(images.shape)}"
            )
        x = images
        for number, (split, grid) in enumerate(zip(self.config.splits, self.grids, strict=True)):
            kernel, stride, padding = split
            rows = F.unfold(x, kernel, stride=stride, padding=padding).transpose(1, 2)
            if number == len(self.tokens):
                x = self.embed(rows)
            else:
                x = self.tokens[number](rows).transpose(1, 2).reshape(len(rows), -1, *grid)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1)
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        logits: Tensor = self.head(x.mean(1) if self.class_token is None else x[:, 0])
        return logits


def sinusoid(count: int, width: int) -> Tensor:
    """(1, count, width): sines at even, cosines at odd places, wavelengths from 2 pi to 20000 pi."""
    place = torch.arange(width)
    angle = torch.arange(count)[:, None] / torch.pow(10000.0, 2 * (place // 2) / width)
    return torch.where(place % 2 == 0, angle.sin(), angle.cos())[None]


#: Name -> sizes. The small ones are ours: 16 tokens from images of 32 x 32, for runs on a processor.
MODELS: Mapping[str, T2TConfig] = {
    "t2t-vit-7": T2TConfig(),
    "t2t-vit-14": T2TConfig(width=384, depth=14, heads=6, hidden=3.0),
    "t2t-vit-small-32": T2TConfig(
        size=32, classes=10, width=128, depth=2, token_width=32, splits=((7, 4, 2), (3, 2, 1)), pooling="mean"
    ),
    "t2t-vit-7-32": T2TConfig(size=32, classes=10, splits=((3, 2, 1), (3, 2, 1))),
}


def t2t_config(name: str, changes: Mapping[str, Any]) -> T2TConfig:
    """The sizes of a named model, some changed.

    Raises:
        InvalidInput: there is no such model.
    """
    if name not in MODELS:
        raise InvalidInput("model", expected=f"one of {', '.join(MODELS)}", got=repr(name))
    return replace(MODELS[name], **changes)


def t2t_vit(name: str, **changes: Any) -> T2TViT:
    """A fresh model by name; `changes` are fields of `T2TConfig`.

    Raises:
        InvalidInput: there is no such model, or sizes do not fit together.
    """
    return T2TViT(t2t_config(name, changes))
