"""The bilinear algorithm: the one value that families make, scores read and kernels run.

Convention, fixed here and nowhere else. An algorithm of rank r for the tile format <n, k, m> is three
real matrices with one row (or column) per product rho:

    encode_x : (r, n*k)      encode_w : (r, k*m)      decode : (n*m, r)

and computes, for tiles X (n x k) and W (k x m) flattened row by row,

    vec(Y)[y] = sum_rho decode[y, rho] * <encode_x[rho], vec(X)> * <encode_w[rho], vec(W)>

that is, the tensor T^[a, b, y] = einsum("ra,rb,yr->aby", encode_x, encode_w, decode).

What does not belong here: making algorithms (`families`), judging them (`scores`, `verify`), files
(`encoders_file`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.errors import InvalidInput

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class BilinearAlgorithm:
    """A bilinear algorithm of rank r for the tile format <n, k, m>; immutable.

    Args:
        tile: the format, or its spelling.
        encode_x: (r, n*k) coefficients of the X entries in each product.
        encode_w: (r, k*m) coefficients of the W entries in each product.
        decode: (n*m, r) coefficients of each product in the Y entries.
        name: a short name for tables.
        provenance: where it comes from.

    The arrays are copied to float64 and made read-only. Two algorithms are equal when their formats and
    all entries are equal; name and provenance do not count.

    Raises:
        InvalidInput: a factor has another shape, is complex, or holds NaN or an infinity.
    """

    tile: TileFormat
    encode_x: Array
    encode_w: Array
    decode: Array
    name: str = ""
    provenance: Provenance = field(default_factory=Provenance)

    def __init__(
        self,
        tile: TileFormat | str,
        encode_x: ArrayLike,
        encode_w: ArrayLike,
        decode: ArrayLike,
        name: str = "",
        provenance: Provenance | None = None,
    ) -> None:
        tile = as_tile(tile)
        factors = {
            "encode_x": _as_factor("encode_x", encode_x),
            "encode_w": _as_factor("encode_w", encode_w),
            "decode": _as_factor("decode", decode),
        }
        rank = factors["encode_x"].shape[0]
        shapes = {
            "encode_x": ((rank, tile.x_size), "(r, n*k)"),
            "encode_w": ((rank, tile.w_size), "(r, k*m)"),
            "decode": ((tile.y_size, rank), "(n*m, r)"),
        }
        if rank < 1:
            raise InvalidInput("encode_x", expected="at least one product (row)", got="no row")
        for key, (shape, meaning) in shapes.items():
            if factors[key].shape != shape:
                raise InvalidInput(
                    key,
                    expected=f"shape {meaning} = {shape} for the tile format {tile} at rank {rank}",
                    got=f"shape {factors[key].shape}",
                )
        object.__setattr__(self, "tile", tile)
        for key, value in factors.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "name", str(name))
        object.__setattr__(self, "provenance", provenance or Provenance())

    @property
    def rank(self) -> int:
        """Number of products r."""
        return int(self.encode_x.shape[0])

    @property
    def ratio(self) -> float:
        """Multiplication ratio nkm / r."""
        return self.tile.ratio(self.rank)

    @property
    def factors(self) -> tuple[Array, Array, Array]:
        """(encode_x, encode_w, decode.T), all with one row per product."""
        return self.encode_x, self.encode_w, self.decode.T

    def tensor(self) -> Array:
        """The tensor it computes, (n*k, k*m, n*m): einsum("ra,rb,yr->aby") of the three factors."""
        out: Array = np.einsum("ra,rb,yr->aby", self.encode_x, self.encode_w, self.decode, optimize=True)
        return out

    def multiply(self, x: ArrayLike, w: ArrayLike) -> Array:
        """X @ W by this algorithm, in float64 and without any thought of speed: the definition.

        Args:
            x: (N, K) with N, K multiples of n, k.
            w: (K, M) with M a multiple of m.

        Returns:
            (N, M).

        Raises:
            InvalidInput: sizes do not match or no tile divides them.
        """
        x, w = np.asarray(x, dtype=np.float64), np.asarray(w, dtype=np.float64)
        t = self.tile
        if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0]:
            raise InvalidInput(
                "x, w", expected="matrices (N, K) and (K, M)", got=f"shapes {x.shape} and {w.shape}"
            )
        for label, size, side in (
            ("N", x.shape[0], t.n),
            ("K", x.shape[1], t.k),
            ("M", w.shape[1], t.m),
        ):
            if size % side:
                raise InvalidInput(label, expected=f"a multiple of {side}", got=size)
        rows, inner, columns = x.shape[0] // t.n, x.shape[1] // t.k, w.shape[1] // t.m
        x_tiles = x.reshape(rows, t.n, inner, t.k).transpose(0, 2, 1, 3).reshape(rows, inner, -1)
        w_tiles = w.reshape(inner, t.k, columns, t.m).transpose(0, 2, 1, 3).reshape(inner, columns, -1)
        encoded_x = np.einsum("ra,ila->ril", self.encode_x, x_tiles, optimize=True)
        encoded_w = np.einsum("rb,ljb->rlj", self.encode_w, w_tiles, optimize=True)
        y_tiles = np.einsum("yr,rij->ijy", self.decode, encoded_x @ encoded_w, optimize=True)
        tiles = y_tiles.reshape(rows, columns, t.n, t.m).transpose(0, 2, 1, 3)
        out: Array = tiles.reshape(rows * t.n, columns * t.m)
        return out

    def with_factors(
        self,
        encode_x: ArrayLike | None = None,
        encode_w: ArrayLike | None = None,
        decode: ArrayLike | None = None,
        *steps: str,
    ) -> BilinearAlgorithm:
        """A copy with some factors replaced and `steps` appended to its provenance."""
        return BilinearAlgorithm(
            self.tile,
            self.encode_x if encode_x is None else encode_x,
            self.encode_w if encode_w is None else encode_w,
            self.decode if decode is None else decode,
            self.name,
            self.provenance.then(*steps),
        )

    def renamed(self, name: str, provenance: Provenance | None = None) -> BilinearAlgorithm:
        """A copy with another name and, if given, another provenance."""
        return BilinearAlgorithm(
            self.tile,
            *(self.encode_x, self.encode_w, self.decode),
            name,
            provenance or self.provenance,
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the format and the three factors, in hexadecimal; the identity of the numbers."""
        state = hashlib.sha256(str(self.tile).encode())
        for factor in (self.encode_x, self.encode_w, self.decode):
            # Adding 0.0 turns -0.0 into 0.0, so that equal algorithms have equal digests.
            state.update(np.ascontiguousarray(factor + 0.0, dtype="<f8").tobytes())
        return state.hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BilinearAlgorithm):
            return NotImplemented
        return self.tile == other.tile and all(
            a.shape == b.shape and np.array_equal(a, b)
            for a, b in zip(self.factors, other.factors, strict=True)
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " if self.name else ""
        return f"BilinearAlgorithm({name}{self.tile}, rank={self.rank}, digest={self.digest[:12]})"

    def __reduce__(self) -> tuple[object, ...]:
        return BilinearAlgorithm, (
            self.tile,
            *(self.encode_x, self.encode_w, self.decode),
            self.name,
            self.provenance,
        )


def _as_factor(name: str, values: ArrayLike) -> Array:
    try:
        given = np.asarray(values)
        if np.iscomplexobj(given):
            raise InvalidInput(name, expected="real entries", got=f"dtype {given.dtype}")
        array = np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(name, expected="a matrix of real numbers", got=str(error)) from error
    if array.ndim != 2:
        raise InvalidInput(name, expected="a matrix (2 axes)", got=f"{array.ndim} axes")
    if not np.isfinite(array).all():
        raise InvalidInput(name, expected="finite entries", got="NaN or an infinity")
    array.setflags(write=False)
    return array
