"""Models that need not be in memory: a part's tensors are read before it runs, and given back after.

A *unit* is a block, or a module outside the blocks with tensors of its own. Calling a unit brings it in; so
does `with resident(model, name)`, for work that needs its numbers more than once. For a model that is in
memory anyway `resident` does nothing, so that the same code serves both.

What does not belong here: where tensors come from (`storage`), what is done with them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, eq=False)
class Lazy:
    """A tensor that is read when it is asked for.

    Attributes:
        shape, dtype: known without reading.
        read: the tensor; in memory of its own, unless it was there all the time.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Lazy:
        """One that is in memory."""
        return cls(tuple(tensor.shape), tensor.dtype, lambda: tensor)


@dataclass(eq=False)
class _Unit:
    module: nn.Module
    #: (module, name of the parameter, the parameter without numbers, its full name).
    places: list[tuple[nn.Module, str, nn.Parameter, str]]
    uses: int = 0


class Residence:
    """Brings the units of a model in and out.

    Args:
        model: its parameters on the meta device, its buffers in memory.
        blocks: names of the units of many modules.
        tensors: full name to the tensor, for every parameter on the meta device.
        scratch: a folder for what does not fit beside a block.
    """

    def __init__(
        self, model: nn.Module, blocks: tuple[str, ...], tensors: Mapping[str, Lazy], scratch: Path
    ) -> None:
        self.tensors, self.scratch = tensors, scratch
        self.units: dict[str, _Unit] = {}
        for name in blocks:
            self._add(name, model.get_submodule(name), recurse=True)
        for name, module in model.named_modules():
            if not any(name == b or name.startswith(f"{b}.") for b in blocks):
                self._add(name, module, recurse=False)
        _RESIDENCES[model] = self

    def _add(self, name: str, module: nn.Module, *, recurse: bool) -> None:
        places = [
            (owner, key, p, ".".join(part for part in (name, inside, key) if part))
            for inside, owner in (module.named_modules() if recurse else [("", module)])
            for key, p in owner._parameters.items()
            if p is not None and p.is_meta
        ]
        if places:
            self.units[name] = _Unit(module, places)
            self._guard(name)

    def _guard(self, name: str) -> None:
        """Make calls of the unit bring it in; an attribute of the instance, so that copies can be without."""
        module = self.units[name].module
        run = module.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            with self.resident(name):
                return run(*args, **kwargs)

        module.forward = functools.update_wrapper(forward, run)

    @contextmanager
    def resident(self, name: str) -> Iterator[None]:
        """The unit's tensors are in memory inside; other names are none of our business."""
        unit = self.units.get(name)
        if unit is None:
            yield
            return
        if unit.uses == 0:
            # A copy that is made of the module inside is an ordinary module.
            unit.module.__dict__.pop("forward", None)
            for owner, key, empty, full in unit.places:
                tensor = self.tensors[full].read()
                owner._parameters[key] = nn.Parameter(tensor, requires_grad=empty.requires_grad)
        unit.uses += 1
        try:
            yield
        finally:
            unit.uses -= 1
            if unit.uses == 0:
                for owner, key, empty, _ in unit.places:
                    owner._parameters[key] = empty
                self._guard(name)


_RESIDENCES: WeakKeyDictionary[nn.Module, Residence] = WeakKeyDictionary()


def residence_of(model: nn.Module) -> Residence | None:
    """Who brings the model's units in; None for a model that is in memory."""
    return _RESIDENCES.get(model)


@contextmanager
def resident(model: nn.Module, name: str) -> Iterator[None]:
    """The numbers of a unit are in memory inside, whatever kind of model it is."""
    found = residence_of(model)
    if found is None:
        yield
        return
    with found.resident(name):
        yield


class _NothingUnfilled(TorchFunctionMode):
    """Memory that nobody has filled is not asked for: parameters start as such, buffers do not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        return func(*args, **options)


@contextmanager
def without_numbers() -> Iterator[None]:
    """Modules that are made inside have their parameters on the meta device and their buffers in memory."""
    register = nn.Module.register_parameter

    def empty(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.detach().to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = empty  # type: ignore[method-assign]
    try:
        with _NothingUnfilled():
            yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def emptied(module: nn.Module, keep: Callable[[nn.Module], bool]) -> None:
    """Give back the memory of a module's tensors, but for those of modules that are to keep theirs."""
    for part in module.modules():
        if keep(part):
            continue
        for key, p in list(part._parameters.items()):
            if p is not None:
                part._parameters[key] = nn.Parameter(p.detach().to("meta"), requires_grad=p.requires_grad)
        for key, b in list(part._buffers.items()):
            if b is not None:
                part._buffers[key] = b.to("meta")
