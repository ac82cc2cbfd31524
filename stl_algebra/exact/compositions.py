"""The ways to put a format together from smaller ones: splits of a side, and products of two formats.

What does not belong here: how algorithms are composed (`algorithms.compose`), the cheapest way (`catalogue`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import direct_sum, kronecker
from stl_algebra.algorithms.tile import TileFormat


@dataclass(frozen=True)
class Composition:
    """A format as a direct sum along a side, or as a Kronecker product.

    Attributes:
        how: "sum-n", "sum-k", "sum-m" or "kronecker".
        parts: the two formats; the larger block, or the outer one, first.
    """

    how: str
    parts: tuple[TileFormat, TileFormat]

    def rank(self, first: int, second: int) -> int:
        """The rank that algorithms of these ranks for the parts give."""
        return first * second if self.how == "kronecker" else first + second

    def apply(self, first: BilinearAlgorithm, second: BilinearAlgorithm) -> BilinearAlgorithm:
        """The algorithm of the whole format from algorithms of the parts."""
        if self.how == "kronecker":
            return kronecker(first, second)
        return direct_sum(first, second, self.how.removeprefix("sum-"))


def splits(tile: TileFormat, axes: str = "nkm") -> Iterator[Composition]:
    """Every way to cut one of these sides in two, the larger block first."""
    for axis in axes:
        side = getattr(tile, axis)
        for first in range(1, side // 2 + 1):
            parts = (replace(tile, **{axis: side - first}), replace(tile, **{axis: first}))
            yield Composition(f"sum-{axis}", parts)


def products(tile: TileFormat) -> Iterator[Composition]:
    """Every way to write the format as <n1,k1,m1> (x) <n2,k2,m2>, neither factor trivial."""
    sides = (tile.n, tile.k, tile.m)
    for outer_sides in product(*([d for d in range(1, s + 1) if s % d == 0] for s in sides)):
        outer = TileFormat(*outer_sides)
        inner = TileFormat(*(s // o for s, o in zip(sides, outer_sides, strict=True)))
        if 1 < outer.products < tile.products:
            yield Composition("kronecker", (outer, inner))


def longer(tile: TileFormat, axis: str) -> TileFormat:
    """The format with that side longer by one; its algorithms restrict to this one's."""
    return replace(tile, **{axis: getattr(tile, axis) + 1})
