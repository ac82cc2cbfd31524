"""Attention and what T2T-ViT puts around it: the transformer layer, and the two that shorten a sequence.

What does not belong here: the soft splits and the model (`t2t`).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stl_algebra.errors import InvalidInput


class MLP(nn.Module):
    """Two linear layers with a GELU between: (..., width) to (..., width)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(F.gelu(self.up(x)))
        return out


class Block(nn.Module):
    """A transformer layer, normalised first, no bias in queries, keys and values: (B, T, width) to the same.

    Raises:
        InvalidInput: the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        if width % heads:
            raise InvalidInput("heads", expected=f"a divisor of the width {width}", got=heads)
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(self.before_attention(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)
        x = x + self.project(mixed)
        out: Tensor = x + self.mlp(self.before_mlp(x))
        return out


class TokensToTokens(nn.Module):
    """One attention layer that also changes the width, (B, T, into) to (B, T, width), with one head.

    The values, not the inputs, are carried around the attention, as the widths differ (Yuan et al. 2021,
    arXiv 2101.11986, section 3.1 and its published implementation).

    Args:
        into: width of the tokens that come in.
        width: of those that go out.
        kind: "transformer", softmax attention, quadratic in T; or "performer", linear in T: positive random
            features of the exponential kernel (Choromanski et al. 2021, arXiv 2009.14794), width // 2 of
            them, drawn once and kept in the buffer `directions` (width // 2, width).

    Raises:
        InvalidInput: there is no such kind.
    """

    directions: Tensor | None

    def __init__(self, into: int, width: int, kind: str) -> None:
        super().__init__()
        if kind not in ("performer", "transformer"):
            raise InvalidInput("tokens", expected="performer or transformer", got=repr(kind))
        self.before_attention = nn.LayerNorm(into)
        self.qkv = nn.Linear(into, 3 * width, bias=kind == "performer")
        self.project = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, width)
        self.register_buffer("directions", _directions(width) if kind == "performer" else None)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.before_attention(x)).chunk(3, dim=-1)
        if self.directions is None:
            mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        else:
            mixed = self._linear_attention(q, k, v, self.directions)
        x = v + self.project(mixed)
        out: Tensor = x + self.mlp(self.before_mlp(x))
        return out

    @staticmethod
    def _linear_attention(q: Tensor, k: Tensor, v: Tensor, directions: Tensor) -> Tensor:
        queries, keys = (_features(z, directions) for z in (q, k))
        values = torch.einsum("btm,btd->bmd", keys, v.to(keys))
        weights = (queries * keys.sum(1, keepdim=True)).sum(-1, keepdim=True)
        return (torch.einsum("btm,bmd->btd", queries, values) / (weights + 1e-8)).to(v)


def _features(x: Tensor, directions: Tensor) -> Tensor:
    """exp(w.x - |x|^2 / 2) / sqrt(m) for the m directions w: inner products estimate exp(q.k).

    In float32 also under autocast: the exponents differ by more than half precision holds.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        exponent = torch.einsum("btd,md->btm", x, directions.to(x)) - x.square().sum(-1, keepdim=True) / 2
        return exponent.exp() / math.sqrt(directions.shape[0])


def _directions(width: int) -> Tensor:
    """Orthogonal rows (m, width) of length sqrt(m), m = width // 2."""
    count = max(width // 2, 1)
    rows = torch.empty(count, width)
    nn.init.orthogonal_(rows)
    return rows * math.sqrt(count)
