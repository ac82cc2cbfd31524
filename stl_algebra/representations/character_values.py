"""Exact spellings of character values: "-1", "ζ3^2", "(1+√5)/2", "ζ7+ζ7^6".

chi(g) is a sum of roots of unity whose order divides that of g; how often each occurs is a whole number,
which the values on the powers of g give by rounding. The algebraic conjugates of chi(g) are the chi(g^k) with
k prime to the order of g.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt

import numpy as np
from sympy import primefactors

from stl_algebra.groups.group import FiniteGroup, IntArray
from stl_algebra.groups.names import as_group
from stl_algebra.representations.irreps import ComplexArray, complex_irreps

#: Values are whole numbers or roots of unity up to rounding; distinct ones are much farther apart.
_CLOSE = 1e-6


def exact_character_table(group: FiniteGroup | str) -> list[list[str]]:
    """The spelling of every irrep's character on every class of `group.classes`, as `character_table`.

    Raises:
        InvalidInput, TooLarge: a spelling names no group, as `parse_group`.
    """
    group = as_group(group)
    characters = np.array([i.character for i in complex_irreps(group)])
    columns = []
    for c in group.classes:
        multiplicities = root_multiplicities(group, characters, c[0])
        columns.append([_spelled(row.tobytes()) for row in multiplicities])
    return [list(row) for row in zip(*columns, strict=True)]


def root_multiplicities(group: FiniteGroup, characters: ComplexArray, g: int) -> IntArray:
    """(characters, e): how often exp(2 pi i k / e) is an eigenvalue at g, k = 0 .. e-1, e the order of g.

    The discrete Fourier transform of each character on the powers of g: whole numbers.
    """
    powers = [0]
    while (power := int(group.table[powers[-1], g])) != 0:
        powers.append(power)
    transformed = np.fft.fft(characters[:, powers], axis=1).real / len(powers)
    multiplicities: IntArray = np.rint(transformed).astype(np.int64)
    assert np.abs(transformed - multiplicities).max() < _CLOSE
    return multiplicities


@lru_cache(maxsize=4096)
def _spelled(multiplicities_as_bytes: bytes) -> str:
    """A whole number, a multiple of a root of unity, a quadratic irrational or a sum of roots."""
    multiplicities = np.frombuffer(multiplicities_as_bytes, dtype=np.int64)
    order = len(multiplicities)
    values = np.fft.ifft(multiplicities) * order  # on the powers of g
    value = complex(values[1 % order])
    size = round(abs(value))
    turn = float(np.angle(value)) / (2 * np.pi) * 2 * order
    if abs(abs(value) - size) < _CLOSE and (size == 0 or abs(turn - round(turn)) < _CLOSE):
        return _multiple_of_root(size, Fraction(round(turn), 2 * order) % 1 if size else Fraction(0))
    coprime = [k for k in range(1, order) if gcd(k, order) == 1]
    others = values[coprime][np.abs(values[coprime] - value) > _CLOSE]
    if np.abs(others - others[0]).max() < _CLOSE:
        other = complex(others[0])
        total, product = round((value + other).real), round((value * other).real)
        half = (value - other) / 2
        return _quadratic(total, total * total - 4 * product, half.real + half.imag > 0)
    return _sum_of_roots(multiplicities)


def _multiple_of_root(size: int, turn: Fraction) -> str:
    """size * exp(2 pi i turn), with -1 taken out of roots of order 2 modulo 4."""
    negative = turn.denominator % 4 == 2
    if negative:
        turn = (turn + Fraction(1, 2)) % 1
    if turn == Fraction(3, 4):
        negative, turn = True, Fraction(1, 4)
    sign = "-" if negative and size else ""
    if turn == 0:
        return f"{sign}{size}"
    root = "i" if turn == Fraction(1, 4) else _root(turn)
    return f"{sign}{size if size != 1 else ''}{root}"


def _root(turn: Fraction) -> str:
    return f"ζ{turn.denominator}" + (f"^{turn.numerator}" if turn.numerator != 1 else "")


def _quadratic(total: int, discriminant: int, positive: bool) -> str:
    """(total ± sqrt(discriminant)) / 2 with squares taken out."""
    outside = max(f for f in range(1, isqrt(abs(discriminant)) + 1) if discriminant % (f * f) == 0)
    inside = abs(discriminant) // outside**2
    imaginary = "i" if discriminant < 0 else ""
    halves = total % 2 == 1 or outside % 2 == 1
    if not halves:
        total, outside = total // 2, outside // 2
    surd = f"{outside if outside != 1 else ''}{imaginary}√{inside}"
    sign = "" if positive and not total else "+" if positive else "-"
    whole = f"{total or ''}{sign}{surd}"
    return f"({whole})/2" if halves and total else f"{whole}/2" if halves else whole


def _sum_of_roots(multiplicities: IntArray) -> str:
    """ "ζ7+ζ7^6": the p roots that differ by a p-th root of unity add up to zero and are left out."""
    counts = multiplicities.copy()
    order = len(counts)
    for p in primefactors(order):
        cosets = np.arange(order).reshape(int(p), -1)
        counts[cosets] -= counts[cosets].min(axis=0)
    terms: list[str] = []
    for k in np.flatnonzero(counts).tolist():
        count, turn = int(counts[k]), Fraction(k, order)
        term = _multiple_of_root(count, turn)
        terms.append(term if term.startswith("-") or not terms else f"+{term}")
    return "".join(terms) or "0"
