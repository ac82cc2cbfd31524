"""The Triton backend: launches, block sizes, and which core runs; fp16, bf16, and fp32.

float32 products use tf32 exactly where `torch.get_float32_matmul_precision()` allows it.
The core is the Triton kernel or the vendor's strided-batched GEMM (`torch.bmm`), whichever was measured
faster for the shape on this device (`stl_kernels.device.autotune`); under Triton's interpreter, the kernel.
Whether core and decode run in one kernel says `device.fusion`.

What does not belong here: the kernels (`triton_kernels`), measuring and remembering (`device.autotune`).
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
from stl_kernels.backends.base import register
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import TILINGS, Cut, ceil_div, to_tiles
from stl_kernels.device import autotune
from stl_kernels.device.blocks import CORE_BLOCKS, Block, entries_at_once, fused_blocks, power
from stl_kernels.device.fusion import FUSED, TWO_KERNELS, DeviceFacts, fuses

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Block rows that are walked together.
_GROUP = 8


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python (set TRITON_INTERPRET=1 before it is imported)."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def device_facts(device: torch.device) -> DeviceFacts:
    """The facts of this process and device."""
    model = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return DeviceFacts(model, interpreted())


@register
class TritonBackend:
    """Kernels on CUDA tensors, or on CPU tensors under the interpreter.

    Args:
        facts: what the choice of kernels depends on, for a device.
        seconds: how a candidate is timed.
    """

    name = "triton"

    def __init__(
        self,
        facts: Callable[[torch.device], DeviceFacts] | None = None,
        seconds: Callable[[Callable[[], Any]], float] = autotune.seconds,
    ) -> None:
        if importlib.util.find_spec("triton") is None:
            raise Unavailable("backend 'triton' needs the package triton, which is not installed")
        from stl_kernels.backends import triton_kernels

        self._kernels: Any = triton_kernels
        self._facts, self._seconds = facts or device_facts, seconds

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        if dtype not in _DTYPES:
            return "it computes in float32, float16 and bfloat16"
        if interpreted():
            if dtype == torch.bfloat16:
                return "Triton's interpreter has no bfloat16 product"
            return "" if device.type == "cpu" else "its interpreter takes CPU tensors"
        return "" if device.type == "cuda" else "it takes CUDA tensors (or set TRITON_INTERPRET=1)"

    def encode(self, x: Tensor, factor: Tensor, cut: Cut) -> Tensor:
        n, k, permutation, strided = cut
        rows, columns = x.shape
        rank, (tile_rows, tiles) = factor.shape[0], cut.counts(rows, columns)
        out = x.new_empty(rank, tile_rows, tiles)
        if out.numel():
            block = _tile_block(tiles, 128)
            self._kernels.encode_kernel[(tile_rows * ceil_div(tiles, block),)](
                *(x, factor, x if permutation is None else permutation, out),
                *(rows, columns, tile_rows, tiles, rank, *x.stride(), *factor.stride()),
                N=n,
                K=k,
                STRIDED=strided,
                PERMUTED=permutation is not None,
                PRECISION=_precision(x.dtype),
                BLOCK_A=power(n * k, 64),
                BLOCK_R=power(rank, 64),
                BLOCK_T=block,
            )
        return out

    def decode(
        self, products: Tensor, factor: Tensor, bias: Tensor | None, rows: int, columns: int, cut: Cut
    ) -> Tensor:
        n, m, permutation, strided = cut
        rank, tile_rows, tiles = products.shape
        out = products.new_empty(rows, columns)
        if out.numel():
            block = _tile_block(tiles, 256)
            self._kernels.decode_kernel[(tile_rows * ceil_div(tiles, block),)](
                *(products, factor, products if bias is None else bias.contiguous()),
                *(products if permutation is None else permutation, out),
                *(rows, columns, tiles, rank, *products.stride(), *factor.stride()),
                N=n,
                M=m,
                STRIDED=strided,
                PERMUTED=permutation is not None,
                BIASED=bias is not None,
                PRECISION=_precision(products.dtype),
                BLOCK_Y=power(n * m, 64),
                BLOCK_R=power(rank, 64),
                BLOCK_T=block,
                num_warps=8 if block > 128 else 4,
            )
        return out

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        facts = self._facts(encoded_x.device)
        if facts.interpreted:
            return self._core_kernel(encoded_x, encoded_w, CORE_BLOCKS[0])
        candidates: dict[str, Callable[[], Tensor]] = {"vendor": partial(torch.bmm, encoded_x, encoded_w)}
        for block in CORE_BLOCKS:
            candidates[f"kernel {block}"] = partial(self._core_kernel, encoded_x, encoded_w, block)
        layout = f"{encoded_x.stride(2) == 1}{encoded_w.stride(2) == 1}"
        key = f"core {_operands(encoded_x, encoded_w)} {layout}"
        return candidates[autotune.fastest(key, facts.model, candidates, self._seconds)]()

    def _core_kernel(self, encoded_x: Tensor, encoded_w: Tensor, block: Block) -> Tensor:
        rank, size_i, size_l = encoded_x.shape
        size_j = encoded_w.shape[2]
        out = encoded_x.new_empty(rank, size_i, size_j)
        if out.numel():
            jobs = rank * ceil_div(size_i, block.i) * ceil_div(size_j, block.j)
            programs = min(jobs, _processors(encoded_x.device))
            self._kernels.core_kernel[(programs,)](
                *(encoded_x, encoded_w, out, rank, size_i, size_j, size_l),
                *(*encoded_x.stride(), *encoded_w.stride(), programs),
                PRECISION=_precision(encoded_x.dtype),
                BLOCK_I=block.i,
                BLOCK_J=block.j,
                BLOCK_L=block.l,
                GROUP=_GROUP,
                num_warps=block.warps,
                num_stages=block.stages,
            )
        return out

    def correlate(self, encoded: Tensor, x: Tensor, cut: Cut) -> Tensor:
        # One (r, I*L) x (I*L, n*k) product with a long inner side: the vendor's split-k GEMM is made for it.
        tiles = to_tiles(x, cut).transpose(1, 2).reshape(-1, cut.size)
        return encoded.reshape(encoded.shape[0], -1) @ tiles

    def linear(self, call: Linear) -> Tensor:
        encoded = self.encode(call.x, call.encode_x, call.into)
        facts = self._facts(encoded.device)
        measured = None
        if call.fused is None and not facts.interpreted:
            measured = autotune.known(_fusion_key(call, encoded), facts.model)
        fused = fuses(call.fused, measured)
        return self._core_decode(call, encoded) if fused else self._core_then_decode(call, encoded)

    def tune(self, call: Linear) -> bool:
        """Whether core and decode in one kernel are faster for this call, measured now and remembered.

        Raises:
            Unavailable: under the interpreter, whose times mean nothing.
        """
        facts = self._facts(call.x.device)
        if facts.interpreted:
            raise Unavailable("Triton's interpreter is no device to tune for")
        encoded = self.encode(call.x, call.encode_x, call.into)
        candidates: dict[str, Callable[[], Tensor]] = {
            FUSED: partial(self._core_decode, call, encoded),
            TWO_KERNELS: partial(self._core_then_decode, call, encoded),
        }
        key = _fusion_key(call, encoded)
        return autotune.fastest(key, facts.model, candidates, self._seconds) == FUSED

    def _core_then_decode(self, call: Linear, encoded: Tensor) -> Tensor:
        products = self.core(encoded, call.encoded_w)
        return self.decode(products, call.decode, call.bias, call.x.shape[0], call.columns, call.onto)

    def _core_decode(self, call: Linear, encoded: Tensor) -> Tensor:
        blocks, facts = fused_blocks(call.onto.size), self._facts(encoded.device)
        if facts.interpreted:
            return self._core_decode_kernel(call, encoded, blocks[-1])
        candidates: dict[str, Callable[[], Tensor]] = {
            str(block): partial(self._core_decode_kernel, call, encoded, block) for block in blocks
        }
        key = f"blocks of {_fusion_key(call, encoded)}"
        return candidates[autotune.fastest(key, facts.model, candidates, self._seconds)]()

    def _core_decode_kernel(self, call: Linear, encoded: Tensor, block: Block) -> Tensor:
        rank, size_i, size_l = encoded.shape
        size_j, rows, bias = call.encoded_w.shape[2], call.x.shape[0], call.bias
        out = encoded.new_empty(rows, call.columns)
        if out.numel():
            held = entries_at_once(call.onto.size)
            places = ceil_div(size_i, block.i) * ceil_div(size_j, block.j)
            self._kernels.core_decode_kernel[(places, ceil_div(call.onto.size, held))](
                *(encoded, call.encoded_w, call.decode, encoded if bias is None else bias.contiguous(), out),
                *(rank, size_i, size_j, size_l, rows, call.columns),
                *(*encoded.stride(), *call.encoded_w.stride(), *call.decode.stride()),
                N=call.n,
                M=call.m,
                STRIDED=call.strided,
                BIASED=bias is not None,
                PRECISION=_precision(encoded.dtype),
                BLOCK_Y=held,
                BLOCK_I=block.i,
                BLOCK_J=block.j,
                BLOCK_L=block.l,
                GROUP=_GROUP,
                num_warps=block.warps,
                num_stages=block.stages,
            )
        return out


def _operands(encoded_x: Tensor, encoded_w: Tensor) -> str:
    """Sizes and arithmetic of a core product, for a key of measurements."""
    shape = "x".join(map(str, (*encoded_x.shape, encoded_w.shape[2])))
    return f"{shape} {encoded_x.dtype} {_precision(encoded_x.dtype)}"


def _fusion_key(call: Linear, encoded: Tensor) -> str:
    tiling = TILINGS[call.strided]
    return f"core and decode {call.n}x{call.m} {tiling} {_operands(encoded, call.encoded_w)}"


def _tile_block(tiles: int, largest: int) -> int:
    """Tiles of one row in a program; on an H100 128 are fastest for encoding, 256 for decoding."""
    return power(tiles, largest)


def _precision(dtype: torch.dtype) -> str:
    if dtype != torch.float32:
        return "tf32"  # Not read for half precision.
    return "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 4
    return int(torch.cuda.get_device_properties(device).multi_processor_count)
