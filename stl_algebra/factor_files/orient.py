"""Which axis of a matrix is the product, and whether the output is Y or its transpose: what exact
arithmetic says.

Programs differ in both and files rarely tell. Every reading that the shapes allow is proven; the first that
is exact is taken, else the first that is exact modulo 2, else the nearest in floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import Verification, verify
from stl_algebra.errors import InvalidInput
from stl_algebra.factor_files.raw import RawFactors, sides_of


@dataclass(frozen=True)
class Reading:
    """One way to read a file.

    Attributes:
        algorithm: in our convention.
        verification: its proof, or what is missing.
        conventions: how the file was read, in words.
    """

    algorithm: BilinearAlgorithm
    verification: Verification
    conventions: str


def orient(raw: RawFactors, label: str) -> Reading:
    """The reading of a file's matrices that is exact, or comes nearest.

    Raises:
        InvalidInput: the shapes belong to no format, or not to the one that the file names.
    """
    if raw.own:
        x, w, d = raw.matrices
        tile = raw.tile or sides_of((x.shape[1], w.shape[1], d.shape[1]))
        if tile is None:
            raise _no_format(raw, label)
        algorithm = BilinearAlgorithm(tile, x, w, d.T)
        return Reading(algorithm, verify(algorithm), raw.kind)
    readings = [r for axes in _axes(raw) for r in _readings(raw, axes)]
    if not readings:
        raise _no_format(raw, label)
    proven = [Reading(a, verify(a), words) for a, words in readings]
    return (
        next((r for r in proven if r.verification.exact), None)
        or next((r for r in proven if r.verification.gf2), None)
        or min(proven, key=lambda r: nmse(r.algorithm))
    )


def _axes(raw: RawFactors) -> list[tuple[int, int, int]]:
    """The axis of the products in each matrix: the size that all three share."""
    shapes = [m.shape for m in raw.matrices]
    allowed: list[tuple[int, int, int]] = []
    for axes in ((a, b, c) for a, b, c in product((0, 1), repeat=3)):
        ranks = {shape[axis] for shape, axis in zip(shapes, axes, strict=True)}
        if len(ranks) == 1:
            allowed.append(axes)
    # The same way for all three matrices is what people mean.
    return sorted(allowed, key=lambda axes: len(set(axes)))


def _readings(raw: RawFactors, axes: tuple[int, int, int]) -> list[tuple[BilinearAlgorithm, str]]:
    """With Y and with its transpose as the output, where the sizes fit a format."""
    x, w, y = (np.moveaxis(m, axis, 0) for m, axis in zip(raw.matrices, axes, strict=True))
    tile = sides_of((x.shape[1], w.shape[1], y.shape[1]))
    if tile is None or (raw.tile is not None and raw.tile != tile):
        return []
    by = {(0, 0, 0): "rows", (1, 1, 1): "columns"}.get(axes, "mixed axes")
    out = []
    for words, decode in (("output C", y), ("output C^T", _transposed(y, tile))):
        out.append((BilinearAlgorithm(tile, x, w, decode.T), f"{raw.kind}: {by} per product, {words}"))
    return out


def _transposed(y: Array, tile: TileFormat) -> Array:
    """From vec(Y^T) to vec(Y), a row per product."""
    return y.reshape(-1, tile.m, tile.n).transpose(0, 2, 1).reshape(len(y), -1)


def _no_format(raw: RawFactors, label: str) -> InvalidInput:
    shapes = ", ".join(str(m.shape) for m in raw.matrices)
    wanted = (
        "n*k, k*m and n*m entries and one rank for all" if raw.tile is None else f"the shapes of {raw.tile}"
    )
    return InvalidInput(label, expected=f"three matrices with {wanted}", got=f"shapes {shapes}")


def near_miss(algorithm: BilinearAlgorithm) -> str:
    """What an algorithm that is not exact would be exact for, in words; "" when nothing near fits."""
    t = algorithm.tile
    swapped = sides_of((t.w_size, t.x_size, t.y_size))
    candidates: list[tuple[str, TileFormat, Array, Array, Array]] = []
    x, w, y = algorithm.factors
    candidates.append(("with the output transposed", t, x, w, _transposed(y, t)))
    if swapped is not None:
        candidates.append(("with the matrices of X and W exchanged", swapped, w, x, y))
        candidates.append(
            ("with X and W exchanged, output transposed", swapped, w, x, _transposed(y, swapped))
        )
    candidates.append(("with X transposed", t, _transposed(x, TileFormat(t.n, 1, t.k)), w, y))
    candidates.append(("with W transposed", t, x, _transposed(w, TileFormat(t.k, 1, t.m)), y))
    for words, tile, a, b, c in candidates:
        outcome = verify(BilinearAlgorithm(tile, a, b, c.T))
        if outcome.exact:
            return f"exact over {outcome.ring} for {tile} {words}"
    return ""
