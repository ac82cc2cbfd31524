"""What stands in for a linear layer after conversion: small parts in sequence or in sum, in one module.

Every part is a plain torch module with plain parameters, maps (..., K) to (..., M), and keeps the leading
axes, so that exact tiles group rows across the batch. Products are `nn.Linear`, or `STLLinear` once they run
on tiles. `effective` says which dense map the parts amount to.

What does not belong here: structure as JSON (`building`), fitting the parts (`recipes`), where tiles pay
(`plan`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.errors import InvalidInput
from stl_kernels.layers.linear import STLLinear
from stl_kernels.layers.options import LayerOptions


class Select(nn.Module):
    """x[..., index], (..., K) to (..., len(index))."""

    index: Tensor

    def __init__(self, index: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("index", index.to(torch.int64))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(-1, self.index)


class Scatter(nn.Module):
    """Zeros (..., width) with x at `index`: the transpose of `Select`."""

    index: Tensor

    def __init__(self, index: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("index", index.to(torch.int64))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.width).index_copy(-1, self.index, x)


class Shift(nn.Module):
    """x + shift (K,), a parameter: approximate tiles need the mean taken out of their input."""

    def __init__(self, shift: Tensor) -> None:
        super().__init__()
        self.shift = nn.Parameter(shift)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.shift


class Sequence(nn.Module):
    """Parts one after the other."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x)
        return x


class Sum(nn.Module):
    """The sum of what the parts make of one input."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.parts
        y: Tensor = first(x)
        for part in others:
            y = y + part(x)
        return y


class Masked(nn.Linear):
    """A dense product that keeps its zeros in training; `mask` (M, K) uint8 is 1 where a weight may be."""

    mask: Tensor

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias is not None, device="meta")
        self.weight = nn.Parameter(weight * mask)
        self.bias = None if bias is None else nn.Parameter(bias)  # type: ignore[assignment]
        self.register_buffer("mask", mask.to(torch.uint8))

    def forward(self, x: Tensor) -> Tensor:
        # Masking the weight, not its gradient: weight decay and momentum then have nothing to move either.
        weight = self.weight * self.mask if torch.is_grad_enabled() else self.weight
        return nn.functional.linear(x, weight, self.bias)


class Shared(nn.Module):
    """A part that several layers apply to the very same tensor: computed once in a forward pass.

    One layer owns it, so that its parameters appear once; the others hold a `Borrowed`. The result is kept
    until every reader has asked once, and only for the same tensor object and unchanged parameters: anything
    else computes anew, so the answer never depends on what was kept.

    Args:
        part: the module.
        key: a name that is unique in the model; the owner's.
        readers: how many layers read it.
    """

    def __init__(self, part: nn.Module, key: str, readers: int) -> None:
        super().__init__()
        self.part, self.key, self.readers = part, key, readers
        self._kept: tuple[Any, ...] | None = None
        self._asked: set[int] = set()

    def read(self, x: Tensor, reader: int) -> Tensor:
        """part(x) for a reader."""
        if torch.compiler.is_compiling() or x.is_inference():
            y: Tensor = self.part(x)
            return y
        state = (x._version, torch.is_grad_enabled(), *(p._version for p in self.part.parameters()))
        kept = self._kept
        if kept is not None and kept[0]() is x and kept[1] == state and reader not in self._asked:
            y = kept[2]
        else:
            y = self.part(x)
            self._kept, self._asked = (weakref.ref(x), state, y), set()
        self._asked.add(reader)
        if len(self._asked) >= self.readers:
            self._kept = None
        return y

    def forward(self, x: Tensor) -> Tensor:
        return self.read(x, 0)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_asked": set()}


class Borrowed(nn.Module):
    """A `Shared` that another layer owns."""

    def __init__(self, shared: Shared, reader: int) -> None:
        super().__init__()
        # In a tuple, so that torch does not register it a second time.
        self._of = (shared,)
        self.reader = reader

    @property
    def shared(self) -> Shared:
        """The part itself."""
        return self._of[0]

    def forward(self, x: Tensor) -> Tensor:
        return self.shared.read(x, self.reader)


def product(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A dense product x @ weight + bias with weight (K, M); no random number is drawn."""
    linear = nn.Linear(weight.shape[0], weight.shape[1], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.t().contiguous())
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear


class Composite(nn.Module):
    """A linear layer made of parts.

    Args:
        root: maps (..., K) to (..., M).
        in_features, out_features: K and M of the layer that it stands in for.
        recipe: the name of the recipe that made it, for reports.
    """

    def __init__(self, root: nn.Module, in_features: int, out_features: int, recipe: str = "") -> None:
        super().__init__()
        self.root = root
        self.in_features, self.out_features, self.recipe = in_features, out_features, recipe

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.root(x)
        return y

    @property
    def weight(self) -> Tensor:
        """The dense weight (M, K) that the parts amount to; computed anew at each access, read-only."""
        like = next(self.parameters())
        return effective(self.root)[0].t().to(like.dtype)

    @property
    def bias(self) -> Tensor | None:
        """The bias (M,) that the parts amount to, for code that asks whether a layer has one."""
        like = next(self.parameters())
        return effective(self.root)[1].to(like.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, recipe={self.recipe!r}"


def effective(part: nn.Module) -> tuple[Tensor, Tensor]:
    """The affine map of a part, weight (K, M) and bias (M,) in float64; rows' mean on approximate tiles.

    Raises:
        InvalidInput: a module that is no part.
    """
    if isinstance(part, Composite):
        return effective(part.root)
    if isinstance(part, (nn.Linear, STLLinear)):
        dense = part.weight.detach().double().t()
        given: Tensor | None = part.bias
        return dense, dense.new_zeros(dense.shape[1]) if given is None else given.detach().double()
    if isinstance(part, (Select, Scatter)):
        size = (part.width, len(part.index))
        eye = torch.zeros(size, dtype=torch.float64, device=part.index.device)
        eye[part.index, torch.arange(size[1], device=eye.device)] = 1
        eye = eye if isinstance(part, Select) else eye.t()
        return eye, eye.new_zeros(eye.shape[1])
    if isinstance(part, Shift):
        shift = part.shift.detach().double()
        return torch.eye(len(shift), dtype=shift.dtype, device=shift.device), shift
    if isinstance(part, Shared):
        return effective(part.part)
    if isinstance(part, Borrowed):
        return effective(part.shared)
    if isinstance(part, Sum):
        maps = [effective(p) for p in part.parts]
        return sum(w for w, _ in maps[1:]) + maps[0][0], sum(b for _, b in maps[1:]) + maps[0][1]
    if isinstance(part, Sequence):
        weight, bias = effective(part.parts[0])
        for follower in part.parts[1:]:
            # Selecting columns is an index, not a product with a matrix of zeros and ones.
            if isinstance(follower, Select):
                weight, bias = weight[:, follower.index], bias[follower.index]
                continue
            w, b = effective(follower)
            weight, bias = weight @ w, bias @ w + b
        return weight, bias
    raise InvalidInput("part", expected="a part of a composite", got=type(part).__name__)


def products_of(part: nn.Module) -> list[nn.Linear | STLLinear]:
    """The products of a composite or a part that it owns, in the order of the parts."""
    return [m for m in part.modules() if isinstance(m, (nn.Linear, STLLinear))]


def replace_products(part: nn.Module, make: Callable[[nn.Linear], nn.Module | None]) -> None:
    """Replace every dense product for which `make` returns a module, in place; 2:4 products stay."""
    for parent in list(part.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                other = make(child)
                if other is not None:
                    setattr(parent, name, other)


def on_tiles(linear: nn.Linear, algorithm: BilinearAlgorithm, row_grouping: str) -> STLLinear:
    """A dense product on tiles, in its own dtype; strided tiles, which are views where sizes fit."""
    options = LayerOptions(row_grouping=row_grouping, tiling="strided")
    return STLLinear.from_linear(linear, algorithm, options=options)
