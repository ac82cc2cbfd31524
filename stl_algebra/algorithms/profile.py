"""How the variance of a layer's features is spread when they are sorted and dealt out: its sorted profile.

Sort the features of a layer by variance, the largest first, split the order into k equal parts and give every
tile one feature of each part: entry l of a tile row then holds a share p_l of the variance, and for rows that
are independent and centred the second moment of a tile X (n, k) is I_n (x) diag(p) up to scale
(docs/theory.md, section 15). Encoders fitted to p serve every layer whose profile is near it. What does not
belong here: which features of the parts meet in a tile (`feature_layout`), the encoders for a profile
(`published`), layers (`stl_kernels`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput

#: Name of the parameter of a provenance that says which profile an algorithm was fitted to.
PARAMETER = "profile"
#: The name of the shipped profiles.
SORTED = "sorted"
#: Inner sides that a profile is shipped for: data/sorted_profiles, with the command that measured it.
_SHIPPED = (4, 8)


@dataclass(frozen=True)
class Profile:
    """The shares of variance of the k entries of a tile row, the largest first.

    Attributes:
        shares: p_1 >= ... >= p_k > 0; scaled to sum 1 on the way in.

    Raises:
        InvalidInput: no shares, one that is not positive and finite, or not in falling order.
    """

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        given = np.asarray(self.shares, np.float64)
        if given.ndim != 1 or not given.size:
            raise InvalidInput("profile", expected="k shares of variance", got=f"shape {given.shape}")
        if not (np.isfinite(given).all() and (given > 0).all()):
            raise InvalidInput("profile", expected="positive finite shares", got=given.tolist())
        if (np.diff(given) > 0).any():
            raise InvalidInput("profile", expected="shares in falling order", got=given.tolist())
        total = float(given.sum())
        # Shares that add up already stay as they are, so that a profile that was stored is the same again.
        shares = given if abs(total - 1.0) < 1e-9 else given / total
        object.__setattr__(self, "shares", tuple(shares.tolist()))

    @classmethod
    def parse(cls, text: str, k: int = 4) -> Profile:
        """From "p1,p2,...,pk", or "sorted" for the one that is shipped for k.

        Raises:
            InvalidInput: neither.
        """
        if text.strip() == SORTED:
            return shipped_profile(k)
        try:
            shares = tuple(float(part) for part in text.split(","))
        except ValueError:
            raise InvalidInput(
                "profile", expected=f"shares such as 0.6,0.2,0.12,0.08, or {SORTED!r}", got=repr(text)
            ) from None
        return cls(shares)

    @classmethod
    def of_variances(cls, variances: ArrayLike, k: int) -> Profile:
        """The profile of features with these variances (K,), dealt out to tiles of k.

        Raises:
            InvalidInput: `variances` does not fit `k`, see `sorted_order`; or a part of them is zero.
        """
        order = sorted_order(variances, k)
        sums = np.asarray(variances, np.float64)[order].reshape(k, -1).sum(axis=1)
        return cls(tuple(sums.tolist()))

    @property
    def k(self) -> int:
        """Inner side of the tiles."""
        return len(self.shares)

    def colour(self, tile: TileFormat) -> Colour:
        """S_x = I_n (x) diag(p) k, so that the mean variance is 1; W white.

        Raises:
            InvalidInput: the tile has another k.
        """
        if tile.k != self.k:
            raise InvalidInput("profile", expected=f"{tile.k} shares for {tile}", got=f"{self.k}")
        root = np.sqrt(np.array(self.shares, np.float64) * self.k)
        root_x = np.asarray(np.kron(np.eye(tile.n), np.diag(root)), np.float64)
        return Colour(root_x, np.eye(tile.w_size))

    def __str__(self) -> str:
        return ",".join(f"{share:.4g}" for share in self.shares)


def sorted_order(variances: ArrayLike, k: int) -> NDArray[np.int64]:
    """Feature indices (K,) by falling variance: the permutation of *strided* tiles, entry j of tile L being
    the feature at j K/k + L of this order.

    Raises:
        InvalidInput: not a vector of finite non-negative numbers, or k does not divide K.
    """
    given = np.asarray(variances, np.float64)
    if given.ndim != 1 or not (np.isfinite(given).all() and (given >= 0).all()):
        raise InvalidInput(
            "variances", expected="a vector of finite numbers of at least 0", got=f"shape {given.shape}"
        )
    if not given.size or given.size % k:
        raise InvalidInput("variances", expected=f"as many features as a multiple of {k}", got=given.size)
    return np.argsort(-given, kind="stable")


def fitted_to(algorithm: BilinearAlgorithm, profile: Profile) -> BilinearAlgorithm:
    """The algorithm with a provenance that says which profile it was fitted to; see `profile_of`."""
    origin = algorithm.provenance.with_parameters({PARAMETER: list(profile.shares)})
    return algorithm.renamed(algorithm.name, origin)


def profile_of(algorithm: BilinearAlgorithm) -> Profile | None:
    """The profile that an algorithm was fitted to, None for white tiles.

    Raises:
        InvalidInput: what its provenance says is no profile of its format.
    """
    stored = algorithm.provenance.parameters.get(PARAMETER)
    if stored is None:
        return None
    if not isinstance(stored, Sequence) or isinstance(stored, str):
        raise InvalidInput("profile", expected="a list of shares in the provenance", got=repr(stored))
    profile = Profile(tuple(float(share) for share in stored))
    if profile.k != algorithm.tile.k:
        raise InvalidInput(
            "profile", expected=f"{algorithm.tile.k} shares for {algorithm.tile}", got=profile.k
        )
    return profile


@lru_cache(maxsize=len(_SHIPPED))
def shipped_profile(k: int = 4) -> Profile:
    """The profile "sorted" of tiles with inner side k, measured on the bundled layers.

    Raises:
        InvalidInput: there is none for k; lists for which there is.
    """
    if k not in _SHIPPED:
        sides = " or ".join(map(str, _SHIPPED))
        raise InvalidInput(
            "profile",
            expected=f"{k} shares of variance, as {SORTED!r} has k = {sides} only",
            got=repr(SORTED),
        )
    text = files("stl_algebra").joinpath(f"data/sorted_profiles/k{k}.json").read_text(encoding="utf-8")
    return Profile(tuple(json.loads(text)["profile"]))
