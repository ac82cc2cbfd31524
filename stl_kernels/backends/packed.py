"""Encoded weights in the order that oneDNN reads, and the core as one grouped convolution with them.

With the encoded rows in memory as (I, r, L), the r core products are a 1 x 1 convolution of r groups over an
image of height I, channels last: one call, operands in place, the result as (I, r, J), which is what decoding
reads. oneDNN is a tenth faster at it than the batched GEMM, once it has the weights in blocks of its own.
Rearranging them costs more than one product saves, so the blocks are kept for as long as the weights live
and hold the same values, and only for weights that the caller calls constant. They take as much memory as the
weights: `unpacked` does without.

What does not belong here: encoding, decoding and blocks of tile rows (`cpu`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

#: Tile rows of the image, the first whose operands fit in so many bytes, else the last. oneDNN's order of the
#: weights depends on the height, and weights in an order that another one asks for are rearranged at every
#: call, so layers have one each. These were the fastest of 64 to 256 for layers from 384 to 4096 wide.
_HEIGHTS, _ROOM = (256, 128), 32 << 20
#: Tiles of a side are channels of the convolution: whole vectors of them, or oneDNN takes a slow path.
_VECTOR = 16
_SAMPLES = 4096
_packing: ContextVar[bool] = ContextVar("packing", default=True)
# torch does not say its types.
_kept: Any = WeakTensorKeyDictionary()
_mkldnn: Any = torch.backends.mkldnn
_lock = threading.Lock()


@contextmanager
def unpacked() -> Iterator[None]:
    """Inside, no CPU layer of this thread keeps a second copy of its weights; what was kept is given back.

    Outside, a copy is made anew as soon as the weights are changed by torch, replaced or loaded. Writing to
    few entries through `.data` or from numpy raises no version and may go unnoticed; to most it does not.
    """
    token = _packing.set(False)
    with _lock:
        _kept.clear()
    try:
        yield
    finally:
        _packing.reset(token)


def is_constant(encoded_w: Tensor) -> bool:
    """Whether a layer's weights will be used again as they are: no gradient is asked for them.

    A tensor that stands in for the parameter (`functional_call`, a parametrisation) is another at every call.
    """
    return isinstance(encoded_w, nn.Parameter) and not (torch.is_grad_enabled() and encoded_w.requires_grad)


@dataclass(frozen=True)
class Packed:
    """Encoded weights (r, L, J) for `core`, and what they were packed from."""

    blocks: Tensor
    version: int
    address: int
    samples: Tensor
    height: int

    def holds(self, encoded_w: Tensor) -> bool:
        """Whether the weights still have the values that were packed."""
        # Writing through `.data` or from numpy raises no version, hence the samples.
        return (
            self.version == encoded_w._version
            and self.address == encoded_w.data_ptr()
            and torch.equal(self.samples, _samples(encoded_w))
        )

    def core(self, encoded_x: Tensor) -> Tensor:
        """encoded_x (I, r, L), contiguous, to the products (I, r, J); I is the height."""
        height, rank, _ = encoded_x.shape
        image = encoded_x.view(1, height, 1, -1).permute(0, 3, 1, 2)
        products: Tensor = torch.ops.mkldnn._convolution_pointwise(
            image, self.blocks, None, [0, 0], [1, 1], [1, 1], rank, "none", [], ""
        )
        return products.permute(0, 2, 3, 1).view(height, rank, -1)


def packed(encoded_w: Tensor, tile_rows: int) -> Packed | None:
    """The packed form of weights (r, L, J) that are constant, kept or made now; None where it does not pay.

    For few tile rows reading the weights takes the time, and the batched GEMM reads them as fast. Decided by
    shapes and types alone, so that a layer adds in the same order every time.
    """
    if not (_packing.get() and 2 * tile_rows >= _height(encoded_w) and _fits(encoded_w)):
        return None
    with _lock:
        kept: Packed | None = _kept.get(encoded_w)
        if kept is None or not kept.holds(encoded_w):
            kept = _pack(encoded_w)
            _kept[encoded_w] = kept
    return kept


def _fits(encoded_w: Tensor) -> bool:
    rank, tiles_in, tiles_out = encoded_w.shape
    return (
        encoded_w.dtype == torch.float32
        and encoded_w.is_contiguous()
        # Tensors made in inference mode do not count their versions.
        and not encoded_w.is_inference()
        and rank > 1
        and tiles_in % _VECTOR == 0
        and tiles_out % _VECTOR == 0
        and bool(_mkldnn.is_available() and _mkldnn.enabled)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
    )


def _height(encoded_w: Tensor) -> int:
    rank, tiles_in, tiles_out = encoded_w.shape
    row = rank * (tiles_in + tiles_out) * encoded_w.element_size()
    return next((height for height in _HEIGHTS if height * row <= _ROOM), _HEIGHTS[-1])


def _samples(encoded_w: Tensor) -> Tensor:
    entries = encoded_w.detach().view(-1)
    # An odd step meets every column sooner or later.
    return entries[:: max(entries.numel() // _SAMPLES, 1) | 1].clone()


@torch.no_grad()
def _pack(encoded_w: Tensor) -> Packed:
    rank, tiles_in, tiles_out = encoded_w.shape
    kernels = encoded_w.detach().transpose(1, 2).reshape(rank * tiles_out, tiles_in, 1, 1)
    height = _height(encoded_w)
    size = [1, rank * tiles_in, height, 1]
    blocks = torch.ops.mkldnn._reorder_convolution_weight(kernels, [0, 0], [1, 1], [1, 1], rank, size)
    return Packed(blocks, encoded_w._version, encoded_w.data_ptr(), _samples(encoded_w), height)
