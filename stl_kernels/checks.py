"""What the ops accept: devices, dtypes and shapes, checked before any kernel starts.

The checks read shapes, dtypes and devices, so they hold for fake tensors and cost no device synchronisation.
What needs values is checked once, where a layer is made; only factors on the CPU, a few hundred numbers, are
read in every call (`check_factors`, not for fake tensors).

What does not belong here: the backends' availability (`stl_kernels.backends`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_kernels.tiles import ceil_div

FLOAT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def check_together(**tensors: Tensor | None) -> None:
    """All given tensors are floating point, of the first one's dtype and on its device."""
    first_name, first = "", None
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise InvalidInput(name, expected="a torch tensor", got=type(tensor).__name__)
        if tensor.dtype not in FLOAT_DTYPES:
            raise InvalidInput(
                name,
                expected="dtype float64, float32, float16 or bfloat16",
                got=str(tensor.dtype),
                hint=f"convert with {name}.float()",
            )
        if first is None:
            first_name, first = name, tensor
            continue
        if tensor.dtype != first.dtype:
            raise InvalidInput(
                name,
                expected=f"the dtype of {first_name}, {first.dtype}",
                got=str(tensor.dtype),
                hint="convert one of them, or run under torch.autocast",
            )
        if tensor.device != first.device:
            raise InvalidInput(
                name, expected=f"the device of {first_name}, {first.device}", got=str(tensor.device)
            )


def check_matrix(name: str, tensor: Tensor, axes: int = 2) -> None:
    """`tensor` has the given number of axes."""
    if tensor.dim() != axes:
        raise InvalidInput(name, expected=f"{axes} axes", got=f"shape {tuple(tensor.shape)}")


def check_sides(**sides: int) -> None:
    """Tile sides are positive."""
    for name, side in sides.items():
        if side < 1:
            raise InvalidInput(name, expected="a tile side of at least 1", got=side)


def check_permutation(permutation: Tensor | None, length: int, device: torch.device) -> None:
    """Index vector of the right length and kind (its values are not read)."""
    if permutation is None:
        return
    if permutation.dtype != torch.int64:
        raise InvalidInput("permutation", expected="dtype int64", got=str(permutation.dtype))
    if permutation.dim() != 1 or permutation.shape[0] != length:
        raise InvalidInput(
            "permutation", expected=f"shape ({length},)", got=f"shape {tuple(permutation.shape)}"
        )
    if permutation.device != device:
        raise InvalidInput("permutation", expected=f"device {device}", got=str(permutation.device))


def check_encode(x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None) -> None:
    """x (N, K), factor (r, n*k)."""
    check_together(x=x, factor=factor)
    check_matrix("x", x)
    check_matrix("factor", factor)
    check_sides(n=n, k=k)
    if factor.shape[1] != n * k:
        raise InvalidInput(
            "factor",
            expected=f"{n * k} columns for {n} x {k} tiles",
            got=f"shape {tuple(factor.shape)}",
            hint="are these encoders of another tile format?",
        )
    check_permutation(permutation, x.shape[1], x.device)


def check_core(encoded_x: Tensor, encoded_w: Tensor) -> None:
    """encoded_x (r, I, L), encoded_w (r, L, J)."""
    check_together(encoded_x=encoded_x, encoded_w=encoded_w)
    check_matrix("encoded_x", encoded_x, 3)
    check_matrix("encoded_w", encoded_w, 3)
    if encoded_x.shape[0] != encoded_w.shape[0] or encoded_x.shape[2] != encoded_w.shape[1]:
        raise InvalidInput(
            "encoded_w",
            expected=f"shape (r, L, J) with r = {encoded_x.shape[0]} and L = {encoded_x.shape[2]}",
            got=f"shape {tuple(encoded_w.shape)}",
        )


def check_decode(
    products: Tensor,
    factor: Tensor,
    bias: Tensor | None,
    rows: int,
    columns: int,
    n: int,
    m: int,
    permutation: Tensor | None,
) -> None:
    """products (r, I, J), factor (n*m, r), bias (columns,)."""
    check_together(products=products, factor=factor, bias=bias)
    check_matrix("products", products, 3)
    check_matrix("factor", factor)
    check_sides(n=n, m=m)
    rank = products.shape[0]
    if factor.shape[0] != n * m or factor.shape[1] != rank:
        raise InvalidInput(
            "factor",
            expected=f"shape ({n * m}, {rank}) for {n} x {m} tiles at rank {rank}",
            got=f"shape {tuple(factor.shape)}",
            hint="are these encoders of another tile format?",
        )
    for name, size, side, count in (
        ("rows", rows, n, products.shape[1]),
        ("columns", columns, m, products.shape[2]),
    ):
        if ceil_div(size, side) != count:
            raise InvalidInput(
                name, expected=f"a size that {count} tiles of side {side} cover", got=f"{name} = {size}"
            )
    _check_bias(bias, columns)
    check_permutation(permutation, columns, products.device)


def check_correlate(encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None) -> None:
    """encoded (r, I, L), x (N, K)."""
    check_together(encoded=encoded, x=x)
    check_matrix("encoded", encoded, 3)
    check_matrix("x", x)
    check_sides(n=n, k=k)
    if encoded.shape[1] != ceil_div(x.shape[0], n) or encoded.shape[2] != ceil_div(x.shape[1], k):
        raise InvalidInput(
            "encoded",
            expected=f"shape (r, {ceil_div(x.shape[0], n)}, {ceil_div(x.shape[1], k)})",
            got=f"shape {tuple(encoded.shape)}",
        )
    check_permutation(permutation, x.shape[1], x.device)


def check_linear(
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
) -> None:
    """x (N, K), encode_x (r, n*k), encoded_w (r, ceil(K/k), ceil(M/m)), decode (n*m, r), bias (M,)."""
    check_together(x=x, encode_x=encode_x, encoded_w=encoded_w, decode=decode, bias=bias)
    check_matrix("x", x)
    check_matrix("encode_x", encode_x)
    check_matrix("encoded_w", encoded_w, 3)
    check_matrix("decode", decode)
    check_sides(n=n, k=k, m=m)
    rank = encode_x.shape[0]
    other = "are these encoders of another tile format or rank?"
    for name, tensor, shape in (
        ("encode_x", encode_x, (rank, n * k)),
        ("decode", decode, (n * m, rank)),
    ):
        if tuple(tensor.shape) != shape:
            raise InvalidInput(
                name,
                expected=f"shape {shape} for the tile format <{n},{k},{m}>",
                got=f"shape {tuple(tensor.shape)}",
                hint=other,
            )
    if encoded_w.shape[0] != rank:
        raise InvalidInput("encoded_w", expected=f"rank {rank}", got=f"rank {encoded_w.shape[0]}", hint=other)
    if encoded_w.shape[1] != ceil_div(x.shape[1], k):
        raise InvalidInput(
            "x",
            expected=f"K with ceil(K / {k}) = {encoded_w.shape[1]}, the encoded weights' tile count",
            got=f"K = {x.shape[1]}",
        )
    if encoded_w.shape[2] != ceil_div(columns, m):
        raise InvalidInput(
            "columns",
            expected=f"M with ceil(M / {m}) = {encoded_w.shape[2]}, the encoded weights' tile count",
            got=f"M = {columns}",
        )
    _check_bias(bias, columns)
    check_permutation(permutation, x.shape[1], x.device)


def require_finite(**tensors: Tensor | None) -> None:
    """Raises InvalidInput for the first tensor that holds NaN or an infinity (reads the values)."""
    for name, tensor in tensors.items():
        if tensor is not None and not bool(torch.isfinite(tensor).all()):
            raise InvalidInput(name, expected="finite entries", got="NaN or an infinity")


def check_factors(**factors: Tensor) -> None:
    """Factors on the CPU hold no NaN and no infinity.

    They are a few hundred numbers. Elsewhere reading them would stall the device in every call; there the
    check is the one that `STLFactors` makes once.
    """
    for name, factor in factors.items():
        if factor.device.type == "cpu":
            require_finite(**{name: factor})


def _check_bias(bias: Tensor | None, columns: int) -> None:
    if bias is not None and (bias.dim() != 1 or bias.shape[0] != columns):
        raise InvalidInput("bias", expected=f"shape ({columns},)", got=f"shape {tuple(bias.shape)}")
