"""The additions of an algorithm's three linear maps, as they stand and with shared sums.

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


@dataclass(frozen=True)
class SharedSums:
    """Linear forms with their common sums taken out.

    Attributes:
        shared: sums in the order of computing them; the first is variable `inputs`, and so on: two variables
            i, j and a ratio stand for i + ratio * j.
        forms: what each output is, in inputs and shared sums.
        inputs: how many variables the forms had before.
    """

    shared: tuple[Pair, ...]
    forms: tuple[Form, ...]
    inputs: int

    @property
    def additions(self) -> int:
        """Of all sums and forms together."""
        return len(self.shared) + sum(max(len(form) - 1, 0) for form in self.forms)


def count_additions(algorithm: BilinearAlgorithm) -> Additions:
    """The additions of an algorithm's maps; costs about the square of the additions for each shared sum."""
    maps = (algorithm.encode_x, algorithm.encode_w, algorithm.decode)
    forms = [_forms(factor) for factor in maps]
    plain = [sum(max(len(form) - 1, 0) for form in part) for part in forms]
    shared = [share_sums(factor).additions for factor in maps]
    scalings = sum(abs(c) != 1 for part in forms for form in part for c in form.values())
    return Additions((plain[0], plain[1], plain[2]), (shared[0], shared[1], shared[2]), scalings)


def _forms(factor: Array) -> list[Form]:
    """One form a row; entries as exact fractions of their floats, so that equal ratios are seen as equal."""
    return [
        {i: Fraction(float(v)).limit_denominator(1 << 20) for i, v in enumerate(row) if v} for row in factor
    ]


def _pairs(form: Form) -> list[Pair]:
    return [(i, j, form[j] / form[i]) for i, j in combinations(sorted(form), 2)]


def share_sums(factor: Array) -> SharedSums:
    """The forms of a factor's rows; the most frequent pair becomes a variable, again and again.

    Args:
        factor: (outputs, inputs).
    """
    forms, inputs = _forms(factor), factor.shape[1]
    counts: Counter[Pair] = Counter(pair for form in forms for pair in _pairs(form))
    shared: list[Pair] = []
    while counts:
        pair, times = max(counts.items(), key=lambda item: (item[1], [-v for v in item[0]]))
        if times < 2:
            break
        i, j, ratio = pair
        for form in forms:
            if i in form and j in form and form[j] / form[i] == ratio:
                counts.subtract(_pairs(form))
                form[inputs + len(shared)] = form.pop(i)
                del form[j]
                counts.update(_pairs(form))
        counts = +counts
        shared.append(pair)
    return SharedSums(tuple(shared), tuple(forms), inputs)
