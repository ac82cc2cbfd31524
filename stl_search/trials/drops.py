"""Several products dropped at once: many sets of them tried in short, the best refined longer.

A beam that drops one product after another keeps what is best after each; sets whose parts are all poor it
never sees. What does not belong here: single products (`prune`), whole frontiers (`descent`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stl_algebra.errors import InvalidInput
from stl_search.trials.als import Batch, Target, als
from stl_search.trials.prune import best_different, removal_costs

#: Standard deviations of the logarithms of the random factors on costs, from 10^a to 10^b.
_SPREAD = (-0.5, 0.7)
#: Turns in which as many sets as are asked for are drawn by their costs: where some products cost next to
#: nothing there may be too few sets that have them.
_BY_COST = 8
#: Candidates refined at once: what stays in the cache of a core; a GPU wants many.
_AT_ONCE = {"cpu": 256, "cuda": 16384}


@dataclass(frozen=True)
class Drops:
    """How many sets are tried, and for how long.

    Attributes:
        most: products of a set, at most.
        tries: sets of each size; all where there are no more.
        rounds: (sweeps of ALS, candidates that go on), in turn.
        proximal: relative weights of the proximal term at the start of the first round and the end of each.
    """

    most: int = 3
    tries: int = 4000
    rounds: tuple[tuple[int, int], ...] = ((20, 800), (60, 100), (200, 24), (500, 4))
    proximal: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-6, 1e-8)

    def __post_init__(self) -> None:
        """Raises InvalidInput for numbers below one, and weights that do not fit the rounds."""
        for name in ("most", "tries"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, expected="at least 1", got=getattr(self, name))
        if len(self.proximal) != len(self.rounds) + 1:
            wanted = f"{len(self.rounds) + 1} weights for {len(self.rounds)} rounds"
            raise InvalidInput("proximal", expected=wanted, got=len(self.proximal))


def sets_of_products(
    rank: int, size: int, tries: int, seed: tuple[int, ...], costs: NDArray[np.float64] | None = None
) -> Tensor:
    """(n, rank) bool, False for the `size` products of each set: all sets, or `tries` different drawn ones.

    Of products with `costs` the cheapest are drawn, by costs times random factors: of some sets nearly 1, so
    that they are of the cheapest alone, of others so large that the costs hardly matter.
    """
    if comb(rank, size) <= tries:
        chosen = np.array(list(itertools.combinations(range(rank), size)), np.int64)
    else:
        generator = np.random.default_rng(seed)
        chosen = np.empty((0, size), np.int64)
        logs = np.zeros(rank) if costs is None else np.log(costs + 1e-12)
        for turn in itertools.count():
            if len(chosen) >= tries:
                break
            if turn == _BY_COST:
                logs = np.zeros(rank)
            spread = 10 ** generator.uniform(*_SPREAD, (tries, 1))
            noisy = logs + spread * generator.normal(size=(tries, rank))
            drawn = noisy.argpartition(size - 1, axis=1)[:, :size]
            # Sets, not sequences; `unique` puts them in order, of which none is to be preferred.
            chosen = np.unique(np.concatenate([chosen, np.sort(drawn, axis=1)]), axis=0)
        chosen = generator.permutation(chosen)[:tries]
    keep = torch.ones(len(chosen), rank, dtype=torch.bool)
    keep.scatter_(1, torch.from_numpy(chosen), False)
    return keep


def dropped(target: Target, start: Batch, rank: int, how: Drops, seed: tuple[int, ...] = (0,)) -> Batch:
    """The best candidates of `rank` left of one of a higher rank, best first.

    Args:
        target: tensor and penalty.
        start: (1, r, ...).
        rank: below r.
        how: sets and rounds.
        seed: of the sets, where not all are tried.

    Raises:
        InvalidInput: a rank that is not below that of the start.
    """
    high = start[0].shape[1]
    if not 1 <= rank < high:
        raise InvalidInput("rank", expected=f"a rank from 1 to {high - 1}", got=rank)
    costs = removal_costs(target, start)[0].cpu().numpy()
    keep = sets_of_products(high, high - rank, how.tries, seed, costs).to(start[0].device)
    at_once = _AT_ONCE.get(start[0].device.type, 256)
    parts = (_left(start, keep[i : i + at_once]) for i in range(0, len(keep), at_once))
    candidates = start
    for (sweeps, most), weights in zip(how.rounds, itertools.pairwise(how.proximal), strict=True):
        # What is not among the best of its part is not among the best of all.
        kept = [best_different(target, als(target, part, sweeps, weights), most) for part in parts]
        candidates = best_different(target, _all_of(kept), most)
        x, w, d = candidates
        parts = (
            (x[i : i + at_once], w[i : i + at_once], d[i : i + at_once]) for i in range(0, len(x), at_once)
        )
    return candidates


def _left(start: Batch, keep: Tensor) -> Batch:
    """(n, rank, ...) without the products of each set."""
    x, w, d = (f.expand(len(keep), -1, -1)[keep].view(len(keep), -1, f.shape[2]) for f in start)
    return x, w, d


def _all_of(parts: list[Batch]) -> Batch:
    x, w, d = (torch.cat(factors) for factors in zip(*parts, strict=True))
    return x, w, d
