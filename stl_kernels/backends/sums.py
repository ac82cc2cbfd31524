"""Encoding and decoding by additions where a factor is the Kronecker product of two of -1, 0 and 1.

Strassen's algorithm squared multiplies 4 x 4 tiles by 49 products. As one small matrix product its encoding
costs 784 multiplications a tile; level after level it costs 44 additions in Winograd's form (2.75 an entry),
55 in Strassen's. A level is a few torch calls on views: the outer one adds quarters of the tiles, the inner
one adds quarters of all 7 sums together.

What does not belong here: when a layer is cut into blocks (`cpu`), how sums are shared
(`stl_algebra.algorithms.additions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from stl_algebra.algorithms.additions import SharedSums, share_sums
from stl_algebra.algorithms.bilinear import Array

#: An addition moves three numbers where the small matrix product multiplies numbers that are in registers:
#: this many multiplications took as long as one addition (<4,4,4;49>, two cores with AVX2, float32).
_MULTIPLICATIONS_AN_ADDITION = 8

#: Fresh or kept memory for so many numbers.
Memory = Callable[[int], Tensor]


@dataclass(frozen=True)
class Level:
    """One Kronecker factor (outputs, rows * columns) of entries -1, 0, 1, as sums.

    Attributes:
        sums: from the tile's entries to the products' side, or back where the factor decodes.
        rows, columns: sides of the tile of this level.
    """

    sums: SharedSums
    rows: int
    columns: int

    @property
    def operations(self) -> int:
        """Passes over an output: additions and copies."""
        copied = (len(form) <= 1 and all(v < self.sums.inputs for v in form) for form in self.sums.forms)
        return self.sums.additions + sum(copied)


@dataclass(frozen=True)
class Ladder:
    """A factor as two levels; the products' order is the outer level's first.

    Attributes:
        outer, inner: the levels; a factor of one level has an inner one of a single entry.
        ranks: products of each.
    """

    outer: Level
    inner: Level
    ranks: tuple[int, int]


def ladder(factor: Tensor, sides: tuple[int, int], decoding: bool) -> Ladder | None:
    """The two levels of a factor where additions are cheaper than a matrix product, else None.

    Args:
        factor: (r, n*k) to encode, (n*m, r) to decode.
        sides: of the tile.
        decoding: which of the two it is.
    """
    array = factor.detach().numpy()
    return _ladder(array.tobytes(), str(array.dtype), array.shape, sides, decoding)


@lru_cache(maxsize=256)
def _ladder(
    entries: bytes, dtype: str, shape: tuple[int, int], sides: tuple[int, int], decoding: bool
) -> Ladder | None:
    factor = np.frombuffer(entries, dtype).reshape(shape).astype(np.float64)
    if not np.isin(factor, (-1, 0, 1)).all():
        return None
    split = split_levels(factor.T if decoding else factor, sides)
    if split is None:
        return None
    outer, inner, (rows, columns) = split
    inner_sides = sides[0] // rows, sides[1] // columns
    levels = [
        Level(share_sums(level.T if decoding else level), *own)
        for level, own in ((outer, (rows, columns)), (inner, inner_sides))
    ]
    # The outer level works on as many entries as the inner tile has, the inner one for every outer product.
    operations = levels[0].operations * inner.shape[1] + levels[1].operations * outer.shape[0]
    if operations * _MULTIPLICATIONS_AN_ADDITION > factor.size:
        return None
    return Ladder(levels[0], levels[1], (outer.shape[0], inner.shape[0]))


def split_levels(factor: Array, sides: tuple[int, int]) -> tuple[Array, Array, tuple[int, int]] | None:
    """outer (r1, n1*k1), inner (r2, n2*k2), (n1, k1) with factor = outer (x) inner on n x k tiles, or None.

    Args:
        factor: (r, n*k) of entries -1, 0, 1, rows in the outer level's order first.
        sides: (n, k).
    """
    n, k = sides
    rank = factor.shape[0]
    ways = product(_divisors(rank), _divisors(n), _divisors(k))
    # Levels of like size first: they share most.
    for r1, n1, k1 in sorted(ways, key=lambda way: abs(way[0] ** 2 - rank)):
        n2, k2 = n // n1, k // k1
        if n1 * k1 == 1 or n2 * k2 == 1:
            continue
        parts = factor.reshape(r1, rank // r1, n1, n2, k1, k2).transpose(0, 2, 4, 1, 3, 5)
        matrix = parts.reshape(r1 * n1 * k1, -1)
        row, column = np.unravel_index(np.argmax(np.abs(matrix)), matrix.shape)
        outer, inner = matrix[:, column], matrix[row] * matrix[row, column]
        if matrix[row, column] and np.array_equal(np.outer(outer, inner), matrix):
            return outer.reshape(r1, n1 * k1), inner.reshape(rank // r1, n2 * k2), (n1, k1)
    return None


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def encode_sums(steps: Ladder, tiles: Tensor, out: Tensor, memory: Memory) -> None:
    """Encode tiles (I, n*k, L) into out (r, I, L).

    Args:
        steps: of the encoding factor.
        tiles, out: float32 or float64; may be views.
        memory: for the sums of the outer level, and those that are shared.
    """
    entries, middle, rests = _cut(steps, tiles, memory)
    results = out.view(*steps.ranks, *out.shape[1:]).unbind(1)
    _run(steps.outer, entries, middle.unbind(0), rests[0])
    _run(steps.inner, _entries(middle, steps.inner), results, rests[1])


def decode_sums(steps: Ladder, products: Tensor, out: Tensor, memory: Memory) -> None:
    """Decode products (r, I, J) into tiles (I, n*m, J).

    Args:
        steps: of the decoding factor.
        products, out: float32 or float64; may be views.
        memory: for the sums of the inner level, and those that are shared.
    """
    entries, middle, rests = _cut(steps, out, memory)
    given = products.view(*steps.ranks, *products.shape[1:]).unbind(1)
    _run(steps.inner, given, _entries(middle, steps.inner), rests[1])
    _run(steps.outer, middle.unbind(0), entries, rests[0])


def _cut(steps: Ladder, tiles: Tensor, memory: Memory) -> tuple[list[Tensor], Tensor, tuple[Tensor, Tensor]]:
    """The outer level's entries of tiles (I, n*k, L), what stands between the levels, and memory for each."""
    count, _, width = tiles.shape
    outer, inner, many = steps.outer, steps.inner, steps.ranks[0]
    one = count * inner.rows * inner.columns * width
    sizes = [many * one, len(outer.sums.shared) * one, len(inner.sums.shared) * many * count * width]
    middle, *rests = torch.split(memory(sum(sizes)), sizes)
    entries = tiles.view(count, outer.rows, inner.rows, outer.columns, inner.columns, width)
    places = product(range(outer.rows), range(outer.columns))
    return (
        [entries[:, i, :, j] for i, j in places],
        middle.view(many, count, inner.rows, inner.columns, width),
        (rests[0], rests[1]),
    )


def _entries(middle: Tensor, inner: Level) -> list[Tensor]:
    """The inner level's entries, of all outer sums together."""
    return [middle[:, :, i, j] for i, j in product(range(inner.rows), range(inner.columns))]


def _run(level: Level, inputs: Sequence[Tensor], outputs: Sequence[Tensor], memory: Tensor) -> None:
    """All outputs from the inputs; a shared sum that is an output is computed in its place."""
    sums, values = level.sums, list(inputs)
    size = outputs[0].numel()
    place = {
        next(iter(form)): out
        for form, out in zip(sums.forms, outputs, strict=True)
        if len(form) == 1 and next(iter(form)) >= sums.inputs and next(iter(form.values())) == 1
    }
    for number, (i, j, ratio) in enumerate(sums.shared):
        into = place.get(sums.inputs + number)
        if into is None:
            into = memory[number * size : (number + 1) * size].view(outputs[0].shape)
        values.append(torch.add(values[i], values[j], alpha=int(ratio), out=into))
    for form, out in zip(sums.forms, outputs, strict=True):
        terms = sorted(form.items(), key=lambda term: -term[1])
        if not terms:
            out.zero_()
            continue
        (first, sign), *others = terms
        if sign < 0 and others:
            torch.neg(values[first], out=out)
            first_value = out
        else:
            first_value = values[first]
        for variable, coefficient in others:
            torch.add(first_value, values[variable], alpha=int(coefficient), out=out)
            first_value = out
        if not others and values[first] is not out:
            out.copy_(values[first]) if sign > 0 else torch.neg(values[first], out=out)
