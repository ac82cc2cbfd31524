"""From an exact algorithm in floats to rationals by a good choice of bases, without pinning entry by entry.

Algorithms with many symmetries have few entries that differ once the bases are right. Candidates are bases in
which the symmetry is known to be rational and, in the bases of least amplification, the orthonormal frames
among the lines that the matrices of rank one single out; in them the encoders are rounded to small
denominators, the decoder follows by least squares, and `verify` decides. What does not belong here: rounding
where no basis is known (`discretise`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

import numpy as np

from stl_algebra.algorithms.balance import Gauge, balance, evened, product_matrices
from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.fit import refit_decoder
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput

#: Encoders are rounded to multiples of 1/4, after scaling to a largest entry of 1 or one of these.
_SCALES = (1.0, 1.5, 3.0, 1.25, 1.75)
_QUARTERS, _DECODER = 4, 64
#: Farthest that an entry may lie from what it is rounded to.
_NEAR = 1e-4
_MOST_FRAMES = 16
_MOST_COMBINATIONS = 600


def rational_by_frames(algorithm: BilinearAlgorithm, *bases: Gauge) -> BilinearAlgorithm | None:
    """An exact algorithm over the rationals that is the given one in other bases, or None.

    Args:
        algorithm: exact in floats, to about 1e-10.
        bases: changes of bases (P, Q, R) to try first; then orthonormal frames of lines are tried.

    Returns:
        The algorithm in the first bases in which the rounded one is exact.
    """
    eyes = tuple(np.eye(s) for s in (algorithm.tile.n, algorithm.tile.k, algorithm.tile.m))
    for gauge in ((eyes[0], eyes[1], eyes[2]), *bases):
        found = _rounded(algorithm, gauge)
        if found is not None:
            return found
    try:
        balanced = balance(algorithm)
    except InvalidInput:
        return None
    by_side = [list(_frames(balanced, side)) for side in range(3)]
    for count, (p, q, r) in enumerate(product(*by_side)):
        if count >= _MOST_COMBINATIONS:
            break
        found = _rounded(balanced, (p, q, r))
        if found is not None:
            origin = algorithm.provenance.then("turned to orthonormal frames of its lines, rounded")
            return found.renamed(algorithm.name, origin)
    return None


def _rounded(algorithm: BilinearAlgorithm, gauge: Gauge) -> BilinearAlgorithm | None:
    """The algorithm after a change of bases, its entries rounded to small denominators; None unless exact."""
    p, q, r = gauge
    moved = sandwich(algorithm, p.T, q.T, r.T)
    encoders = [_quarters(f) for f in (moved.encode_x, moved.encode_w)]
    if encoders[0] is None or encoders[1] is None:
        return None
    whole = moved.with_factors(encoders[0], encoders[1])
    decoder = np.rint(_DECODER * refit_decoder(whole).decode) / _DECODER
    found = whole.with_factors(None, None, decoder)
    return found if verify(found).exact else None


def _quarters(factor: Array) -> Array | None:
    """Each row scaled and rounded to quarters; None where one is near to none of the grids."""
    out = np.empty_like(factor)
    for i, row in enumerate(factor):
        row = row / row[np.abs(row).argmax()]
        for scale in _SCALES:
            rounded = np.rint(scale * row * _QUARTERS) / _QUARTERS
            if np.abs(rounded - scale * row).max() < _NEAR:
                out[i] = rounded
                break
        else:
            return None
    return out


def _frames(algorithm: BilinearAlgorithm, side: int) -> Iterator[Array]:
    """Orthogonal matrices whose rows are lines of matrices of rank one on that side, columns' lines first."""
    triple = evened(product_matrices(algorithm))
    for part in (triple[side], triple[(side + 2) % 3].swapaxes(1, 2)):
        u, values, _ = np.linalg.svd(part)
        if part.shape[2] > 1:
            u = u[values[:, 1] < 1e-6 * values[:, 0]]
        lines: list[Array] = []
        for line in u[:, :, 0]:
            if all(abs(line @ other) < 1 - 1e-6 for other in lines):
                lines.append(line)
        frames = _orthonormal(np.array(lines).reshape(-1, part.shape[1]))
        yield from islice(frames, _MOST_FRAMES)


def _orthonormal(lines: Array) -> Iterator[Array]:
    """All sets of lines that are orthonormal bases."""
    orthogonal = np.abs(lines @ lines.T) < 1e-6
    side = lines.shape[1]

    def extend(chosen: list[int], allowed: list[int]) -> Iterator[Array]:
        if len(chosen) == side:
            yield lines[chosen]
            return
        for position, i in enumerate(allowed):
            yield from extend([*chosen, i], [j for j in allowed[position + 1 :] if orthogonal[i, j]])

    yield from extend([], list(range(len(lines))))
