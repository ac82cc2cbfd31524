"""How many additions an algorithm's three linear maps take, as they stand and with shared sums.

A scheme's products are its rank; what encoding and decoding cost beside them is counted here, per tile.
Sums are shared greedily: the pair of terms that occurs most often becomes a term of its own, until no pair
occurs twice (the usual heuristic; the least number is hard to find). What does not belong here: times
(`stl_kernels.speed`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm

#: A linear form: variable -> coefficient.
Form = dict[int, Fraction]
#: Two variables and the ratio of their coefficients; the lesser variable first.
Pair = tuple[int, int, Fraction]


@dataclass(frozen=True)
class Additions:
    """Additions of encode_x, encode_w and decode for one tile of each.

    Attributes:
        plain: as the factors stand: non-zero entries of each form less one.
        shared: with common sums computed once.
        scalings: coefficients other than 1 and -1, as the factors stand.
    """

    plain: tuple[int, int, int]
    shared: tuple[int, int, int]
    scalings: int


def count_additions(algorithm: BilinearAlgorithm) -> Additions:
    """The additions of an algorithm's maps; costs about the square of the additions for each shared sum."""
    maps = (algorithm.encode_x, algorithm.encode_w, algorithm.decode)
    forms = [_forms(factor) for factor in maps]
    plain = [sum(max(len(form) - 1, 0) for form in part) for part in forms]
    shared = [_shared(part) for part in forms]
    scalings = sum(abs(c) != 1 for part in forms for form in part for c in form.values())
    return Additions((plain[0], plain[1], plain[2]), (shared[0], shared[1], shared[2]), scalings)


def _forms(factor: Array) -> list[Form]:
    """One form a row; entries as exact fractions of their floats, so that equal ratios are seen as equal."""
    return [
        {i: Fraction(float(v)).limit_denominator(1 << 20) for i, v in enumerate(row) if v} for row in factor
    ]


def _pairs(form: Form) -> list[Pair]:
    return [(i, j, form[j] / form[i]) for i, j in combinations(sorted(form), 2)]


def _shared(forms: list[Form]) -> int:
    """Additions when the most frequent pair becomes a variable, again and again."""
    forms = [dict(form) for form in forms]
    counts: Counter[Pair] = Counter(pair for form in forms for pair in _pairs(form))
    fresh = max((i for form in forms for i in form), default=0) + 1
    added = 0
    while counts:
        pair, times = max(counts.items(), key=lambda item: (item[1], [-v for v in item[0]]))
        if times < 2:
            break
        i, j, ratio = pair
        for form in forms:
            if i in form and j in form and form[j] / form[i] == ratio:
                counts.subtract(_pairs(form))
                form[fresh] = form.pop(i)
                del form[j]
                counts.update(_pairs(form))
        counts = +counts
        fresh, added = fresh + 1, added + 1
    return added + sum(max(len(form) - 1, 0) for form in forms)
