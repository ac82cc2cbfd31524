"""From an algorithm that is exact in floats to one with small integer or rational entries.

Entries are pinned to a grid one by one, the nearest first, and after each pin all free entries are
solved for again by Levenberg-Marquardt; the freedom to change bases and to rescale products is used up
by the first pins. What counts as exact is decided by `exact.verify` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stl_algebra.bilinear import Array, BilinearAlgorithm
from stl_algebra.error import nmse
from stl_algebra.exact import verify
from stl_algebra.matmul_tensor import matmul_tensor
from stl_algebra.numerics.cp_levenberg_marquardt import cp_levenberg_marquardt

#: Loss relative to |T|^2 below which a float solution counts as exact.
_SOLVED = 1e-24


def polish_to_exact(algorithm: BilinearAlgorithm, iterations: int = 300) -> BilinearAlgorithm | None:
    """Levenberg-Marquardt without any penalty: the exact algorithm nearby, or None when there is none.

    A falling pull towards zero keeps the factors bounded on the way (theory notes, section 4).
    """
    factors = [np.ascontiguousarray(f.T) for f in algorithm.factors]
    target = matmul_tensor(algorithm.tile)
    for pull, steps in ((1e-3, 60), (1e-5, 60), (0.0, iterations)):
        fit = cp_levenberg_marquardt(target, factors, pull=pull, iterations=steps, loss_tolerance=1e-28)
        factors = [f[0].numpy() for f in fit.factors]
    solved = algorithm.with_factors(factors[0].T, factors[1].T, factors[2], "exact in floats")
    return solved if nmse(solved) < _SOLVED else None


def discretise(
    algorithm: BilinearAlgorithm, grid: Sequence[float] = (-1.0, 0.0, 1.0), tries: int = 4, seed: int = 0
) -> BilinearAlgorithm | None:
    """An exact algorithm of the same format and rank with all entries on the grid, or None.

    Args:
        algorithm: exact in floats, or nearly.
        grid: allowed values, for example (-1, 0, 1) or (-1, -1/2, 0, 1/2, 1).
        tries: attempts; each blurs the order in which entries are pinned.
        seed: of the blur.
    """
    if verify(algorithm).exact:
        return algorithm
    solved = polish_to_exact(algorithm)
    if solved is None:
        return None
    values = np.array(sorted(grid), dtype=np.float64)
    for attempt in range(tries):
        found = _pin_entries(solved, values, np.random.default_rng([seed, attempt]), 0.3 * attempt)
        if found is not None and verify(found).exact:
            return found.with_factors(None, None, None, "discretised")
    return None


def _normalised(factors: list[Array]) -> list[Array]:
    """Each product's first two vectors scaled to a largest entry of 1; the decoder takes the rest."""
    x, w, d = (f.copy() for f in factors)
    for column in range(x.shape[1]):
        for factor in (x, w):
            peak = factor[np.argmax(np.abs(factor[:, column])), column]
            factor[:, column] /= peak
            d[:, column] *= peak
    return [x, w, d]


def _nearest(values: Array, grid: Array) -> Array:
    out: Array = grid[np.argmin(np.abs(values[..., None] - grid), axis=-1)]
    return out


def _pin_entries(
    algorithm: BilinearAlgorithm, grid: Array, rng: np.random.Generator, blur: float
) -> BilinearAlgorithm | None:
    target = matmul_tensor(algorithm.tile)
    factors = _normalised([np.ascontiguousarray(f.T) for f in algorithm.factors])
    frozen = [np.zeros(f.shape, dtype=bool) for f in factors]
    sizes = [f.size for f in factors]
    barred: set[tuple[int, float]] = set()
    failures = 0
    while not all(m.all() for m in frozen):
        flat = np.concatenate([f.ravel() for f in factors])
        held = np.concatenate([m.ravel() for m in frozen])
        goal = _nearest(flat, grid)
        distance = np.abs(flat - goal)
        order = np.where(held, np.inf, distance * np.exp(blur * rng.normal(size=flat.size)))
        chosen = next((int(i) for i in np.argsort(order) if (int(i), float(goal[i])) not in barred), -1)
        if chosen < 0 or held[chosen]:
            return None
        # Entries that already sit on the grid are pinned together with the chosen one.
        pins = (~held) & (distance < 1e-9)
        pins[chosen] = True
        trial_flat, trial_held = np.where(pins, goal, flat), held | pins
        trial = [
            p.reshape(f.shape)
            for p, f in zip(np.split(trial_flat, np.cumsum(sizes)[:-1]), factors, strict=True)
        ]
        masks = [
            p.reshape(f.shape)
            for p, f in zip(np.split(trial_held, np.cumsum(sizes)[:-1]), factors, strict=True)
        ]
        fit = cp_levenberg_marquardt(target, trial, frozen=masks, iterations=60, loss_tolerance=1e-27)
        loss = float(fit.loss[0]) / algorithm.tile.products
        size = max(float(f.abs().max()) for f in fit.factors)
        if loss < _SOLVED and size < 20 * np.abs(grid).max():
            factors, frozen = [f[0].numpy().copy() for f in fit.factors], masks
        else:
            barred.add((chosen, float(goal[chosen])))
            failures += 1
            if failures > 40:
                return None
    return algorithm.with_factors(factors[0].T, factors[1].T, factors[2])
