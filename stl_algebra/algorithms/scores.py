"""Closed-form scores of a bilinear algorithm: NMSE, amplification of rounding errors, their total at a dtype.

Pure functions with one convention: NMSE is E|XW - Y|^2 / E|XW|^2, relative squared Frobenius error. The
exact statements and their limits are in docs/theory.md, section 2; sampling on actual matrices lives in
`stl_search`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour, coloured_encoders, target_tensor
from stl_algebra.algorithms.profile import Profile, profile_of
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.precision import PRECISIONS, precision

#: Entries of a computed tensor above which the white NMSE is had from Gram matrices, without the tensor.
_LARGEST_TENSOR = 2**21


def moments_with_target(algorithm: BilinearAlgorithm) -> tuple[float, float]:
    """<T, T^> / |T|^2 and |T^|^2 / |T|^2 on white tiles, from r x r Gram matrices; both are 1 where exact."""
    t, r = algorithm.tile, algorithm.rank
    x, w, d = algorithm.encode_x, algorithm.encode_w, algorithm.decode.T
    products = x.reshape(r, t.n, t.k) @ w.reshape(r, t.k, t.m)
    overlap = float((products.reshape(r, -1) * d).sum())
    power = float(((x @ x.T) * (w @ w.T) * (d @ d.T)).sum())
    return overlap / t.products, power / t.products


def nmse(algorithm: BilinearAlgorithm, colour: Colour | None = None) -> float:
    """|T - T^|^2 / |T|^2 in the colour's metric: the exact NMSE on white tiles when `colour` is None.

    For coloured tiles it is exact when tiles at different inner positions are uncorrelated in X or in W.
    Costs r * nk * km * nm multiplications; for formats as large as <12,12,12> r^2 (nk + km + nm), to within
    1e-12. Ignores rounding: see `amplification`.
    """
    t = algorithm.tile
    if colour is None and t.products**2 > _LARGEST_TENSOR:
        overlap, power = moments_with_target(algorithm)
        return max(1.0 - 2.0 * overlap + power, 0.0)
    target = target_tensor(algorithm.tile, colour)
    x, w = coloured_encoders(algorithm, colour)
    computed = np.einsum("ra,rb,yr->aby", x, w, algorithm.decode, optimize=True)
    return float(np.sum((target - computed) ** 2) / np.sum(target**2))


def inner_losses(algorithm: BilinearAlgorithm) -> NDArray[np.float64]:
    """(k,) NMSE on tiles whose X varies in one inner index alone, white there, by that index.

    On tiles with any covariance B of their rows, the same for all, and white W the squared error is
    tr(L B) n m; this is the diagonal of L. The mean is `nmse` on white tiles.
    """
    t = algorithm.tile
    computed = np.einsum("ra,rb,yr->aby", *algorithm.factors[:2], algorithm.decode, optimize=True)
    missed = (matmul_tensor(t) - computed).reshape(t.n, t.k, -1)
    losses: NDArray[np.float64] = np.square(missed).sum(axis=(0, 2)) / (t.n * t.m)
    return losses


def amplification(algorithm: BilinearAlgorithm, colour: Colour | None = None) -> float:
    """A = sum_rho |x_rho|^2 |w_rho|^2 |d_rho|^2 / |T|^2, norms in the colour's metric.

    Rounding each encoded product with relative error e adds about c e^2 A to the NMSE (docs/theory.md,
    section 2). Invariant under rescaling the three vectors of a product.
    """
    x, w = coloured_encoders(algorithm, colour)
    energy = float(np.sum(target_tensor(algorithm.tile, colour) ** 2))
    products = np.sum(x**2, axis=1) * np.sum(w**2, axis=1) * np.sum(algorithm.decode**2, axis=0)
    return float(products.sum() / energy)


@lru_cache(maxsize=1)
def _measured_constants() -> dict[str, Any]:
    text = files("stl_algebra").joinpath("data/dtype_constants.json").read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text)
    return data


def rounding_constant(dtype: str) -> float:
    """The measured c of `added NMSE = c A` for a dtype of `precision`.

    The constants are stored in stl_algebra/data/dtype_constants.json with the command that measured them.

    Raises:
        InvalidInput: unknown dtype.
    """
    return float(_measured_constants()["constants"][precision(dtype).name]["added_nmse_per_amplification"])


def total(algorithm: BilinearAlgorithm, dtype: str, colour: Colour | None = None) -> float:
    """NMSE + c(dtype) A: the score that counts.

    Raises:
        InvalidInput: unknown dtype.
    """
    return nmse(algorithm, colour) + rounding_constant(dtype) * amplification(algorithm, colour)


def column_row_nmse(tile: TileFormat, rank: int, profile: Profile | None = None) -> float:
    """NMSE of keeping r of the nkm products of the definition, the strongest ones: the trivial baseline.

    1 - r / nkm on white tiles.
    """
    if profile is None:
        return 1.0 - rank / tile.products
    whole, rest = divmod(min(rank, tile.products), tile.n * tile.m)
    shares = profile.shares
    part = shares[whole] * rest / (tile.n * tile.m) if rest else 0.0
    return 1.0 - sum(shares[:whole]) - part


@dataclass(frozen=True)
class Scores:
    """The closed-form scores of an algorithm on white tiles, or on those of the profile it was fitted to.

    Attributes:
        nmse: NMSE.
        amplification: A, of rounding errors.
        column_row: NMSE of the trivial baseline at the same rank.
        ratio: multiplication ratio nkm / r.
        profile: shares of variance of the tiles' inner entries, None for white tiles.
    """

    nmse: float
    amplification: float
    column_row: float
    ratio: float
    profile: Profile | None = None

    @property
    def tiles(self) -> str:
        """What the scores are on, in words: "white" or "profile p1,p2,..."."""
        return "white" if self.profile is None else f"profile {self.profile}"

    def total(self, dtype: str) -> float:
        """NMSE + c(dtype) A.

        Raises:
            InvalidInput: unknown dtype.
        """
        return self.nmse + rounding_constant(dtype) * self.amplification

    def as_json(self) -> dict[str, Any]:
        """As files, tables and `--json` have them: nmse_white, amplification, total_DTYPE, and so on.

        On the tiles of a profile: nmse_profile in place of nmse_white, and the profile's shares.
        """
        shares = {} if self.profile is None else {"profile": list(self.profile.shares)}
        return {
            "nmse_white" if self.profile is None else "nmse_profile": self.nmse,
            "amplification": self.amplification,
            **{f"total_{dtype}": self.total(dtype) for dtype in PRECISIONS},
            "column_row_nmse": self.column_row,
            "ratio": self.ratio,
            **shares,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Scores | None:
        """Inverse of `as_json`; totals follow from the constants in force. None where one is missing."""
        try:
            shares = data.get("profile")
            names = ("nmse_white" if shares is None else "nmse_profile", "amplification")
            nmse, amplified, baseline, ratio = (float(data[k]) for k in (*names, "column_row_nmse", "ratio"))
            profile = None if shares is None else Profile(tuple(float(p) for p in shares))
            return cls(nmse, amplified, baseline, ratio, profile)
        except (KeyError, TypeError, ValueError, InvalidInput):
            return None


def closed_form_scores(algorithm: BilinearAlgorithm) -> Scores:
    """NMSE, amplification and what follows from them; costs r * nk * km * nm multiplications.

    White, but for an algorithm that was fitted to a profile: in the colour of that.
    """
    profile, tile = profile_of(algorithm), algorithm.tile
    colour = None if profile is None else profile.colour(tile)
    return Scores(
        nmse(algorithm, colour),
        amplification(algorithm, colour),
        column_row_nmse(tile, algorithm.rank, profile),
        algorithm.ratio,
        profile,
    )
