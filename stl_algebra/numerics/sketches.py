"""Random sketches: linear maps S that shrink one axis of a matrix and nearly keep its geometry.

Each sketch maps `size` coordinates to `width`; applied to an (size, c) matrix it returns (width, c). Scaled
so that E |S v|^2 = |v|^2. All randomness is drawn at construction from an explicit seed, so a sketch is a
fixed linear map. Shared by dynamic least squares, Gauss-Newton and approximate matrix products (X S^T S W).

What does not belong here: who uses a sketch and how wide it must be.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from stl_algebra.errors import InvalidInput

# Longest run of neighbouring coordinates that a sparse embedding moves together.
_RUN = 64


@dataclass(frozen=True)
class Sketch:
    """A drawn sketch.

    Attributes:
        kind: its name in `SKETCHES`.
        size: coordinates that it takes.
        width: coordinates that it returns.
    """

    kind: str
    size: int
    width: int
    _apply: Callable[[Tensor], Tensor]

    def __call__(self, matrix: Tensor) -> Tensor:
        """S @ matrix for a (size, c) matrix or a (size,) vector.

        Raises:
            InvalidInput: the first axis is not `size`.
        """
        if matrix.dim() not in (1, 2) or matrix.shape[0] != self.size:
            raise InvalidInput(
                "matrix",
                expected=f"shape ({self.size}, c) or ({self.size},)",
                got=f"shape {tuple(matrix.shape)}",
            )
        if matrix.dim() == 1:
            return self._apply(matrix.unsqueeze(1)).squeeze(1)
        return self._apply(matrix)

    def __repr__(self) -> str:
        return f"Sketch(kind={self.kind!r}, size={self.size}, width={self.width})"


def gaussian_sketch(size: int, width: int, seed: int = 0) -> Sketch:
    """Independent N(0, 1/width) entries. O(size * width) a column; the reference that the others imitate."""
    generator = _generator(size, width, seed)
    entries = torch.randn(width, size, generator=generator, dtype=torch.float64) / math.sqrt(width)

    def apply(matrix: Tensor) -> Tensor:
        return entries.to(matrix) @ matrix

    return Sketch("gaussian", size, width, apply)


def sparse_sketch(size: int, width: int, seed: int = 0, nonzeros: int = 2) -> Sketch:
    """Sparse embedding: each coordinate is added, with a random sign / sqrt(nonzeros), to `nonzeros` outputs.

    The outputs are cut into `nonzeros` blocks, one entry in each (Kane and Nelson, J. ACM 61, 2014). One
    nonzero is CountSketch. Coordinates are hashed in runs of up to 64 neighbours that stay side by side, each
    run to a random place: two coordinates still meet with probability at most 1 / (width of a block), which
    is all that the variance of |S v|^2 depends on, and every addition is one of contiguous memory.
    O(size * nonzeros) a column.
    """
    if not 1 <= nonzeros <= width:
        raise InvalidInput("nonzeros", expected=f"from 1 to width = {width}", got=nonzeros)
    generator = _generator(size, width, seed)
    edges = [round(block * width / nonzeros) for block in range(nonzeros + 1)]
    run = min(_RUN, *(high - low for low, high in pairwise(edges)))
    starts = range(0, size, run)
    places = [
        torch.randint(high - low, (len(starts),), generator=generator).tolist()
        for low, high in pairwise(edges)
    ]
    signs = (torch.randint(0, 2, (nonzeros, size), generator=generator) * 2 - 1) / math.sqrt(nonzeros)

    def apply(matrix: Tensor) -> Tensor:
        # Rows of contiguous memory, whichever way round the matrix is stored.
        lying = matrix.stride(0) == 1
        source = matrix.mT if lying else matrix
        weights = signs.to(matrix)
        parts = []
        for block, (low, high) in enumerate(pairwise(edges)):
            # A run may leave over the end; what does is folded back to the beginning.
            long = high - low + run
            out = source.new_zeros((source.shape[0], long) if lying else (long, source.shape[1]))
            for start, place in zip(starts, places[block], strict=True):
                stop = min(start + run, size)
                target = slice(place, place + stop - start)
                if lying:
                    out[:, target].addcmul_(source[:, start:stop], weights[block, start:stop])
                else:
                    out[target].addcmul_(source[start:stop], weights[block, start:stop].unsqueeze(1))
            part = out.mT if lying else out
            part[:run] += part[high - low :]
            parts.append(part[: high - low])
        return torch.cat(parts)

    return Sketch("sparse", size, width, apply)


def count_sketch(size: int, width: int, seed: int = 0) -> Sketch:
    """CountSketch: a sparse embedding with one nonzero a coordinate (Clarkson and Woodruff, STOC 2013)."""
    inner = sparse_sketch(size, width, seed, nonzeros=1)
    return Sketch("count", size, width, inner._apply)


def srht_sketch(size: int, width: int, seed: int = 0) -> Sketch:
    """Subsampled randomised Hadamard transform: sqrt(P / width) times `width` random rows of H D, P the
    power of two at or above `size`, D random signs, H orthonormal (Ailon and Chazelle, SIAM J. Comput. 39,
    2009).

    O(P log P) a column. `width` at most P.
    """
    generator = _generator(size, width, seed)
    padded = 1 << (size - 1).bit_length()
    if width > padded:
        raise InvalidInput("width", expected=f"at most the padded size {padded}", got=width)
    signs = torch.randint(0, 2, (size,), generator=generator) * 2 - 1
    rows = torch.randperm(padded, generator=generator)[:width]

    def apply(matrix: Tensor) -> Tensor:
        work = matrix.new_zeros(padded, matrix.shape[1])
        work[:size] = matrix * signs.to(matrix).unsqueeze(1)
        # H is orthonormal up to sqrt(P); with the factor sqrt(P / width) only 1 / sqrt(width) remains.
        return fast_hadamard(work)[rows.to(matrix.device)] / math.sqrt(width)

    return Sketch("srht", size, width, apply)


SKETCHES: dict[str, Callable[..., Sketch]] = {
    "gaussian": gaussian_sketch,
    "sparse": sparse_sketch,
    "count": count_sketch,
    "srht": srht_sketch,
}


def make_sketch(kind: str, size: int, width: int, seed: int = 0) -> Sketch:
    """The sketch of that name.

    Raises:
        InvalidInput: no such kind, or sizes out of range.
    """
    if kind not in SKETCHES:
        raise InvalidInput("kind", expected="one of " + ", ".join(SKETCHES), got=kind)
    return SKETCHES[kind](size, width, seed)


def fast_hadamard(matrix: Tensor) -> Tensor:
    """H @ matrix with H the (unnormalised) Sylvester-Hadamard matrix; the first axis is a power of two."""
    size = matrix.shape[0]
    assert size > 0, size
    assert size & (size - 1) == 0, size
    out, half = matrix, 1
    while half < size:
        pairs = out.reshape(size // (2 * half), 2, half, -1)
        out = torch.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], dim=1)
        half *= 2
    return out.reshape(matrix.shape)


def _generator(size: int, width: int, seed: int) -> torch.Generator:
    for name, value in (("size", size), ("width", width)):
        if value < 1:
            raise InvalidInput(name, expected="at least 1", got=value)
    return torch.Generator().manual_seed(seed)
