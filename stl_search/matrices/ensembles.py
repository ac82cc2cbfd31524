"""Random ensembles that both X and W are drawn from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.moments import Moments
from stl_search.matrices.pair import MatrixPair, make_pair

#: Calibration rows that moments are taken from, for each entry of a row.
CALIBRATION_ROWS = 16

Ensemble = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def _low_rank(rng: np.random.Generator, rows: int, columns: int) -> Array:
    rank = max(1, min(rows, columns) // 16)
    signal = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns)) / np.sqrt(rank)
    out: Array = signal + 0.1 * rng.normal(size=(rows, columns))
    return out


def _ill_conditioned(rng: np.random.Generator, rows: int, columns: int) -> Array:
    """Singular values that fall geometrically over six decades, in random directions."""
    least = min(rows, columns)
    left = np.linalg.qr(rng.normal(size=(rows, least)))[0]
    right = np.linalg.qr(rng.normal(size=(columns, least)))[0]
    out: Array = (left * np.geomspace(1, 1e-6, least)) @ right.T * np.sqrt(rows * columns / least)
    return out


#: Random ensembles: both X and W are drawn from them. `names` has their names, for who only shows them.
ENSEMBLES: dict[str, tuple[str, Ensemble]] = {
    "gaussian": ("independent standard normal entries", lambda g, r, c: g.normal(size=(r, c))),
    "rademacher": ("independent signs", lambda g, r, c: g.choice([-1.0, 1.0], size=(r, c))),
    "uniform": ("uniform on [0, 1], mean 1/2", lambda g, r, c: g.uniform(size=(r, c))),
    "heavy-tailed": ("Student t with 3 degrees of freedom", lambda g, r, c: g.standard_t(3, size=(r, c))),
    "low-rank": ("rank min/16 plus noise of a tenth", _low_rank),
    "ill-conditioned": ("condition number 1e6", _ill_conditioned),
}


def random_pair(ensemble: str, size: int = 512, seed: int = 0) -> MatrixPair:
    """A square pair of a random ensemble: as many calibration rows, and the moments of 16 times as many.

    Raises:
        InvalidInput: unknown ensemble.
    """
    if ensemble not in ENSEMBLES:
        raise InvalidInput("ensemble", expected=f"one of {', '.join(ENSEMBLES)}", got=repr(ensemble))
    summary, draw = ENSEMBLES[ensemble]
    rng = np.random.default_rng([seed, size, list(ENSEMBLES).index(ensemble)])
    # One draw, because the rows of an ensemble have directions in common; only the first ones are kept.
    rows = draw(rng, (1 + CALIBRATION_ROWS) * size, size)
    source = f"{summary}, size {size}, seed {seed}"
    pair = make_pair(ensemble, rows[:size], draw(rng, size, size), rows[size : 2 * size], source)
    return pair.with_moments(Moments.of(rows[size:]))
