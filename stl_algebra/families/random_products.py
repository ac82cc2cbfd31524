"""Random products beside an algorithm's own, for refinement to put to use; shared by families.

What does not belong here: a whole algorithm of random factors (`ungrouped.random`).
"""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance

#: Size of a random product's decoder over that of the others: small, so that what is there stays.
_DECODER = 0.01


def with_random_products(
    algorithm: BilinearAlgorithm, count: int, rng: np.random.Generator, steps: tuple[str, ...]
) -> BilinearAlgorithm:
    """The algorithm and `count` Gaussian products of its own entries' size; `steps` are its provenance."""
    x, w, d = (
        _grown(factor, count, size, rng)
        for factor, size in (
            (algorithm.encode_x, 1.0),
            (algorithm.encode_w, 1.0),
            (algorithm.decode.T, _DECODER),
        )
    )
    return BilinearAlgorithm(algorithm.tile, x, w, d.T, algorithm.name, Provenance(steps=steps))


def _grown(factor: Array, count: int, scale: float, rng: np.random.Generator) -> Array:
    """(r + count, size): Gaussian rows below, of the root mean square of the entries times `scale`."""
    size = scale * float(np.sqrt(np.mean(factor**2)))
    out: Array = np.vstack([factor, size * rng.normal(size=(count, factor.shape[1]))])
    return out
