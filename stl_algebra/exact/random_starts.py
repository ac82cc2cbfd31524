"""Exact algorithms in floats from random starts, by Levenberg-Marquardt with a falling pull towards zero.

What does not belong here: the solver (`numerics.cp_levenberg_marquardt`) and rounding to rationals
(`discretise`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat, check_rank
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.discretise import SOLVED
from stl_algebra.numerics.cp.levenberg_marquardt import CPOptions, cp_levenberg_marquardt

#: (pull, iterations): the pulls keep the factors bounded while the start is still far away.
SCHEDULE: tuple[tuple[float, int], ...] = ((1e-2, 60), (1e-3, 60), (0.0, 300))

#: Standard deviation of the Gaussian entries of a start.
START_SCALE = 0.5

#: Entries of the normal matrices of all starts that are solved side by side.
_BATCH_ENTRIES = 1_000_000


@dataclass(frozen=True)
class RandomStart:
    """Outcome of one start.

    Attributes:
        number: of the start; (seed, number) seeds its generator.
        solved: the squared residual is below 1e-24 of the tensor's: exact in floats.
        nmse: squared residual relative to the tensor's squared norm.
        algorithm: where the solver ended, solved or not.
        cpu_seconds: processor time; the mean where several starts were solved side by side.
    """

    number: int
    solved: bool
    nmse: float
    algorithm: BilinearAlgorithm
    cpu_seconds: float


def random_factors(tile: TileFormat, rank: int, seed: int, number: int) -> list[Array]:
    """Gaussian factors (nk, r), (km, r), (nm, r) of standard deviation `START_SCALE`."""
    rng = np.random.default_rng([seed, number])
    return [START_SCALE * rng.normal(size=(side, rank)) for side in (tile.x_size, tile.w_size, tile.y_size)]


def solve_from_random_starts(
    tile: TileFormat,
    rank: int,
    starts: int,
    seed: int = 0,
    schedule: Sequence[tuple[float, int]] = SCHEDULE,
    *,
    first: int = 0,
    stride: int = 1,
) -> Iterator[RandomStart]:
    """Yield the outcome of each start in order; the same arguments give the same outcomes.

    An iteration costs a Cholesky factorisation of order P = r (nk + km + nm).

    Args:
        tile: the format.
        rank: products.
        starts: how many starts, at least 1.
        seed: of the starts.
        schedule: (pull, iterations) pairs, see `cp_levenberg_marquardt`; the last pull should be 0.
        first, stride: numbers of the starts: first, first + stride, and so on.

    Raises:
        InvalidInput: rank or starts out of range.
    """
    check_rank(rank, tile)
    if starts < 1:
        raise InvalidInput("starts", expected="at least 1", got=starts)
    target = matmul_tensor(tile)
    order = rank * sum(target.shape)
    # Small systems are solved side by side: one start alone spends most of its time on calls.
    together = max(1, min(starts, _BATCH_ENTRIES // order**2))
    chosen = range(first, first + starts * stride, stride)
    for begin in range(0, starts, together):
        numbers = chosen[begin : begin + together]
        began = time.process_time()
        drawn = [random_factors(tile, rank, seed, number) for number in numbers]
        factors = [torch.from_numpy(np.stack(mode)) for mode in zip(*drawn, strict=True)]
        fit = cp_levenberg_marquardt(
            target, factors, schedule=schedule, options=CPOptions(loss_tolerance=1e-28)
        )
        seconds = (time.process_time() - began) / len(numbers)
        for number, loss, x, w, d in zip(numbers, fit.loss, *(f.numpy() for f in fit.factors), strict=True):
            nmse = float(loss) / tile.products
            algorithm = BilinearAlgorithm(
                tile,
                x.T,
                w.T,
                d,
                f"least-squares{tile}",
                Provenance(family="random-start", seed=seed, parameters={"start": number}),
            )
            yield RandomStart(number, nmse < SOLVED, nmse, algorithm, seconds)
