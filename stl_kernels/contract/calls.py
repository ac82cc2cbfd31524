"""The ops' arguments as values, one type per op: fields in the schema's order, checks, the result's shape.

What the arrays mean is said in `stl_kernels.ops`. The checks read shapes, dtypes and devices only, so they
hold for fake tensors; the finiteness of factors on the CPU is read where an op runs.

What does not belong here: gradients, registration and which backend runs (`stl_kernels.ops`).
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, ClassVar

from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_kernels.contract.checks import (
    check_bias,
    check_matrix,
    check_permutation,
    check_sides,
    check_together,
)
from stl_kernels.contract.tiles import Cut, ceil_div

#: A size that may be symbolic while a model is compiled; every other int is a constant of the graph.
Size = int

_SCHEMA_TYPES = {
    "Tensor": "Tensor",
    "Tensor | None": "Tensor?",
    "Size": "SymInt",
    "int": "int",
    "bool": "bool",
    "bool | None": "bool?",
    "str": "str",
}
_OTHER_FORMAT = "are these encoders of another tile format or rank?"


class Call:
    """What the five calls share; a subclass is a frozen dataclass.

    Attributes:
        saved: the tensors that the gradients need.
        factor_names: the small tensors whose entries are checked where they are on the CPU.
        leader: the tensor whose device and dtype choose the backend.
    """

    saved: ClassVar[tuple[str, ...]]
    factor_names: ClassVar[tuple[str, ...]] = ()
    leader: ClassVar[str] = "x"
    backend: str
    # Says to the type checker that every subclass is a dataclass.
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @classmethod
    def schema(cls) -> str:
        """The arguments as torch.library writes them."""
        return ", ".join(
            f"{_SCHEMA_TYPES[str(f.type)]} {f.name}" + ("" if f.default is MISSING else f"={f.default}")
            for f in fields(cls)
        )

    def check(self) -> None:
        """Raise InvalidInput where arguments do not fit together; reads no values."""
        raise NotImplementedError

    def empty(self) -> Tensor:
        """The result's shape, dtype and device, uninitialised."""
        raise NotImplementedError


@dataclass(frozen=True)
class Encode(Call):
    """x (N, K), factor (r, n*k) to (r, I, L)."""

    x: Tensor
    factor: Tensor
    n: int
    k: int
    permutation: Tensor | None
    strided: bool
    backend: str

    saved = ("x", "factor", "permutation")
    factor_names = ("factor",)

    @property
    def cut(self) -> Cut:
        """How x is cut."""
        return Cut(self.n, self.k, self.permutation, self.strided)

    def check(self) -> None:
        check_together(x=self.x, factor=self.factor)
        check_matrix("x", self.x)
        check_matrix("factor", self.factor)
        check_sides(n=self.n, k=self.k)
        if self.factor.shape[1] != self.cut.size:
            raise InvalidInput(
                "factor",
                expected=f"{self.cut.size} columns for {self.n} x {self.k} tiles",
                got=f"shape {tuple(self.factor.shape)}",
                hint=_OTHER_FORMAT,
            )
        check_permutation(self.permutation, self.x.shape[1], self.x.device)

    def empty(self) -> Tensor:
        return self.x.new_empty(self.factor.shape[0], *self.cut.counts(*self.x.shape))


@dataclass(frozen=True)
class Core(Call):
    """encoded_x (r, I, L), encoded_w (r, L, J) to (r, I, J)."""

    encoded_x: Tensor
    encoded_w: Tensor
    backend: str

    saved = ("encoded_x", "encoded_w")
    leader = "encoded_x"

    def check(self) -> None:
        check_together(encoded_x=self.encoded_x, encoded_w=self.encoded_w)
        check_matrix("encoded_x", self.encoded_x, 3)
        check_matrix("encoded_w", self.encoded_w, 3)
        rank, _, inner = self.encoded_x.shape
        if self.encoded_w.shape[0] != rank or self.encoded_w.shape[1] != inner:
            raise InvalidInput(
                "encoded_w",
                expected=f"shape (r, L, J) with r = {rank} and L = {inner}",
                got=f"shape {tuple(self.encoded_w.shape)}",
            )

    def empty(self) -> Tensor:
        return self.encoded_x.new_empty(*self.encoded_x.shape[:2], self.encoded_w.shape[2])


@dataclass(frozen=True)
class Decode(Call):
    """products (r, I, J), factor (n*m, r), bias (columns,) to (rows, columns)."""

    products: Tensor
    factor: Tensor
    bias: Tensor | None
    rows: Size
    columns: Size
    n: int
    m: int
    permutation: Tensor | None
    strided: bool
    backend: str

    saved = ("products", "factor", "permutation")
    factor_names = ("factor",)
    leader = "products"

    @property
    def cut(self) -> Cut:
        """How the result is cut."""
        return Cut(self.n, self.m, self.permutation, self.strided)

    def check(self) -> None:
        check_together(products=self.products, factor=self.factor, bias=self.bias)
        check_matrix("products", self.products, 3)
        check_matrix("factor", self.factor)
        check_sides(n=self.n, m=self.m)
        rank = self.products.shape[0]
        if self.factor.shape[0] != self.cut.size or self.factor.shape[1] != rank:
            raise InvalidInput(
                "factor",
                expected=f"shape ({self.cut.size}, {rank}) for {self.n} x {self.m} tiles at rank {rank}",
                got=f"shape {tuple(self.factor.shape)}",
                hint=_OTHER_FORMAT,
            )
        for name, size, side, count in (
            ("rows", self.rows, self.n, self.products.shape[1]),
            ("columns", self.columns, self.m, self.products.shape[2]),
        ):
            if ceil_div(size, side) != count:
                raise InvalidInput(
                    name, expected=f"a size that {count} tiles of side {side} cover", got=f"{name} = {size}"
                )
        check_bias(self.bias, self.columns)
        check_permutation(self.permutation, self.columns, self.products.device)

    def empty(self) -> Tensor:
        return self.products.new_empty(self.rows, self.columns)


@dataclass(frozen=True)
class Correlate(Call):
    """encoded (r, I, L), x (N, K) to (r, n*k)."""

    encoded: Tensor
    x: Tensor
    n: int
    k: int
    permutation: Tensor | None
    strided: bool
    backend: str

    saved = ("encoded", "x", "permutation")

    @property
    def cut(self) -> Cut:
        """How x is cut."""
        return Cut(self.n, self.k, self.permutation, self.strided)

    def check(self) -> None:
        check_together(encoded=self.encoded, x=self.x)
        check_matrix("encoded", self.encoded, 3)
        check_matrix("x", self.x)
        check_sides(n=self.n, k=self.k)
        tile_rows, tile_columns = self.cut.counts(*self.x.shape)
        if self.encoded.shape[1] != tile_rows or self.encoded.shape[2] != tile_columns:
            raise InvalidInput(
                "encoded",
                expected=f"shape (r, {tile_rows}, {tile_columns})",
                got=f"shape {tuple(self.encoded.shape)}",
            )
        check_permutation(self.permutation, self.x.shape[1], self.x.device)

    def empty(self) -> Tensor:
        return self.encoded.new_empty(self.encoded.shape[0], self.cut.size)


@dataclass(frozen=True)
class Linear(Call):
    """x (N, K), encode_x (r, n*k), encoded_w (r, ceil(K/k), ceil(M/m)), decode (n*m, r), bias (M,) to (N, M).

    `fused` says whether core and decode are one kernel: True and False are orders, None leaves it to the
    backend. `constant` says that encoded_w will be used again with the same values: a backend may keep it in
    another order. The values are the same up to rounding.
    """

    x: Tensor
    encode_x: Tensor
    encoded_w: Tensor
    decode: Tensor
    bias: Tensor | None
    columns: Size
    n: int
    k: int
    m: int
    permutation: Tensor | None
    strided: bool
    fused: bool | None
    backend: str
    constant: bool = False

    saved = ("x", "encode_x", "encoded_w", "decode", "permutation")
    factor_names = ("encode_x", "decode")

    @property
    def into(self) -> Cut:
        """How x is cut."""
        return Cut(self.n, self.k, self.permutation, self.strided)

    @property
    def onto(self) -> Cut:
        """How the result is cut."""
        return Cut(self.n, self.m, None, self.strided)

    def check(self) -> None:
        check_together(
            x=self.x, encode_x=self.encode_x, encoded_w=self.encoded_w, decode=self.decode, bias=self.bias
        )
        check_matrix("x", self.x)
        check_matrix("encode_x", self.encode_x)
        check_matrix("encoded_w", self.encoded_w, 3)
        check_matrix("decode", self.decode)
        check_sides(n=self.n, k=self.k, m=self.m)
        rank = self.encode_x.shape[0]
        for name, tensor, shape in (
            ("encode_x", self.encode_x, (rank, self.into.size)),
            ("decode", self.decode, (self.onto.size, rank)),
        ):
            if tuple(tensor.shape) != shape:
                raise InvalidInput(
                    name,
                    expected=f"shape {shape} for the tile format <{self.n},{self.k},{self.m}>",
                    got=f"shape {tuple(tensor.shape)}",
                    hint=_OTHER_FORMAT,
                )
        if self.encoded_w.shape[0] != rank:
            raise InvalidInput(
                "encoded_w",
                expected=f"rank {rank}",
                got=f"rank {self.encoded_w.shape[0]}",
                hint=_OTHER_FORMAT,
            )
        for name, axis, size, side, count in (
            ("x", "K", self.x.shape[1], self.k, self.encoded_w.shape[1]),
            ("columns", "M", self.columns, self.m, self.encoded_w.shape[2]),
        ):
            if ceil_div(size, side) != count:
                raise InvalidInput(
                    name,
                    expected=f"{axis} with ceil({axis} / {side}) = {count}, the encoded weights' tile count",
                    got=f"{axis} = {size}",
                )
        check_bias(self.bias, self.columns)
        check_permutation(self.permutation, self.x.shape[1], self.x.device)

    def empty(self) -> Tensor:
        return self.x.new_empty(self.x.shape[0], self.columns)
