"""The registry of backends: implementations of the five ops under one signature, chosen by name.

A backend knows tensors only; shapes and dtypes were checked by `contract.calls` before it is called.
`auto` is a fixed rule, not a fallback: float64 and devices other than CPU and CUDA take `reference`, the CPU
takes `cpu`, CUDA takes `triton`. A backend that cannot run raises `Unavailable`, also when `auto` chose it.

What does not belong here: op schemas, gradients (`stl_kernels.ops`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels.contract.tiles import Cut

if TYPE_CHECKING:
    from stl_kernels.contract.calls import Linear

AUTO = "auto"


class Backend(Protocol):
    """What an implementation provides; the array meanings are those of `stl_kernels.ops`."""

    name: str

    def unavailable(self, device: torch.device, dtype: torch.dtype) -> str:
        """Why it cannot run on this device and dtype, in words; "" when it can."""

    def encode(self, x: Tensor, factor: Tensor, cut: Cut) -> Tensor: ...

    def core(self, encoded_x: Tensor, encoded_w: Tensor) -> Tensor: ...

    def decode(
        self, products: Tensor, factor: Tensor, bias: Tensor | None, rows: int, columns: int, cut: Cut
    ) -> Tensor: ...

    def correlate(self, encoded: Tensor, x: Tensor, cut: Cut) -> Tensor: ...

    def linear(self, call: Linear) -> Tensor:
        """Raises Unavailable where `call.fused` asks for what the backend does not have."""


@runtime_checkable
class Tunable(Protocol):
    """A backend with a choice between kernels that can be measured."""

    def tune(self, call: Linear) -> bool:
        """Whether `call` runs faster fused; kept on disk for this device."""


def _load(name: str) -> Backend:
    # Imported on first use: triton is not installed everywhere and reads its settings on import.
    if name == "reference":
        from stl_kernels.backends.reference import ReferenceBackend

        return ReferenceBackend()
    if name == "cpu":
        from stl_kernels.backends.cpu import CpuBackend

        return CpuBackend()
    from stl_kernels.backends.triton import TritonBackend

    return TritonBackend()


BACKENDS = ("reference", "cpu", "triton")
_loaded: dict[str, Backend] = {}


def check_name(backend: str) -> None:
    """Raises InvalidInput unless `backend` is "auto" or the name of a backend."""
    if backend not in (AUTO, *BACKENDS):
        raise InvalidInput("backend", expected=f"one of {', '.join((AUTO, *BACKENDS))}", got=repr(backend))


def choose(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """The name that `backend` stands for on this device and dtype: the rule of `auto`, nothing tried."""
    if backend != AUTO:
        return backend
    if dtype == torch.float64:
        return "reference"
    return {"cpu": "cpu", "cuda": "triton"}.get(device.type, "reference")


def refuse_fused(call: Linear, backend: str) -> None:
    """For a backend without a fused decode: raises Unavailable where the call asks for one."""
    if call.fused:
        raise Unavailable(f"backend {backend!r} has no fused decode; the backend 'triton' has")


def get_backend(backend: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend to run.

    Raises:
        InvalidInput: no such name.
        Unavailable: it cannot run on this device or dtype, or what it needs is not installed.
    """
    check_name(backend)
    name = choose(backend, device, dtype)
    if name not in _loaded:
        _loaded[name] = _load(name)
    reason = _loaded[name].unavailable(device, dtype)
    if reason:
        raise Unavailable(f"backend {name!r} cannot run on {device.type} in {dtype}: {reason}")
    return _loaded[name]


def is_available(backend: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> bool:
    """Whether `get_backend` would return it."""
    try:
        get_backend(backend, torch.device(device), dtype)
    except Unavailable:
        return False
    return True
