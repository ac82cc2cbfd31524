"""A two-level algorithm: an outer one on blocks whose products an inner one computes.

Its rank, ratio and scores follow from those of the two; as one algorithm of the large format it is their
Kronecker product (`compose.kronecker`). Kept apart, a layer encodes in two steps, which takes far fewer
operations: `outer` on whole blocks, then `inner` on tiles. What does not belong here: what the package has to
choose from (`stl_algebra.published`), running it (`stl_kernels.layers.two_level`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import kronecker
from stl_algebra.algorithms.profile import profile_of
from stl_algebra.algorithms.scores import Scores, column_row_nmse, moments_with_target
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class TwoLevel:
    """Two algorithms, one inside the other.

    Attributes:
        outer: of <n1, k1, m1>, on blocks; exact, as a rule.
        inner: of <n2, k2, m2>, for the products of the blocks.

    Raises:
        InvalidInput: one of them was fitted to the profile of sorted features: blocks of sorted features have
            other profiles.
    """

    outer: BilinearAlgorithm
    inner: BilinearAlgorithm

    def __post_init__(self) -> None:
        for name, part in (("outer", self.outer), ("inner", self.inner)):
            if profile_of(part) is not None:
                raise InvalidInput(name, expected="an algorithm for white tiles", got="one of a profile")

    @property
    def tile(self) -> TileFormat:
        """<n1 n2, k1 k2, m1 m2>."""
        s, t = self.outer.tile, self.inner.tile
        return TileFormat(s.n * t.n, s.k * t.k, s.m * t.m)

    @property
    def rank(self) -> int:
        """Products of numbers a tile."""
        return self.outer.rank * self.inner.rank

    @property
    def ratio(self) -> float:
        """nkm / r."""
        return self.tile.products / self.rank

    @property
    def name(self) -> str:
        """As `read_encoders` takes it: "2x2x2-r7*4x4x4-r36"."""
        return "*".join(f"{a.tile.slug}-r{a.rank}" for a in (self.outer, self.inner))

    @cached_property
    def scores(self) -> Scores:
        """On white tiles, in closed form from the two: <T, T^>, |T^|^2 and A are products."""
        (s1, p1, a1), (s2, p2, a2) = _figures(self.outer), _figures(self.inner)
        nmse = max(1.0 - 2.0 * s1 * s2 + p1 * p2, 0.0)
        return Scores(nmse, a1 * a2, column_row_nmse(self.tile, self.rank), self.ratio)

    @cached_property
    def flat(self) -> BilinearAlgorithm:
        """The same as one algorithm of the large format."""
        return kronecker(self.outer, self.inner)

    def encoding_cost(self) -> float:
        """Multiplications an element of X, dense, outer then inner: r1 + r1 r2 / (n1 k1)."""
        return self.outer.rank * (1.0 + self.inner.rank / (self.outer.tile.n * self.outer.tile.k))

    def __repr__(self) -> str:
        return f"TwoLevel({self.name}, {self.tile}, rank {self.rank}, ratio {self.ratio:.3g})"


@lru_cache(maxsize=512)
def _figures(algorithm: BilinearAlgorithm) -> tuple[float, float, float]:
    """<T, T^> / |T|^2, |T^|^2 / |T|^2 and A."""
    overlap, power = moments_with_target(algorithm)
    norms = [np.sum(f**2, axis=1) for f in (algorithm.encode_x, algorithm.encode_w, algorithm.decode.T)]
    return overlap, power, float((norms[0] * norms[1] * norms[2]).sum() / algorithm.tile.products)
