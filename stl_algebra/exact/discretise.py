"""From an algorithm that is exact in floats to one with small integer or rational entries.

Entries are pinned to a grid, the nearest first and several at a time, and after each round all free entries
are solved for again by Levenberg-Marquardt; the freedom to change bases and to rescale products is used up by
the first pins. Where a grid has no value left that works, the next, wider grid takes over, and in the end
what is left is read as rationals. What counts as exact is decided by `verify.verify` alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.scores import nmse
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.verify import plainness, verify
from stl_algebra.errors import InvalidInput
from stl_algebra.numerics.cp.levenberg_marquardt import CPOptions, cp_levenberg_marquardt

#: Loss relative to |T|^2 below which a float solution counts as exact.
SOLVED = 1e-24

#: Grids that are tried one after the other: signs, small integers, small rationals.
GRIDS: tuple[tuple[float, ...], ...] = (
    (-1.0, 0.0, 1.0),
    (-2.0, -1.0, 0.0, 1.0, 2.0),
    (-4.0, -3.0, -2.0, -1.5, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0),
)

#: Largest denominator that an entry which no grid holds is read with.
LARGEST_GUESSED_DENOMINATOR = 48

_LARGEST_BATCH = 64
_MISSES_PER_GRID = 16
_ITERATIONS = 60
#: A solve whose loss has not been halved in so many iterations is given up.
_STALL = 8


def polish_to_exact(
    algorithm: BilinearAlgorithm, iterations: int = 300, basis: Array | None = None
) -> BilinearAlgorithm | None:
    """Levenberg-Marquardt: the exact algorithm nearby, or None when there is none; see `discretise`.

    First with a falling pull towards zero, which leads to balanced factors (docs/theory.md, section 4); where
    that ends away from all solutions, without one.
    """
    target = matmul_tensor(algorithm.tile)
    space = None if basis is None else np.linalg.qr(basis)[0]
    start = [np.ascontiguousarray(f.T) for f in algorithm.factors]
    options = CPOptions(loss_tolerance=1e-28)
    for schedule in (((1e-3, 60), (1e-5, 60), (0.0, iterations)), ((0.0, iterations),)):
        fit = cp_levenberg_marquardt(target, start, schedule=schedule, basis=space, options=options)
        factors = [f[0].numpy() for f in fit.factors]
        solved = algorithm.with_factors(factors[0].T, factors[1].T, factors[2], "exact in floats")
        if nmse(solved) < SOLVED:
            return solved
    return None


def discretise(
    algorithm: BilinearAlgorithm,
    grids: Sequence[Sequence[float]] = GRIDS,
    tries: int = 4,
    seed: int = 0,
    rationals: bool = True,
    basis: Array | None = None,
    most_solves: int | None = None,
) -> BilinearAlgorithm | None:
    """An exact algorithm of the same format and rank with small integer or rational entries, or None.

    Costs about one Levenberg-Marquardt run of order P = r (nk + km + nm) for every few entries.

    Args:
        algorithm: exact in floats, or nearly.
        grids: allowed values, one grid after the other.
        tries: attempts; each blurs the order in which entries are pinned. The first with entries in
            {-1, 0, 1} is taken, otherwise the best ring: Z, then Z[1/2], then Q.
        seed: of the blur.
        rationals: what no grid holds may still be read as a rational number of small denominator.
        basis: (P, Q) of full column rank, its range holds the factors in the order of `cp_gram`: the result
            stays in that range, and its coordinates are pinned instead of the entries. It should be integral.
        most_solves: Levenberg-Marquardt runs that an attempt may take; None for no bound.

    Raises:
        InvalidInput: there is no grid, or one without 0.
    """
    if not grids or any(0.0 not in grid for grid in grids):
        raise InvalidInput("grids", expected="at least one grid, each with the value 0", got=repr(grids))
    if verify(algorithm).exact:
        return algorithm
    solved = polish_to_exact(algorithm, basis=basis)
    if solved is None:
        return None
    best: tuple[tuple[int, float], BilinearAlgorithm] | None = None
    for attempt in range(tries):
        rng = np.random.default_rng([seed, attempt])
        # Every other attempt first pins zeros only: that often uses up the gauge freedom better.
        zeros_first = [(0.0,)] if attempt % 2 else []
        found = _Pinning(solved, rng, 0.3 * (attempt // 2), basis, most_solves).run(
            [np.array(sorted(grid)) for grid in (*zeros_first, *grids)], rationals
        )
        if found is None:
            continue
        outcome = verify(found)
        if not outcome.exact:
            continue
        merit = plainness(found, outcome)
        if best is None or merit < best[0]:
            best = merit, found.with_factors(None, None, None, "discretised")
        if merit == (0, 1.0):
            break
    return best[1] if best else None


def _normalised(factors: Sequence[Array]) -> list[Array]:
    """Each product's first two vectors scaled to a largest entry of 1; the decoder takes the rest."""
    x, w, d = (f.copy() for f in factors)
    for column in range(x.shape[1]):
        for factor in (x, w):
            peak = factor[np.argmax(np.abs(factor[:, column])), column]
            factor[:, column] /= peak
            d[:, column] *= peak
    return [x, w, d]


def _stalled() -> Callable[[int, Tensor], bool]:
    """A callback that ends a solve which no longer makes progress."""
    history: list[float] = []

    def callback(iteration: int, loss: Tensor) -> bool:
        history.append(float(loss[0]))
        return iteration >= _STALL and history[-1] > 0.5 * history[-1 - _STALL]

    return callback


class _Pinning:
    """The state of one attempt: the current exact floats and which of them are pinned.

    The floats are the entries of the factors or, with a basis, their coordinates in it.
    """

    def __init__(
        self,
        algorithm: BilinearAlgorithm,
        rng: np.random.Generator,
        blur: float,
        basis: Array | None,
        most_solves: int | None,
    ) -> None:
        self.algorithm, self.basis = algorithm, basis
        self.solves_left = math.inf if most_solves is None else most_solves
        self.target = matmul_tensor(algorithm.tile)
        factors = [np.ascontiguousarray(f.T) for f in algorithm.factors]
        if basis is None:
            factors = _normalised(factors)
        self.shapes = [f.shape for f in factors]
        flat = np.concatenate([f.ravel() for f in factors])
        self.values = flat if basis is None else np.linalg.lstsq(basis, flat)[0]
        self.held = np.zeros(self.values.size, dtype=bool)
        # A blurred order of pins leads each attempt to another corner of the solution variety.
        self.blur = np.exp(blur * rng.normal(size=self.values.size))

    def run(self, grids: Sequence[Array], rationals: bool) -> BilinearAlgorithm | None:
        complete = any(self._pin_to(grid) for grid in grids)
        return self._finished() if complete or rationals else None

    def _factors(self, values: Array) -> list[Array]:
        """The factors that have these entries or coordinates."""
        return self._split(values if self.basis is None else self.basis @ values)

    def _split(self, flat: Array) -> list[Array]:
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(flat, ends), self.shapes, strict=True)]

    def _pin_to(self, grid: Array) -> bool:
        """Pin as many entries as the grid allows; True when none is left free."""
        bars = np.zeros((self.values.size, grid.size))
        batch, misses = _LARGEST_BATCH, 0
        while not self.held.all():
            if self.solves_left <= 0:
                return False
            cost = np.abs(self.values[:, None] - grid) + bars
            choice = np.argmin(cost, axis=1)
            distance = np.where(self.held, np.inf, cost[np.arange(choice.size), choice])
            order = np.argsort(distance * self.blur, kind="stable")
            order = order[np.isfinite(distance[order])][:batch]
            if order.size == 0:
                return False
            pins = distance < 1e-9
            pins[order] = True
            if self._try(pins, grid[choice]):
                batch = min(2 * batch, _LARGEST_BATCH)
            elif order.size > 1:
                batch = max(1, order.size // 4)
            else:
                bars[order[0], choice[order[0]]] = np.inf
                misses += 1
                if misses > _MISSES_PER_GRID:
                    return False
        return True

    def _try(self, pins: NDArray[np.bool_], goal: Array) -> bool:
        self.solves_left -= 1
        held = self.held | pins
        values = np.where(pins, goal, self.values)
        frozen: list[Array] | None = None
        free = space = None
        if self.basis is None:
            frozen = self._split(held.astype(np.float64))
        elif not held.all():
            free = self.basis[:, ~held]
            space = np.linalg.qr(free)[0]
        fit = cp_levenberg_marquardt(
            self.target,
            self._factors(values),
            frozen=frozen,
            basis=space,
            schedule=((0.0, 0 if self.basis is not None and space is None else _ITERATIONS),),
            callback=_stalled(),
            options=CPOptions(loss_tolerance=1e-27),
        )
        peak = max(float(f.abs().max()) for f in fit.factors)
        if float(fit.loss[0]) >= SOLVED * self.algorithm.tile.products or peak > 20:
            return False
        flat = np.concatenate([f[0].numpy().ravel() for f in fit.factors])
        if self.basis is None:
            values = flat
        elif free is not None:
            values[~held] = np.linalg.lstsq(free, flat - self.basis[:, held] @ values[held])[0]
        self.values = values
        self.held = held
        return True

    def _finished(self) -> BilinearAlgorithm | None:
        """The algorithm with what is still free read as rationals, or None when it does not look so."""
        values = self.values.copy()
        for index in np.flatnonzero(~self.held):
            nearest = float(Fraction(float(values[index])).limit_denominator(LARGEST_GUESSED_DENOMINATOR))
            if abs(nearest - values[index]) > 1e-9:
                return None
            values[index] = nearest
        x, w, d = self._factors(values)
        return self.algorithm.with_factors(x.T, w.T, d)
