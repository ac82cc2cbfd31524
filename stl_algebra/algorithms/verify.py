"""Exact arithmetic: an algorithm is *exact* only when integers or rationals say so.

A factor is read as integers over one common denominator. The denominators are found from the floats, and
every quotient must round back to the very float that is stored, so one changed bit is noticed. What does
not belong here: rounding an algorithm that is only nearly exact (`discretise`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.errors import InvalidInput, NotExact

#: Rings that a proof can be asked for; each of the first three holds the one before.
RINGS = ("Z", "Z[1/2]", "Q", "GF(2)", "GF(3)")

#: Largest denominator that an entry may have to count as rational rather than as a rounded real number.
LARGEST_DENOMINATOR = 4096


@dataclass(frozen=True)
class Verification:
    """Outcome of checking an algorithm in exact arithmetic.

    Attributes:
        exact: all entries of the tensor agree exactly.
        ring: "Z", "Z[1/2]" or "Q", the smallest of these that holds all entries; "" when an entry is not
            rational with a small denominator.
        denominators: common denominators of encode_x, encode_w and decode; empty when ring is "".
        wrong_entries: number of tensor entries that differ, None when no exact arithmetic was possible.
        gf2: the same products also multiply matrices over GF(2); None when a denominator is even.
        digest: digest of the algorithm that was checked.
        message: one line for people.
    """

    exact: bool
    ring: str
    denominators: tuple[int, ...]
    wrong_entries: int | None
    gf2: bool | None
    digest: str
    message: str

    @classmethod
    def from_certificate(cls, data: Mapping[str, Any], algorithm: BilinearAlgorithm) -> Verification | None:
        """What a stored certificate says of `algorithm`; None when it is not about these numbers.

        Nothing is proven again: the file's word is taken for it, as long as its digest is the algorithm's.
        """
        try:
            if data["digest"] != algorithm.digest:
                return None
            exact, ring = bool(data["exact"]), str(data["ring"])
            denominators = tuple(int(d) for d in data["denominators"])
            gf2 = None if data["gf2"] is None else bool(data["gf2"])
        except (KeyError, TypeError, ValueError):
            return None
        if ring and not exact:
            return None  # how many entries are wrong is not in the certificate
        entries = algorithm.tile.x_size * algorithm.tile.w_size * algorithm.tile.y_size
        message = _verdict(ring, entries, 0) if exact else _undecided(algorithm)
        return cls(exact, ring, denominators, 0 if exact else None, gf2, algorithm.digest, message)

    def certificate(self) -> dict[str, Any]:
        """What the encoders file stores: enough to repeat the check in integer arithmetic."""
        return {
            "exact": self.exact,
            "ring": self.ring,
            "denominators": list(self.denominators),
            "gf2": self.gf2,
            "digest": self.digest,
            "method": "sum over products of integer numerators equals denominator times the tensor",
        }


def rational_entry(value: float, largest: int = LARGEST_DENOMINATOR) -> Fraction | None:
    """The fraction with denominator at most `largest` whose nearest float is `value`, or None."""
    fraction = Fraction(value).limit_denominator(largest)
    return fraction if float(fraction) == value else None


def common_denominator(factor: Array, largest: int = LARGEST_DENOMINATOR) -> int | None:
    """The least common denominator of all entries, or None when an entry is not a small rational."""
    denominator = 1
    for value in np.unique(factor):
        fraction = rational_entry(float(value), largest)
        if fraction is None:
            return None
        denominator = lcm(denominator, fraction.denominator)
        if denominator > largest**2:
            return None
    return denominator


def numerators(factor: Array, denominator: int) -> NDArray[np.object_]:
    """Integers p (Python's, of any size) with factor = p / denominator."""
    out = np.empty(factor.shape, dtype=object)
    for index, value in np.ndenumerate(factor):
        scaled = Fraction(float(value)).limit_denominator(LARGEST_DENOMINATOR) * denominator
        assert scaled.denominator == 1
        out[index] = int(scaled)
    return out


def _integer_tensor(factors: list[NDArray[np.object_]]) -> NDArray[Any]:
    """sum_r x[r, a] w[r, b] d[y, r] in integers: int64 where no sum can overflow, else Python integers."""
    x, w, d = factors
    bound = x.shape[0]
    for factor in factors:
        bound *= max(1, max(abs(int(v)) for v in factor.flat))
    dtype: Any = np.int64 if bound < 2**62 else object
    x, w, d = x.astype(dtype), w.astype(dtype), d.astype(dtype)
    pairs = (x[:, :, None] * w[:, None, :]).reshape(x.shape[0], -1)
    # (y, r) @ (r, ab), then to [a, b, y].
    product = d.dot(pairs)
    return np.asarray(product.reshape(d.shape[0], x.shape[1], w.shape[1]).transpose(1, 2, 0))


def verify(algorithm: BilinearAlgorithm) -> Verification:
    """Check in integers whether the algorithm computes the matrix product of its format.

    Costs r * nk * km * nm integer operations and that many bytes times 8 / r. Never raises for an
    algorithm that is merely approximate: the answer says so.
    """
    denominators = [common_denominator(f) for f in (algorithm.encode_x, algorithm.encode_w, algorithm.decode)]
    digest = algorithm.digest
    if any(d is None for d in denominators):
        return Verification(False, "", (), None, None, digest, _undecided(algorithm))
    dx, dw, dd = (int(d) for d in denominators if d is not None)
    whole = [
        numerators(algorithm.encode_x, dx),
        numerators(algorithm.encode_w, dw),
        numerators(algorithm.decode, dd),
    ]
    scale = dx * dw * dd
    # Denominators of three factors may be too large together for 64 bits.
    target: NDArray[Any] = matmul_tensor(algorithm.tile).astype(np.int64)
    if scale >= 2**62:
        target = target.astype(object)
    wrong = int(np.count_nonzero(_integer_tensor(whole) != target * scale))
    if scale == 1:
        ring = "Z"
    elif scale & (scale - 1) == 0:
        ring = "Z[1/2]"
    else:
        ring = "Q"
    gf2 = _holds_modulo(2, whole, scale, target)
    message = _verdict(ring, target.size, wrong) + ("; exact over GF(2) only" if wrong and gf2 else "")
    return Verification(wrong == 0, ring, (dx, dw, dd), wrong, gf2, digest, message)


def _holds_modulo(
    prime: int, whole: list[NDArray[np.object_]], scale: int, target: NDArray[Any]
) -> bool | None:
    """Whether the integer numerators over `scale` multiply matrices modulo a prime; None when it divides."""
    if scale % prime == 0:
        return None
    residues = [np.vectorize(lambda v: int(v) % prime, otypes=[object])(f) for f in whole]
    return bool(np.array_equal(_integer_tensor(residues) % prime, target * (scale % prime) % prime))


def holds_over(algorithm: BilinearAlgorithm, ring: str) -> bool:
    """Whether the algorithm multiplies matrices over a ring, in exact arithmetic.

    Over Z, Z[1/2] and Q all coefficients must lie in the ring; over GF(p) no denominator may be divisible
    by p.

    Args:
        algorithm: any.
        ring: one of `RINGS`.

    Raises:
        InvalidInput: unknown ring.
    """
    if ring not in RINGS:
        raise InvalidInput("ring", expected=f"one of {', '.join(RINGS)}", got=repr(ring))
    if not ring.startswith("GF"):
        outcome = verify(algorithm)
        return outcome.exact and RINGS.index(outcome.ring) <= RINGS.index(ring)
    factors = (algorithm.encode_x, algorithm.encode_w, algorithm.decode)
    denominators = [common_denominator(f) for f in factors]
    scale, whole = 1, []
    for factor, denominator in zip(factors, denominators, strict=True):
        if denominator is None:
            return False
        whole.append(numerators(factor, denominator))
        scale *= denominator
    target = matmul_tensor(algorithm.tile).astype(np.int64)
    return bool(_holds_modulo(int(ring[3:-1]), whole, scale, target))


def _verdict(ring: str, entries: int, wrong: int) -> str:
    if wrong:
        return f"not exact: {wrong} of {entries} entries of the tensor differ"
    return f"exact over {ring}: all {entries} entries of the tensor agree"


def plainness(algorithm: BilinearAlgorithm, outcome: Verification) -> tuple[int, float]:
    """(ring, largest entry): smaller is plainer, Z before Z[1/2] before Q; (0, 1.0) has entries -1, 0, 1."""
    return ("Z", "Z[1/2]", "Q").index(outcome.ring), max(float(np.abs(f).max()) for f in algorithm.factors)


def _closeness(algorithm: BilinearAlgorithm) -> str:
    """How far a real algorithm is from the tensor, in words; rounding dust is no proof of exactness."""
    target = matmul_tensor(algorithm.tile)
    error = float(np.sum((algorithm.tensor() - target) ** 2)) / algorithm.tile.products
    if error < 1e-24:
        return "correct up to rounding, but not proven exact"
    return f"approximate, white NMSE {error:.3g}"


def _undecided(algorithm: BilinearAlgorithm) -> str:
    """Why exact arithmetic has no say."""
    names = ("encode_x", "encode_w", "decode")
    culprit = next((n for n in names if common_denominator(getattr(algorithm, n)) is None), "no factor")
    return (
        f"{_closeness(algorithm)}: {culprit} has an entry that is no rational number with a denominator of "
        f"at most {LARGEST_DENOMINATOR}"
    )


def require_exact(algorithm: BilinearAlgorithm) -> Verification:
    """`verify`, raising when the answer is no.

    Raises:
        NotExact: with the message of the verification.
    """
    outcome = verify(algorithm)
    if not outcome.exact:
        raise NotExact(f"{algorithm!r}: {outcome.message}")
    return outcome
