"""The CPU backend: every step a batched GEMM on strided views, over blocks of tile rows.

For one tile row the tiles are a matrix (n*k, L), in place for strided tiles. So encoding is the
batched product factor (r, n*k) times that, over tile rows, decoding likewise, and between them the encoded
operands lie in memory as (I, r, L): each core product reads its rows at stride r*L, which BLAS takes as a
leading dimension. Nothing is transposed. Consecutive
tiles cost one copy in and one copy out, made piecewise so that they stay in the cache. The whole layer runs
in blocks of hundreds of tile rows whose workspace is kept, on huge pages where the system has them: fresh
memory would cost more to touch than to compute in. There is no loop over tiles or over the r products.
Weights that stay constant are kept in oneDNN's order where that is faster (`packed`).

What does not belong here: gradients and checks (`stl_kernels.ops`, `stl_kernels.contract.calls`).
"""

from __future__ import annotations

import mmap
import threading
from contextlib import suppress

import torch
from torch import Tensor

from stl_kernels.backends.base import refuse_fused, register
from stl_kernels.backends.packed import packed
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import Cut, ceil_div, from_tiles, to_tiles

_thread = threading.local()
_HUGE_PAGE = 2 << 20


@register
class CpuBackend:
    """GEMM-shaped implementation for CPU tensors of any float dtype that torch multiplies there.

    Args:
        workspace: bytes of the encoded operand and the products of one block of tile rows.
        large_workspace: the same for layers whose encoded weights are as large; the most that a thread keeps
            between calls.
        least_height: tile rows of a block below which packing the encoded weights costs the core more than
            smaller blocks save.
        chunk: bytes to rearrange at a time: small enough for a last-level cache; smaller ones mean more
            barriers, which cost much on a busy machine.
    """

    name = "cpu"

    def __init__(
        self,
        workspace: int = 128 << 20,
        large_workspace: int = 256 << 20,
        least_height: int = 256,
        chunk: int = 8 << 20,
    ) -> None:
        self.workspace, self.large_workspace = workspace, large_workspace
        self.least_height, self.chunk = least_height, chunk

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        return "" if device.type == "cpu" else "it takes CPU tensors only"

    def encode(self, x: Tensor, factor: Tensor, cut: Cut) -> Tensor:
        tiles = to_tiles(x, cut)
        return torch.bmm(factor.expand(tiles.shape[0], -1, -1), tiles).transpose(0, 1).contiguous()

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor:
        return torch.bmm(encoded_x, encoded_w)

    def decode(
        self, products: Tensor, factor: Tensor, bias: Tensor | None, rows: int, columns: int, cut: Cut
    ) -> Tensor:
        by_row = products.transpose(0, 1)
        tiles = torch.bmm(factor.expand(by_row.shape[0], -1, -1), by_row)
        return from_tiles(tiles, rows, columns, cut, bias)

    def correlate(self, encoded: Tensor, x: Tensor, cut: Cut) -> Tensor:
        by_row = torch.bmm(encoded.transpose(0, 1), to_tiles(x, cut).transpose(1, 2))
        # The sum over tile rows runs in float32 at least; half precision would lose the small terms.
        wide = torch.promote_types(by_row.dtype, torch.float32)
        return by_row.sum(0, dtype=wide).to(by_row.dtype)

    def linear(self, call: Linear) -> Tensor:
        refuse_fused(call, self.name)
        x, encoded_w, n = call.x, call.encoded_w, call.n
        rows, (rank, tiles_in, tiles_out) = x.shape[0], encoded_w.shape
        tile_rows = ceil_div(rows, n)
        out = x.new_empty(rows, call.columns)
        constant = packed(encoded_w, tile_rows) if call.constant else None
        # A large layer may use as much as its weights do: higher blocks read those less often.
        room = max(self.workspace, min(self.large_workspace, encoded_w.numel() * x.element_size()))
        height = self._block_height(tile_rows, rank * (tiles_in + tiles_out) * x.element_size(), room)
        height = height if constant is None else constant.height
        space = self._kept("space", height * rank * (tiles_in + tiles_out), x)
        block = space[: height * rank * tiles_in].view(height, rank, tiles_in)
        for first in range(0, tile_rows, height):
            count = min(height, tile_rows - first)
            encoded = block[:count]
            part = slice(first * n, (first + count) * n)
            self._encode_into(encoded, x[part], call.encode_x, call.into)
            if constant is not None and 2 * count >= height:
                # What lies behind a low block in the workspace is multiplied with it, and cut off.
                by_row = constant.core(block)[:count]
            else:
                products = space[block.numel() :][: count * rank * tiles_out].view(rank, count, tiles_out)
                # A contiguous result: BLAS writes it directly; torch would copy a transposed one into place.
                torch.bmm(encoded.transpose(0, 1), encoded_w, out=products)
                by_row = products.transpose(0, 1)
            self._decode_into(out[part], by_row, call)
        return out

    def _block_height(self, tile_rows: int, bytes_per_row: int, room: int) -> int:
        """Tile rows in a block, so that its encoded operand and products fit in so many bytes."""
        height = max(self.least_height, room // max(bytes_per_row, 1))
        # Blocks of one height, not full ones and a rest that is too low for a good GEMM.
        return max(ceil_div(tile_rows, max(ceil_div(tile_rows, height), 1)), 1)

    def _kept(self, name: str, size: int, like: Tensor) -> Tensor:
        """`size` numbers of `like`'s dtype, uninitialised: this thread's memory of that name, where kept.

        The first touch of fresh memory costs more than the encoding that writes to it, and giving memory back
        interrupts the other threads.
        """
        wanted = size * like.element_size()
        if wanted > max(self.workspace, self.large_workspace):
            return like.new_empty(size)
        kept: Tensor | None = getattr(_thread, name, None)
        if kept is None or kept.numel() < wanted:
            kept = _on_huge_pages(wanted)
            setattr(_thread, name, kept)
        return kept[:wanted].view(like.dtype)

    def _step(self, count: int, bytes_per_row: int) -> int:
        """Tile rows to rearrange at a time: what a cache holds."""
        return min(count, max(self.chunk // max(bytes_per_row, 1), 1))

    def _encode_into(self, out: Tensor, x: Tensor, factor: Tensor, cut: Cut) -> None:
        """Encode x (rows, K) into out (I, r, L)."""
        n, k, permutation, strided = cut
        count, _, tiles = out.shape
        fits = x.shape == (count * n, tiles * k) and x.is_contiguous()
        in_place = strided and permutation is None and fits
        step = count if in_place else self._step(count, n * k * tiles * x.element_size())
        for first in range(0, count, step):
            part = out[first : first + step]
            rows = x[first * n : (first + step) * n]
            if fits and not strided and permutation is None:
                # As `to_tiles`, into kept memory.
                entries = self._kept("tiles", rows.numel(), x).view(-1, n * k, tiles)
                entries.view(-1, n, k, tiles).copy_(rows.view(-1, n, tiles, k).transpose(2, 3))
            else:
                entries = to_tiles(rows, cut)
            torch.bmm(factor.expand(part.shape[0], -1, -1), entries, out=part)

    def _decode_into(self, out: Tensor, products: Tensor, call: Linear) -> None:
        """Decode products (I, r, J) into out (rows, M), a contiguous block of rows."""
        cut, bias = call.onto, call.bias
        n, m, _, strided = cut
        rows, columns = out.shape
        count, _, tiles = products.shape
        fits = (rows, columns) == (count * n, tiles * m)
        in_place = strided and fits
        step = count if in_place else self._step(count, n * m * tiles * out.element_size())
        for first in range(0, count, step):
            part, into = products[first : first + step], out[first * n : (first + step) * n]
            if in_place:
                entries = into.view(-1, n * m, tiles)
            else:
                entries = self._kept("tiles", part.shape[0] * n * m * tiles, out).view(-1, n * m, tiles)
            torch.bmm(call.decode.expand(part.shape[0], -1, -1), part, out=entries)
            if in_place:
                if bias is not None:
                    into.add_(bias)
            elif not fits:
                into.copy_(from_tiles(entries, into.shape[0], columns, cut, bias))
            else:
                # Entries go to their places, with the bias, in one pass.
                source, target = entries.view(-1, n, m, tiles).transpose(2, 3), into.view(-1, n, tiles, m)
                if bias is None:
                    target.copy_(source)
                else:
                    torch.add(source, bias.view(tiles, m), out=target)


def _on_huge_pages(size: int) -> Tensor:
    """`size` bytes, on huge pages where the system has them: fewer addresses to translate."""
    advice = getattr(mmap, "MADV_HUGEPAGE", None)
    if advice is None or size < _HUGE_PAGE:
        return torch.empty(size, dtype=torch.uint8)
    memory = mmap.mmap(-1, size)
    # A kernel without huge pages refuses; the memory is as good as any other then.
    with suppress(OSError):
        memory.madvise(advice)
    return torch.frombuffer(memory, dtype=torch.uint8)
