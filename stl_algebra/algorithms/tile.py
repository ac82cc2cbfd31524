"""The tile format <n, k, m>: sides, sizes, spellings, and which ranks make sense for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from stl_algebra.errors import InvalidInput

_FORMAT_PATTERN = re.compile(r"<?\s*(\d+)(?:\s*[x×,]\s*(\d+)\s*[x×,]\s*(\d+))?\s*>?")
_LARGEST_SIDE = 64


@dataclass(frozen=True, order=True)
class TileFormat:
    """The tile format <n, k, m>: X tiles are n x k, W tiles are k x m, Y tiles are n x m."""

    n: int
    k: int
    m: int

    def __post_init__(self) -> None:
        for name, side in (("n", self.n), ("k", self.k), ("m", self.m)):
            if not isinstance(side, (int, np.integer)) or isinstance(side, bool):
                raise InvalidInput(f"tile side {name}", expected="an integer", got=side)
            if not 1 <= side <= _LARGEST_SIDE:
                raise InvalidInput(
                    f"tile side {name}", expected=f"a size from 1 to {_LARGEST_SIDE}", got=int(side)
                )
            object.__setattr__(self, name, int(side))

    @classmethod
    def parse(cls, text: str) -> TileFormat:
        """Read "4" (the square <4,4,4>), "4x4x2" or "<4,4,2>".

        Raises:
            InvalidInput: the text is none of these, or a side is out of range.
        """
        match = _FORMAT_PATTERN.fullmatch(text.strip())
        if match is None:
            raise InvalidInput("tile", expected='a size such as "4" or three such as "4x4x2"', got=repr(text))
        first, second, third = match.groups()
        if second is None:
            return cls(int(first), int(first), int(first))
        return cls(int(first), int(second), int(third))

    @property
    def x_size(self) -> int:
        """Entries of an X tile, n*k."""
        return self.n * self.k

    @property
    def w_size(self) -> int:
        """Entries of a W tile, k*m."""
        return self.k * self.m

    @property
    def y_size(self) -> int:
        """Entries of a Y tile, n*m."""
        return self.n * self.m

    @property
    def products(self) -> int:
        """Scalar multiplications of the definition, n*k*m, which is the number of ones of the tensor."""
        return self.n * self.k * self.m

    def ratio(self, rank: int) -> float:
        """Multiplication ratio nkm / r."""
        return self.products / rank

    def __str__(self) -> str:
        return f"<{self.n},{self.k},{self.m}>"

    @property
    def ascending(self) -> tuple[int, int, int]:
        """The sides in ascending order, which is what formats that differ by a permutation have in common."""
        a, b, c = sorted((self.n, self.k, self.m))
        return a, b, c

    @property
    def slug(self) -> str:
        """The spelling used in file names and on the command line, as "4x4x2"."""
        return f"{self.n}x{self.k}x{self.m}"


def as_tile(tile: TileFormat | str) -> TileFormat:
    """The format of a value or of its spelling.

    Raises:
        InvalidInput: as `TileFormat.parse`.
    """
    return TileFormat.parse(tile) if isinstance(tile, str) else tile


def check_rank(rank: int, tile: TileFormat) -> int:
    """Return `rank` if an algorithm of that rank makes sense for `tile`.

    Raises:
        InvalidInput: it is no integer from 1 to nkm. More products than the definition's nkm never help.
    """
    if isinstance(rank, bool) or not isinstance(rank, (int, np.integer)):
        raise InvalidInput("rank", expected="an integer", got=rank)
    if not 1 <= rank <= tile.products:
        raise InvalidInput(
            "rank",
            expected=f"1 to {tile.products} products for the tile format {tile}",
            got=int(rank),
            hint=f"{tile.products} is the definition itself",
        )
    return int(rank)
