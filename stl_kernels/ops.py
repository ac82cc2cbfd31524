"""The ops, registered with torch.library under one schema each (namespace `stl_kernels`).

Sizes: X (N, K), I = ceil(N/n) tile rows, L = ceil(K/k), J = ceil(M/m); `stl_kernels.tiles` says which entries
make a tile and what `permutation` and `strided` mean.

    encode     encoded[rho, I, L]  = sum_a factor[rho, a] vec(X_IL)[a]                      (r, I, L)
    core       products[rho, I, J] = sum_L encoded_x[rho, I, L] encoded_w[rho, L, J]        (r, I, J)
    decode     vec(Y_IJ)[y]        = sum_rho factor[y, rho] products[rho, I, J], + bias     (N, M)
    correlate  out[rho, a]         = sum_IL encoded[rho, I, L] vec(X_IL)[a]                 (r, n*k)
    linear     decode(core(encode(x), encoded_w)) + bias                                    (N, M)

The first four are closed under differentiation: each one's gradients are again among them, so gradients of
any order exist.
Each op takes the name of a backend and returns a new contiguous tensor. Under autocast all float
operands are cast to the autocast dtype (float64 is left alone), as for torch's own matrix products.

What does not belong here: implementations (`backends`), the checks' texts (`checks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from stl_kernels import checks
from stl_kernels.backends import check_name, get_backend
from stl_kernels.tiles import ceil_div

NAMESPACE = "stl_kernels"
_LIBRARY: Any = cast(Any, torch.library.Library)(NAMESPACE, "DEF")

_SCHEMAS = {
    "encode": "(Tensor x, Tensor factor, int n, int k, Tensor? permutation, bool strided, str backend) "
    "-> Tensor",
    "core": "(Tensor encoded_x, Tensor encoded_w, str backend) -> Tensor",
    "decode": "(Tensor products, Tensor factor, Tensor? bias, SymInt rows, SymInt columns, int n, int m, "
    "Tensor? permutation, bool strided, str backend) -> Tensor",
    "correlate": "(Tensor encoded, Tensor x, int n, int k, Tensor? permutation, bool strided, str backend) "
    "-> Tensor",
    "linear": "(Tensor x, Tensor encode_x, Tensor encoded_w, Tensor decode, Tensor? bias, SymInt columns, "
    "int n, int k, int m, Tensor? permutation, bool strided, str backend) -> Tensor",
}


# ---- implementations: check, choose the backend, run -------------------------------------------------------


def _encode(
    x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool, backend: str
) -> Tensor:
    checks.check_encode(x, factor, n, k, permutation)
    checks.check_factors(factor=factor)
    return get_backend(backend, x.device, x.dtype).encode(x, factor, n, k, permutation, strided)


def _core(encoded_x: Tensor, encoded_w: Tensor, backend: str) -> Tensor:
    checks.check_core(encoded_x, encoded_w)
    return get_backend(backend, encoded_x.device, encoded_x.dtype).core(encoded_x, encoded_w)


def _decode(
    products: Tensor,
    factor: Tensor,
    bias: Tensor | None,
    rows: int,
    columns: int,
    n: int,
    m: int,
    permutation: Tensor | None,
    strided: bool,
    backend: str,
) -> Tensor:
    checks.check_decode(products, factor, bias, rows, columns, n, m, permutation)
    checks.check_factors(factor=factor)
    chosen = get_backend(backend, products.device, products.dtype)
    return chosen.decode(products, factor, bias, rows, columns, n, m, permutation, strided)


def _correlate(
    encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool, backend: str
) -> Tensor:
    checks.check_correlate(encoded, x, n, k, permutation)
    return get_backend(backend, x.device, x.dtype).correlate(encoded, x, n, k, permutation, strided)


def _linear(
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
    backend: str,
) -> Tensor:
    checks.check_linear(x, encode_x, encoded_w, decode, bias, columns, n, k, m, permutation)
    checks.check_factors(encode_x=encode_x, decode=decode)
    chosen = get_backend(backend, x.device, x.dtype)
    return chosen.linear(x, encode_x, encoded_w, decode, bias, columns, n, k, m, permutation, strided)


# ---- shapes for fake tensors: the same checks, no kernel ---------------------------------------------------


def _fake_encode(
    x: Tensor, factor: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool, backend: str
) -> Tensor:
    checks.check_encode(x, factor, n, k, permutation)
    check_name(backend)
    return x.new_empty(factor.shape[0], ceil_div(x.shape[0], n), ceil_div(x.shape[1], k))


def _fake_core(encoded_x: Tensor, encoded_w: Tensor, backend: str) -> Tensor:
    checks.check_core(encoded_x, encoded_w)
    check_name(backend)
    return encoded_x.new_empty(encoded_x.shape[0], encoded_x.shape[1], encoded_w.shape[2])


def _fake_decode(
    products: Tensor,
    factor: Tensor,
    bias: Tensor | None,
    rows: int,
    columns: int,
    n: int,
    m: int,
    permutation: Tensor | None,
    strided: bool,
    backend: str,
) -> Tensor:
    checks.check_decode(products, factor, bias, rows, columns, n, m, permutation)
    check_name(backend)
    return products.new_empty(rows, columns)


def _fake_correlate(
    encoded: Tensor, x: Tensor, n: int, k: int, permutation: Tensor | None, strided: bool, backend: str
) -> Tensor:
    checks.check_correlate(encoded, x, n, k, permutation)
    check_name(backend)
    return encoded.new_empty(encoded.shape[0], n * k)


def _fake_linear(
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
    backend: str,
) -> Tensor:
    checks.check_linear(x, encode_x, encoded_w, decode, bias, columns, n, k, m, permutation)
    check_name(backend)
    return x.new_empty(x.shape[0], columns)


# ---- gradients -------------------------------------------------------------------------------------------


def _save(*positions: int) -> Callable[..., None]:
    """A setup_context that saves the tensors at `positions` and keeps all inputs' plain values."""

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*(inputs[p] for p in positions))
        ctx.plain = tuple(None if isinstance(value, Tensor) else value for value in inputs)

    return setup_context


def _encode_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    x, factor, permutation = ctx.saved_tensors
    _, _, n, k, _, strided, backend = ctx.plain
    grad_x = grad_factor = None
    if ctx.needs_input_grad[0]:
        grad_x = decode(grad, factor.t(), None, x.shape[0], x.shape[1], n, k, permutation, strided, backend)
    if ctx.needs_input_grad[1]:
        grad_factor = correlate(grad, x, n, k, permutation, strided, backend)
    return grad_x, grad_factor, None, None, None, None, None


def _core_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    encoded_x, encoded_w = ctx.saved_tensors
    backend = ctx.plain[2]
    grad_x = core(grad, encoded_w.transpose(1, 2), backend) if ctx.needs_input_grad[0] else None
    grad_w = core(encoded_x.transpose(1, 2), grad, backend) if ctx.needs_input_grad[1] else None
    return grad_x, grad_w, None


def _decode_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    products, factor, permutation = ctx.saved_tensors
    _, _, _, _, _, n, m, _, strided, backend = ctx.plain
    grad_products = grad_factor = grad_bias = None
    if ctx.needs_input_grad[0]:
        grad_products = encode(grad, factor.t(), n, m, permutation, strided, backend)
    if ctx.needs_input_grad[1]:
        grad_factor = correlate(products, grad, n, m, permutation, strided, backend).t()
    if ctx.needs_input_grad[2]:
        grad_bias = grad.sum(0)
    return grad_products, grad_factor, grad_bias, *(None,) * 7


def _correlate_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    encoded, x, permutation = ctx.saved_tensors
    _, _, n, k, _, strided, backend = ctx.plain
    grad_encoded = grad_x = None
    if ctx.needs_input_grad[0]:
        grad_encoded = encode(x, grad, n, k, permutation, strided, backend)
    if ctx.needs_input_grad[1]:
        grad_x = decode(encoded, grad.t(), None, x.shape[0], x.shape[1], n, k, permutation, strided, backend)
    return grad_encoded, grad_x, *(None,) * 5


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    # Only the op's inputs are saved: the encoded activations, r/(n*k) times as large as x, are made again
    # where a gradient needs them.
    x, encode_x, encoded_w, decoder, permutation = ctx.saved_tensors
    _, _, _, _, _, _, n, k, m, _, strided, backend = ctx.plain
    need_x, need_encoder, need_w, need_decoder, need_bias = ctx.needs_input_grad[:5]
    grad_x = grad_encoder = grad_w = grad_decoder = None
    grad_products = encode(grad, decoder.t(), n, m, None, strided, backend)
    if need_x or need_encoder:
        grad_encoded = core(grad_products, encoded_w.transpose(1, 2), backend)
        if need_x:
            grad_x = decode(
                grad_encoded,
                encode_x.t(),
                *(None, x.shape[0], x.shape[1]),
                *(n, k, permutation, strided, backend),
            )
        if need_encoder:
            grad_encoder = correlate(grad_encoded, x, n, k, permutation, strided, backend)
    if need_w or need_decoder:
        encoded = encode(x, encode_x, n, k, permutation, strided, backend)
        if need_w:
            grad_w = core(encoded.transpose(1, 2), grad_products, backend)
        if need_decoder:
            products = core(encoded, encoded_w, backend)
            grad_decoder = correlate(products, grad, n, m, None, strided, backend).t()
    grad_bias = grad.sum(0) if need_bias else None
    return grad_x, grad_encoder, grad_w, grad_decoder, grad_bias, *(None,) * 7


# ---- registration ------------------------------------------------------------------------------------------


def _autocast(op: Any, device_type: str) -> Callable[..., Tensor]:
    key = getattr(torch._C.DispatchKey, "Autocast" + {"cpu": "CPU", "cuda": "CUDA"}[device_type])

    def cast(value: Any, dtype: torch.dtype) -> Any:
        eligible = isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64
        return value.to(dtype) if eligible and value.device.type == device_type else value

    def kernel(_: Any, *args: Any) -> Tensor:
        dtype = torch.get_autocast_dtype(device_type)
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(key)):
            out: Tensor = op(*(cast(value, dtype) for value in args))
            return out

    return kernel


def _register(
    name: str,
    implementation: Callable[..., Tensor],
    fake: Callable[..., Tensor],
    backward: Callable[..., Any],
    saved: tuple[int, ...],
) -> Any:
    _LIBRARY.define(name + _SCHEMAS[name], tags=[torch.Tag.pt2_compliant_tag])
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    qualified = f"{NAMESPACE}::{name}"
    torch.library.register_fake(qualified, fake, lib=_LIBRARY)
    torch.library.register_autograd(qualified, backward, setup_context=_save(*saved), lib=_LIBRARY)
    op = getattr(getattr(torch.ops, NAMESPACE), name).default
    for device_type, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        _LIBRARY.impl(name, _autocast(op, device_type), key, with_keyset=True)
    return op


encode = _register("encode", _encode, _fake_encode, _encode_backward, (0, 1, 4))
core = _register("core", _core, _fake_core, _core_backward, (0, 1))
decode = _register("decode", _decode, _fake_decode, _decode_backward, (0, 1, 7))
correlate = _register("correlate", _correlate, _fake_correlate, _correlate_backward, (0, 1, 4))
linear = _register("linear", _linear, _fake_linear, _linear_backward, (0, 1, 2, 3, 9))
