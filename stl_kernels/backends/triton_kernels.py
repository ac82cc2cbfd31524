"""The Triton kernels: encode, decode, and a persistent batched GEMM for the core.

Encode and decode are bound by memory: each program owns a stretch of tiles of one tile row, reads every entry
once, multiplies by the small factor on the tensor cores and writes every result once; ragged edges are masked
and a feature permutation is folded into the addresses. The core walks its output tiles with one program per
multiprocessor, in an order that keeps neighbouring programs on the same operand rows (for the L2 cache).

What does not belong here: launching and the choice of block sizes (`stl_kernels.backends.triton`).
"""

# Triton has its own types: what mypy would ask for here is not Python's.
# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _columns(tile, entry, side, tiles, STRIDED: tl.constexpr):
    # Column, before any permutation, of entry j of tile L; see stl_kernels.tiles.
    return entry * tiles + tile if STRIDED else tile * side + entry


@triton.jit
def encode_kernel(
    x,
    factor,
    permutation,
    out,
    rows,
    columns,
    tile_rows,
    tiles,
    rank,
    stride_row,
    stride_column,
    factor_stride_r,
    factor_stride_a,
    N: tl.constexpr,
    K: tl.constexpr,
    STRIDED: tl.constexpr,
    PERMUTED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    tile_row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    size: tl.constexpr = N * K
    for first_r in range(0, rank, BLOCK_R):
        r = first_r + tl.arange(0, BLOCK_R)
        sums = tl.zeros((BLOCK_R, BLOCK_T), dtype=tl.float32)
        for first_a in tl.static_range(0, size, BLOCK_A):
            a = first_a + tl.arange(0, BLOCK_A)
            row = tile_row * N + a // K
            column = _columns(tile[None, :], (a % K)[:, None], K, tiles, STRIDED)
            inside = (
                (a[:, None] < size) & (row[:, None] < rows) & (column < columns) & (tile[None, :] < tiles)
            )
            if PERMUTED:
                column = tl.load(permutation + column, mask=inside, other=0)
            at = row[:, None] * stride_row + column.to(tl.int64) * stride_column
            entries = tl.load(x + at, mask=inside, other=0.0)
            weights = tl.load(
                factor + r[:, None] * factor_stride_r + a[None, :] * factor_stride_a,
                mask=(r[:, None] < rank) & (a[None, :] < size),
                other=0.0,
            )
            sums = tl.dot(weights, entries, sums, input_precision=PRECISION)
        at = (r[:, None].to(tl.int64) * tile_rows + tile_row) * tiles + tile[None, :]
        tl.store(out + at, sums.to(out.dtype.element_ty), mask=(r[:, None] < rank) & (tile[None, :] < tiles))


@triton.jit
def decode_kernel(
    products,
    factor,
    bias,
    permutation,
    out,
    rows,
    columns,
    tiles,
    rank,
    stride_r,
    stride_i,
    stride_j,
    factor_stride_y,
    factor_stride_r,
    N: tl.constexpr,
    M: tl.constexpr,
    STRIDED: tl.constexpr,
    PERMUTED: tl.constexpr,
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_T: tl.constexpr,
):
    tile_row = tl.program_id(0).to(tl.int64)
    tile = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    size: tl.constexpr = N * M
    for first_y in tl.static_range(0, size, BLOCK_Y):
        y = first_y + tl.arange(0, BLOCK_Y)
        sums = tl.zeros((BLOCK_Y, BLOCK_T), dtype=tl.float32)
        for first_r in range(0, rank, BLOCK_R):
            r = first_r + tl.arange(0, BLOCK_R)
            at = r[:, None].to(tl.int64) * stride_r + tile_row * stride_i + tile[None, :] * stride_j
            entries = tl.load(products + at, mask=(r[:, None] < rank) & (tile[None, :] < tiles), other=0.0)
            weights = tl.load(
                factor + y[:, None] * factor_stride_y + r[None, :] * factor_stride_r,
                mask=(y[:, None] < size) & (r[None, :] < rank),
                other=0.0,
            )
            sums = tl.dot(weights, entries, sums, input_precision=PRECISION)
        row = tile_row * N + y // M
        column = _columns(tile[None, :], (y % M)[:, None], M, tiles, STRIDED)
        inside = (y[:, None] < size) & (row[:, None] < rows) & (column < columns) & (tile[None, :] < tiles)
        if PERMUTED:
            column = tl.load(permutation + column, mask=inside, other=0)
        if BIASED:
            sums += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
        at = row[:, None] * columns + column
        tl.store(out + at, sums.to(out.dtype.element_ty), mask=inside)


@triton.jit
def core_kernel(
    a,
    b,
    c,
    rank,
    size_i,
    size_j,
    size_l,
    a_stride_r,
    a_stride_i,
    a_stride_l,
    b_stride_r,
    b_stride_l,
    b_stride_j,
    programs,
    PRECISION: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_L: tl.constexpr,
    GROUP: tl.constexpr,
):
    count_i = tl.cdiv(size_i, BLOCK_I)
    count_j = tl.cdiv(size_j, BLOCK_J)
    per_product = count_i * count_j
    for job in range(tl.program_id(0), rank * per_product, programs):
        r = (job // per_product).to(tl.int64)
        place = job % per_product
        first = place // (GROUP * count_j) * GROUP
        height = tl.minimum(count_i - first, GROUP)
        block_i = first + place % (GROUP * count_j) % height
        block_j = place % (GROUP * count_j) // height
        i = block_i * BLOCK_I + tl.arange(0, BLOCK_I)
        j = block_j * BLOCK_J + tl.arange(0, BLOCK_J)
        sums = tl.zeros((BLOCK_I, BLOCK_J), dtype=tl.float32)
        for first_l in range(0, size_l, BLOCK_L):
            l = first_l + tl.arange(0, BLOCK_L)
            left = tl.load(
                a + r * a_stride_r + i[:, None].to(tl.int64) * a_stride_i + l[None, :] * a_stride_l,
                mask=(i[:, None] < size_i) & (l[None, :] < size_l),
                other=0.0,
            )
            right = tl.load(
                b + r * b_stride_r + l[:, None].to(tl.int64) * b_stride_l + j[None, :] * b_stride_j,
                mask=(l[:, None] < size_l) & (j[None, :] < size_j),
                other=0.0,
            )
            sums = tl.dot(left, right, sums, input_precision=PRECISION)
        at = (r * size_i + i[:, None]) * size_j + j[None, :]
        tl.store(c + at, sums.to(c.dtype.element_ty), mask=(i[:, None] < size_i) & (j[None, :] < size_j))
