"""The ops, registered with torch.library under one schema each (namespace `stl_kernels`).

Sizes: X (N, K), I = ceil(N/n) tile rows, L = ceil(K/k), J = ceil(M/m); `contract.tiles` says which entries
make a tile and what `permutation` and `strided` mean.

    encode     encoded[rho, I, L]  = sum_a factor[rho, a] vec(X_IL)[a]                      (r, I, L)
    core       products[rho, I, J] = sum_L encoded_x[rho, I, L] encoded_w[rho, L, J]        (r, I, J)
    decode     vec(Y_IJ)[y]        = sum_rho factor[y, rho] products[rho, I, J], + bias     (N, M)
    correlate  out[rho, a]         = sum_IL encoded[rho, I, L] vec(X_IL)[a]                 (r, n*k)
    linear     decode(core(encode(x), encoded_w)) + bias                                    (N, M)

The first four are closed under differentiation: each one's gradients are again among them, so gradients of
any order exist.
Each op takes the fields of its type in `contract.calls`, in their order, and returns a new contiguous
tensor. Under autocast all float operands are cast to the autocast dtype (float64 is left alone), as for
torch's own matrix products. NaN or an infinity in a factor is refused where the factor is on the CPU; on a
GPU no op reads it (that would stall the device) and it passes into the result, as for torch's products.

What does not belong here: arguments and their checks (`calls`), implementations (`backends`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from stl_kernels.backends import check_name, get_backend
from stl_kernels.backends.base import Backend
from stl_kernels.contract.calls import Call, Core, Correlate, Decode, Encode, Linear
from stl_kernels.contract.checks import require_finite_on_cpu

NAMESPACE = "stl_kernels"
_LIBRARY: Any = cast(Any, torch.library.Library)(NAMESPACE, "DEF")
C = TypeVar("C", bound=Call)


# ---- gradients -------------------------------------------------------------------------------------------


def _saved(ctx: Any, kind: type[C]) -> C:
    """The call whose gradient is asked for; tensors outside `kind.saved` are None."""
    return kind(**{**ctx.plain, **dict(zip(kind.saved, ctx.saved_tensors, strict=True))})


def _gradients(kind: type[Call], **given: Tensor | None) -> tuple[Tensor | None, ...]:
    """One gradient for each field of the call, None where there is none."""
    return tuple(given.get(field.name) for field in fields(kind))


def _needed(ctx: Any, kind: type[Call]) -> set[str]:
    # The dispatcher leaves out what has its default; no tensor has one.
    names = (field.name for field in fields(kind))
    return {name for name, needed in zip(names, ctx.needs_input_grad, strict=False) if needed}


def _encode_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    call, need = _saved(ctx, Encode), _needed(ctx, Encode)
    grad_x = grad_factor = None
    if "x" in need:
        grad_x = decode(grad, call.factor.t(), None, *call.x.shape, *call.cut, call.backend)
    if "factor" in need:
        grad_factor = correlate(grad, call.x, *call.cut, call.backend)
    return _gradients(Encode, x=grad_x, factor=grad_factor)


def _core_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    call, need = _saved(ctx, Core), _needed(ctx, Core)
    grad_x = grad_w = None
    if "encoded_x" in need:
        grad_x = core(grad, call.encoded_w.transpose(1, 2), call.backend)
    if "encoded_w" in need:
        grad_w = core(call.encoded_x.transpose(1, 2), grad, call.backend)
    return _gradients(Core, encoded_x=grad_x, encoded_w=grad_w)


def _decode_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    call, need = _saved(ctx, Decode), _needed(ctx, Decode)
    grad_products = grad_factor = None
    if "products" in need:
        grad_products = encode(grad, call.factor.t(), *call.cut, call.backend)
    if "factor" in need:
        grad_factor = correlate(call.products, grad, *call.cut, call.backend).t()
    grad_bias = grad.sum(0) if "bias" in need else None
    return _gradients(Decode, products=grad_products, factor=grad_factor, bias=grad_bias)


def _correlate_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    call, need = _saved(ctx, Correlate), _needed(ctx, Correlate)
    grad_encoded = grad_x = None
    if "encoded" in need:
        grad_encoded = encode(call.x, grad, *call.cut, call.backend)
    if "x" in need:
        grad_x = decode(call.encoded, grad.t(), None, *call.x.shape, *call.cut, call.backend)
    return _gradients(Correlate, encoded=grad_encoded, x=grad_x)


def _linear_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    # Only the op's inputs are saved: the encoded activations, r/(n*k) times as large as x, are made again
    # where a gradient needs them. So a fused decode has the gradients of the unfused one.
    call, need = _saved(ctx, Linear), _needed(ctx, Linear)
    x, into, onto, backend = call.x, call.into, call.onto, call.backend
    grad_x = grad_encoder = grad_w = grad_decoder = None
    grad_products = encode(grad, call.decode.t(), *onto, backend)
    if need & {"x", "encode_x"}:
        grad_encoded = core(grad_products, call.encoded_w.transpose(1, 2), backend)
        if "x" in need:
            grad_x = decode(grad_encoded, call.encode_x.t(), None, *x.shape, *into, backend)
        if "encode_x" in need:
            grad_encoder = correlate(grad_encoded, x, *into, backend)
    if need & {"encoded_w", "decode"}:
        encoded = encode(x, call.encode_x, *into, backend)
        if "encoded_w" in need:
            grad_w = core(encoded.transpose(1, 2), grad_products, backend)
        if "decode" in need:
            products = core(encoded, call.encoded_w, backend)
            grad_decoder = correlate(products, grad, *onto, backend).t()
    grad_bias = grad.sum(0) if "bias" in need else None
    return _gradients(
        Linear, x=grad_x, encode_x=grad_encoder, encoded_w=grad_w, decode=grad_decoder, bias=grad_bias
    )


# ---- computing -------------------------------------------------------------------------------------------

_COMPUTE: dict[type[Call], Callable[[Backend, Any], Tensor]] = {
    Encode: lambda backend, call: backend.encode(call.x, call.factor, call.cut),
    Core: lambda backend, call: backend.core(call.encoded_x, call.encoded_w),
    Decode: lambda backend, call: backend.decode(
        call.products, call.factor, call.bias, call.rows, call.columns, call.cut
    ),
    Correlate: lambda backend, call: backend.correlate(call.encoded, call.x, call.cut),
    Linear: lambda backend, call: backend.linear(call),
}


def _run(call: Call) -> Tensor:
    """Check, choose the backend, compute.

    Raises:
        InvalidInput: arguments that do not fit together, or a factor on the CPU that is not finite.
        Unavailable: the backend cannot run here.
    """
    call.check()
    require_finite_on_cpu(**{name: getattr(call, name) for name in call.factor_names})
    leader: Tensor = getattr(call, call.leader)
    return _COMPUTE[type(call)](get_backend(call.backend, leader.device, leader.dtype), call)


def _fake(call: Call) -> Tensor:
    """The result's shape, dtype and device, nothing computed."""
    call.check()
    check_name(call.backend)
    return call.empty()


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


def _register(kind: type[Call], backward: Callable[..., Any]) -> Any:
    """Define the op of `kind`, named like it, with its shapes for fake tensors, gradients and autocast."""
    name = kind.__name__.lower()
    names = [field.name for field in fields(kind)]

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        given = dict(zip(names, inputs, strict=False))
        ctx.save_for_backward(*(given[tensor] for tensor in kind.saved))
        ctx.plain = {key: None if isinstance(value, Tensor) else value for key, value in given.items()}

    _LIBRARY.define(f"{name}({kind.schema()}) -> Tensor", tags=[torch.Tag.pt2_compliant_tag])
    _LIBRARY.impl(name, lambda *args: _run(kind(*args)), "CompositeExplicitAutograd")
    qualified = f"{NAMESPACE}::{name}"
    torch.library.register_fake(qualified, lambda *args: _fake(kind(*args)), lib=_LIBRARY)
    torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=_LIBRARY)
    op = getattr(getattr(torch.ops, NAMESPACE), name).default
    for device_type, key in (("cpu", "AutocastCPU"), ("cuda", "AutocastCUDA")):
        _LIBRARY.impl(name, _autocast(op, device_type), key, with_keyset=True)
    return op


encode = _register(Encode, _encode_backward)
core = _register(Core, _core_backward)
decode = _register(Decode, _decode_backward)
correlate = _register(Correlate, _correlate_backward)
linear = _register(Linear, _linear_backward)
