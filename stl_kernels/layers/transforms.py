"""The ops that layers use under torch's function transforms (vmap, jvp, grad) and forward derivatives.

Ops registered with torch.library have no forward derivatives and no batching rule: jvp would silently leave a
layer out. Where a transform is at work the op's definition runs instead, in plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from stl_kernels import ops
from stl_kernels.contract.calls import Encode, Linear
from stl_kernels.contract.tiles import from_tiles, to_tiles


def linear(*arguments: Any) -> Tensor:
    """`ops.linear`, or its definition under a function transform; arguments are those of `calls.Linear`."""
    if torch.compiler.is_compiling() or not _transformed():
        out: Tensor = ops.linear(*arguments)
        return out
    call = Linear(*arguments)
    call.check()
    encoded = torch.einsum("ra,ial->ril", call.encode_x, to_tiles(call.x, call.into))
    products = torch.einsum("ril,rlj->rij", encoded, call.encoded_w)
    tiles = torch.einsum("yr,rij->iyj", call.decode, products)
    # No bias in `from_tiles`, which writes it in place: transforms know no out=.
    y = from_tiles(tiles, call.x.shape[0], call.columns, call.onto)
    return y if call.bias is None else y + call.bias


def encode(*arguments: Any) -> Tensor:
    """`ops.encode`, or its definition under a function transform; arguments are those of `calls.Encode`."""
    if torch.compiler.is_compiling() or not _transformed():
        out: Tensor = ops.encode(*arguments)
        return out
    call = Encode(*arguments)
    call.check()
    return torch.einsum("ra,ial->ril", call.factor, to_tiles(call.x, call.cut))


def _transformed() -> bool:
    stack: Any = torch._C._functorch.peek_interpreter_stack()
    return stack is not None or forward_ad._current_level >= 0
