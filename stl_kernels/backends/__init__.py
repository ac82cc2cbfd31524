"""The backends by name: implementations of the five ops under one signature (`base`), one module each.

`auto` is a fixed rule, not a fallback: float64 and devices other than CPU and CUDA take `reference`, the CPU
takes `cpu`, CUDA takes `triton`. A backend that cannot run raises `Unavailable`, also when `auto` chose it.
A new backend is a module here that registers itself, and its name in `BACKENDS`.

What does not belong here: op schemas, gradients (`stl_kernels.ops`).
"""

from __future__ import annotations

from importlib import import_module

import torch

from stl_algebra.errors import InvalidInput, Unavailable
from stl_kernels.backends.base import REGISTERED, Backend

AUTO = "auto"
#: Each is the module of that name; imported on first use: triton is not installed everywhere and reads its
#: settings on import.
BACKENDS = ("reference", "cpu", "triton")
_made: dict[str, Backend] = {}


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


def get_backend(backend: str, device: torch.device, dtype: torch.dtype) -> Backend:
    """The backend to run.

    Raises:
        InvalidInput: no such name.
        Unavailable: it cannot run on this device or dtype, or what it needs is not installed.
    """
    check_name(backend)
    name = choose(backend, device, dtype)
    if name not in _made:
        import_module(f"stl_kernels.backends.{name}")
        _made[name] = REGISTERED[name]()
    reason = _made[name].unavailable(device, dtype)
    if reason:
        raise Unavailable(f"backend {name!r} cannot run on {device.type} in {dtype}: {reason}")
    return _made[name]


def is_available(backend: str, device: torch.device | str, dtype: torch.dtype = torch.float32) -> bool:
    """Whether `get_backend` would return it."""
    try:
        get_backend(backend, torch.device(device), dtype)
    except Unavailable:
        return False
    return True
