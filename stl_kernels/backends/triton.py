"""The Triton backend: launches, block sizes, and which core runs; fp16, bf16, and fp32.

float32 products use tf32 exactly where `torch.get_float32_matmul_precision()` allows it.
The core is the Triton kernel or the vendor's strided-batched GEMM (`torch.bmm`), whichever was measured
faster for the shape on this device (`stl_kernels.autotune`); under Triton's interpreter, the kernel.

What does not belong here: the kernels (`triton_kernels`), measuring and remembering (`stl_kernels.autotune`).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stl_algebra.errors import Unavailable
from stl_kernels import autotune
from stl_kernels.tiles import ceil_div, to_tiles

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# (BLOCK_I, BLOCK_J, BLOCK_L, warps, stages) of the core; the first one also serves the interpreter.
CORE_BLOCKS = ((64, 64, 32, 4, 3), (128, 128, 64, 8, 3), (128, 256, 64, 8, 3), (256, 128, 64, 8, 3))
_GROUP = 8


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python (set TRITON_INTERPRET=1 before it is imported)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


class TritonBackend:
    """Kernels on CUDA tensors, or on CPU tensors under the interpreter."""

    name = "triton"

    def __init__(self) -> None:
        if importlib.util.find_spec("triton") is None:
            raise Unavailable("backend 'triton' needs the package triton, which is not installed")
        from stl_kernels.backends import triton_kernels

        self._kernels: Any = triton_kernels

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if dtype not in _DTYPES:
            return "it computes in float32, float16 and bfloat16"
        if interpreted():
            if dtype == torch.bfloat16:
                return "Triton's interpreter has no bfloat16 product"
            return "" if device.type == "cpu" else "its interpreter takes CPU tensors"
        return "" if device.type == "cuda" else "it takes CUDA tensors (or set TRITON_INTERPRET=1)"

    def encode(
        self, x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        rows, columns = x.shape
        rank, tile_rows, tiles = factor.shape[0], ceil_div(rows, n), ceil_div(columns, k)
        out = x.new_empty(rank, tile_rows, tiles)
        if out.numel():
            block = _tile_block(tiles)
            self._kernels.encode_kernel[(tile_rows, ceil_div(tiles, block))](
                *(x, factor, x if permutation is None else permutation, out),
                *(rows, columns, tile_rows, tiles, rank, *x.stride(), *factor.stride()),
                N=n,
                K=k,
                STRIDED=strided,
                PERMUTED=permutation is not None,
                PRECISION=_precision(x.dtype),
                BLOCK_A=_power(n * k, 64),
                BLOCK_R=_power(rank, 64),
                BLOCK_T=block,
            )
        return out

    def decode(
        self,
        products: Tensor,
        factor: Tensor,
        bias: Tensor | None,
        rows: int,
        columns: int,
        n: int,
        m: int,
        permutation: Tensor | None,
        strided: bool,
    ) -> Tensor:
        rank, tile_rows, tiles = products.shape
        out = products.new_empty(rows, columns)
        if out.numel():
            block = _tile_block(tiles)
            self._kernels.decode_kernel[(tile_rows, ceil_div(tiles, block))](
                *(products, factor, products if bias is None else bias.contiguous()),
                *(products if permutation is None else permutation, out),
                *(rows, columns, tiles, rank, *products.stride(), *factor.stride()),
                N=n,
                M=m,
                STRIDED=strided,
                PERMUTED=permutation is not None,
                BIASED=bias is not None,
                PRECISION=_precision(products.dtype),
                BLOCK_Y=_power(n * m, 64),
                BLOCK_R=_power(rank, 64),
                BLOCK_T=block,
            )
        return out

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        if interpreted():
            return self._core_kernel(encoded_x, encoded_w, CORE_BLOCKS[0])
        candidates: dict[str, Callable[[], Tensor]] = {"vendor": partial(torch.bmm, encoded_x, encoded_w)}
        for blocks in CORE_BLOCKS:
            name = "kernel " + "x".join(map(str, blocks))
            candidates[name] = partial(self._core_kernel, encoded_x, encoded_w, blocks)
        shape = (*encoded_x.shape, encoded_w.shape[2])
        layout = f"{encoded_x.stride(2) == 1}{encoded_w.stride(2) == 1}"
        precision = _precision(encoded_x.dtype)
        key = f"core {'x'.join(map(str, shape))} {encoded_x.dtype} {precision} {layout}"
        return candidates[autotune.fastest(key, encoded_x.device, candidates)]()

    def _core_kernel(
        self, encoded_x: Tensor, encoded_w: Tensor, blocks: tuple[int, int, int, int, int]
    ) -> Tensor:
        rank, size_i, size_l = encoded_x.shape
        size_j = encoded_w.shape[2]
        out = encoded_x.new_empty(rank, size_i, size_j)
        if out.numel():
            jobs = rank * ceil_div(size_i, blocks[0]) * ceil_div(size_j, blocks[1])
            programs = min(jobs, _processors(encoded_x.device))
            self._kernels.core_kernel[(programs,)](
                *(encoded_x, encoded_w, out, rank, size_i, size_j, size_l),
                *(*encoded_x.stride(), *encoded_w.stride(), programs),
                PRECISION=_precision(encoded_x.dtype),
                BLOCK_I=blocks[0],
                BLOCK_J=blocks[1],
                BLOCK_L=blocks[2],
                GROUP=_GROUP,
                num_warps=blocks[3],
                num_stages=blocks[4],
            )
        return out

    def correlate(
        self, encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool
    ) -> Tensor:
        # One (r, I*L) x (I*L, n*k) product with a long inner side: the vendor's split-k GEMM is made for it.
        tiles = to_tiles(x, n, k, permutation, strided).transpose(1, 2).reshape(-1, n * k)
        return encoded.reshape(encoded.shape[0], -1) @ tiles

    def linear(
        self,
        x: Tensor,
        encode_x: Tensor,
        encoded_w: Tensor,
        decode: Tensor,
        bias: Tensor | None,
        columns: int,
        n: int,
        k: int,
        m: int,
        permutation: Tensor | None,
        strided: bool,
    ) -> Tensor:
        products = self.core(self.encode(x, encode_x, n, k, permutation, strided), encoded_w)
        return self.decode(products, decode, bias, x.shape[0], columns, n, m, None, strided)


def _power(size: int, largest: int) -> int:
    """The power of two that covers `size`, from 16 (the least that tl.dot takes) to `largest`."""
    return min(max(16, 1 << (size - 1).bit_length()), largest)


def _tile_block(tiles: int) -> int:
    return _power(tiles, 128)


def _precision(dtype: torch.dtype) -> str:
    if dtype != torch.float32:
        return "tf32"  # Not read for half precision.
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 4
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
