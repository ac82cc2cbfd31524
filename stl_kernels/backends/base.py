"""What a backend is, and the registry that backends enter themselves into; imports no backend.

A backend knows tensors only; shapes and dtypes were checked by `contract.calls` before it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from stl_algebra.errors import Unavailable
from stl_kernels.contract.calls import Linear
from stl_kernels.contract.tiles import Cut


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


#: Name -> constructor, of the backends whose modules were imported.
REGISTERED: dict[str, Callable[[], Backend]] = {}

B = TypeVar("B", bound=type[Backend])


def register(backend: B) -> B:
    """Class decorator: enter a backend under its name; it is constructed without arguments on first use."""
    REGISTERED[backend.name] = backend
    return backend


def refuse_fused(call: Linear, backend: str) -> None:
    """For a backend without a fused decode: raises Unavailable where the call asks for one."""
    if call.fused:
        raise Unavailable(f"backend {backend!r} has no fused decode; the backend 'triton' has")
