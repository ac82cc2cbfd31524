"""The Triton kernels: encode, decode, and a persistent batched GEMM for the core.

Encode and decode are bound by memory: each program owns a stretch of tiles of one tile row, reads every entry
once, multiplies by the small factor on the tensor cores and writes every result once; ragged edges are masked
and a feature permutation is folded into the addresses. The core walks its output tiles with one program per
multiprocessor, in an order that keeps neighbouring programs on the same operand rows (for the L2 cache).
Core and decode in one: each program owns a block of output tiles, makes one product of it after the other and
adds each to all entries of the tiles, which stay in registers until the one write; no product goes to memory.

What does not belong here: launching and the choice of block sizes (`stl_kernels.backends.triton`).
"""

# Triton has its own types: what mypy would ask for here is not Python's.
# mypy: disable-error-code="no-untyped-def,untyped-decorator"
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _columns(tile, entry, side, tiles, STRIDED: tl.constexpr):
    # Column, before any permutation, of entry j of tile L; see stl_kernels.contract.tiles.
    return entry * tiles + tile if STRIDED else tile * side + entry


@triton.jit
def _store_entries(
    out,
    sums,
    bias,
    permutation,
    y,
    tile_row,
    tile,
    rows,
    columns,
    tiles,
    N: tl.constexpr,
    M: tl.constexpr,
    STRIDED: tl.constexpr,
    PERMUTED: tl.constexpr,
    BIASED: tl.constexpr,
):
    # Entry y of output tile (tile_row, tile), with the bias, to its place in out (rows, columns), contiguous;
    # the three indices broadcast to the shape of sums.
    row = tile_row * N + y // M
    column = _columns(tile, y % M, M, tiles, STRIDED)
    in_columns = (y < N * M) & (column < columns) & (tile < tiles)
    if PERMUTED:
        column = tl.load(permutation + column, mask=in_columns, other=0)
    if BIASED:
        sums += tl.load(bias + column, mask=in_columns, other=0.0).to(tl.float32)
    at = row.to(tl.int64) * columns + column
    tl.store(out + at, sums.to(out.dtype.element_ty), mask=in_columns & (row < rows))


@triton.jit
def _stretch(job, tiles, BLOCK_T: tl.constexpr):
    # Tile row and first tile of the stretch that job number `job` owns: neighbours lie side by side.
    stretches = tl.cdiv(tiles, BLOCK_T)
    return (job // stretches).to(tl.int64), job % stretches * BLOCK_T


@triton.jit
def _block(job, count_i, count_j, GROUP: tl.constexpr):
    # Row and column of the block that job number `job` makes: GROUP block rows are walked together.
    first = job // (GROUP * count_j) * GROUP
    height = tl.minimum(count_i - first, GROUP)
    place = job % (GROUP * count_j)
    return first + place % height, place // height


@triton.jit
def _product(
    a,
    b,
    i,
    j,
    size_i,
    size_j,
    size_l,
    a_stride_i,
    a_stride_l,
    b_stride_l,
    b_stride_j,
    PRECISION: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_L: tl.constexpr,
):
    # Rows i and columns j of the product of the matrices at a and b, in float32. Offsets are 64 bits wide: an
    # encoded operand may hold more than 2^31 numbers.
    l = tl.arange(0, BLOCK_L)
    at_a = a + i[:, None].to(tl.int64) * a_stride_i + l[None, :].to(tl.int64) * a_stride_l
    at_b = b + l[:, None].to(tl.int64) * b_stride_l + j[None, :].to(tl.int64) * b_stride_j
    sums = tl.zeros((BLOCK_I, BLOCK_J), dtype=tl.float32)
    for first_l in range(0, size_l, BLOCK_L):
        left = tl.load(at_a, mask=(i[:, None] < size_i) & (first_l + l[None, :] < size_l), other=0.0)
        right = tl.load(at_b, mask=(first_l + l[:, None] < size_l) & (j[None, :] < size_j), other=0.0)
        sums = tl.dot(left, right, sums, input_precision=PRECISION)
        at_a += BLOCK_L * a_stride_l
        at_b += BLOCK_L * b_stride_l
    return sums


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
    tile_row, first_tile = _stretch(tl.program_id(0), tiles, BLOCK_T)
    tile = first_tile + tl.arange(0, BLOCK_T)
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
    tile_row, first_tile = _stretch(tl.program_id(0), tiles, BLOCK_T)
    tile = first_tile + tl.arange(0, BLOCK_T)
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
        _store_entries(
            *(out, sums, bias, permutation, y[:, None], tile_row, tile[None, :], rows, columns, tiles),
            *(N, M, STRIDED, PERMUTED, BIASED),
        )


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
        block_i, block_j = _block(job % per_product, count_i, count_j, GROUP)
        i = block_i * BLOCK_I + tl.arange(0, BLOCK_I)
        j = block_j * BLOCK_J + tl.arange(0, BLOCK_J)
        sums = _product(
            *(a + r * a_stride_r, b + r * b_stride_r, i, j, size_i, size_j, size_l),
            *(a_stride_i, a_stride_l, b_stride_l, b_stride_j),
            *(PRECISION, BLOCK_I, BLOCK_J, BLOCK_L),
        )
        at = (r * size_i + i[:, None]) * size_j + j[None, :]
        tl.store(c + at, sums.to(c.dtype.element_ty), mask=(i[:, None] < size_i) & (j[None, :] < size_j))


@triton.jit
def core_decode_kernel(
    a,
    b,
    factor,
    bias,
    out,
    rank,
    size_i,
    size_j,
    size_l,
    rows,
    columns,
    a_stride_r,
    a_stride_i,
    a_stride_l,
    b_stride_r,
    b_stride_l,
    b_stride_j,
    factor_stride_y,
    factor_stride_r,
    N: tl.constexpr,
    M: tl.constexpr,
    STRIDED: tl.constexpr,
    BIASED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_Y: tl.constexpr,
    BLOCK_I: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_L: tl.constexpr,
    GROUP: tl.constexpr,
):
    block_i, block_j = _block(tl.program_id(0), tl.cdiv(size_i, BLOCK_I), tl.cdiv(size_j, BLOCK_J), GROUP)
    i = block_i * BLOCK_I + tl.arange(0, BLOCK_I)
    j = block_j * BLOCK_J + tl.arange(0, BLOCK_J)
    # Tiles with more entries than registers hold are done in several passes over the products.
    y = tl.program_id(1) * BLOCK_Y + tl.arange(0, BLOCK_Y)
    entries = tl.zeros((BLOCK_Y, BLOCK_I, BLOCK_J), dtype=tl.float32)
    for _ in range(rank):
        product = _product(
            *(a, b, i, j, size_i, size_j, size_l, a_stride_i, a_stride_l, b_stride_l, b_stride_j),
            *(PRECISION, BLOCK_I, BLOCK_J, BLOCK_L),
        )
        weights = tl.load(factor + y * factor_stride_y, mask=y < N * M, other=0.0).to(tl.float32)
        entries += weights[:, None, None] * product[None, :, :]
        a += a_stride_r
        b += b_stride_r
        factor += factor_stride_r
    _store_entries(
        *(out, entries, bias, out, y[:, None, None], i[None, :, None], j[None, None, :]),
        *(rows, columns, size_j, N, M, STRIDED, False, BIASED),
    )
