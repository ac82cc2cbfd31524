"""One trial of the search: a pure function from a plan entry to algorithms.

Candidate from a family, pruned to the rank, refined at the target dtype, made exact where it is nearly
exact. The same entry gives the same result in any process: one torch thread, all randomness from the
entry's seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.fit import truncate
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.algorithms.scores import nmse, rounding_constant, total
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.exact.discretise import discretise
from stl_algebra.families import Request, family
from stl_algebra.groups import FiniteGroup
from stl_algebra.progress import Progress
from stl_algebra.version import __version__
from stl_search.trials.als import Batch, Target, als, from_batch, objective, to_batch
from stl_search.trials.polish import polish
from stl_search.trials.prune import Beam, prune

#: An algorithm whose total is within this factor of the best is preferred when it is exact.
EXACT_PREFERENCE = 1.5
#: Above this many products the closed-form elimination comes before pruning with refinement.
_LARGEST_PRUNED = 110
_NEARLY_EXACT = 1e-3
#: Sweeps of the rank that was asked for; those on the way to it get fewer, and no polish.
_WORTH_A_POLISH = 100
#: Sweeps in which a start gets used to a profile.
_SETTLING = 30


@dataclass(frozen=True, init=False)
class Entry(Request):
    """One line of the plan: what a family is asked for, which family, the dtype whose rounding counts.

    Attributes:
        dtype: of the total.
        family: registered name.
        profile: of the tiles to fit to; None for white tiles.
    """

    dtype: str
    family: str
    profile: Profile | None

    def __init__(
        self,
        tile: TileFormat | str,
        rank: int,
        dtype: str = "bf16",
        family: str = "known",
        group: FiniteGroup | str | None = None,
        seed: int = 0,
        profile: Profile | None = None,
    ) -> None:
        super().__init__(tile, rank, group, seed)
        object.__setattr__(self, "dtype", dtype)
        object.__setattr__(self, "family", family)
        object.__setattr__(self, "profile", profile)

    @property
    def colour(self) -> Colour | None:
        """Of the tiles."""
        return None if self.profile is None else self.profile.colour(self.tile)


@dataclass(frozen=True)
class Outcome:
    """What a trial found.

    Attributes:
        algorithms: the winner of the trial first, then the best of each rank that pruning went through.
        totals: NMSE + c(dtype) A of each, in the colour of the entry.
    """

    algorithms: tuple[BilinearAlgorithm, ...]
    totals: tuple[float, ...]


def run_trial(entry: Entry, command: str = "", progress: Progress | None = None) -> Outcome:
    """Run one entry.

    Args:
        entry: of the plan.
        command: stored in provenance.
        progress: called with the stage, what of it is done, and how much it is.

    Raises:
        NoCandidate: the family has nothing for this group and format.
        InvalidInput: the entry itself is malformed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _run(entry, command, progress)
    finally:
        torch.set_num_threads(threads)


def _run(entry: Entry, command: str, progress: Progress | None) -> Outcome:
    tile, penalty = entry.tile, rounding_constant(entry.dtype)
    start = family(entry.family).propose(entry)
    start = start.renamed(start.name, replace(start.provenance, command=command, version=__version__))
    if start.rank > max(_LARGEST_PRUNED, entry.rank):
        start = truncate(start, max(_LARGEST_PRUNED, entry.rank), penalty, 0.1, entry.seed)
    if entry.profile is not None:
        start = fitted_to(start, entry.profile)
    colour = entry.colour
    target = Target.of(tile, penalty, colour)
    rng = np.random.default_rng(entry.seed)
    # Wide beams on small problems, narrow ones where a step is dear.
    beam = (Beam(2, 4, 60), Beam(6, 4, 20), Beam(4, 3, 40))[int(rng.integers(3))]
    batch, path = prune(
        target,
        _settled(target, to_batch([start], colour), entry),
        entry.rank,
        beam=beam,
        seed=entry.seed,
        keep_path=True,
        progress=progress,
    )
    # Ranks at which an exact algorithm is known anyway are not worth keeping.
    path = {r: b for r, b in path.items() if entry.rank < r <= rank_of_exact(tile)}
    steps = [f"prune {start.rank} -> {entry.rank}"] if start.rank > entry.rank else []
    if progress:
        progress("refine", 0, 1 + len(path))
    found = [_finished(target, batch, start, (*steps, "als"), entry, sweeps=600)]
    for rank, kept in sorted(path.items()):
        steps_here = (f"prune {start.rank} -> {rank}", "als")
        found.append(_finished(target, kept, start, steps_here, entry, sweeps=60))
        if progress:
            progress("refine", len(found), 1 + len(path))
    if entry.rank < start.rank <= rank_of_exact(tile) and verify(start).exact:
        found.append(start)
    return Outcome(tuple(found), tuple(total(a, entry.dtype, colour) for a in found))


def _settled(target: Target, start: Batch, entry: Entry) -> Batch:
    """The start as pruning takes it: one that was made for white tiles is fitted to the profile first."""
    return start if entry.profile is None else als(target, start, _SETTLING, (1e-2, 1e-5))


def _finished(
    target: Target, batch: Batch, start: BilinearAlgorithm, steps: tuple[str, ...], entry: Entry, sweeps: int
) -> BilinearAlgorithm:
    """The best of the batch after more ALS and a polish; its exact neighbour where one is as good."""
    batch = als(target, batch, sweeps, (1e-5, 1e-9), 1e-7)
    best = int(torch.argmin(objective(target, batch)))
    x, w, d = batch
    one = (x[best : best + 1], w[best : best + 1], d[best : best + 1])
    algorithm = from_batch(one, start, steps, entry.colour)[0]
    if sweeps < _WORTH_A_POLISH:
        return algorithm
    if algorithm.tile.products <= 27 and nmse(algorithm) < _NEARLY_EXACT:
        # Before the polish, which turns an algorithm towards the least A and away from simple entries.
        exact = discretise(algorithm, seed=entry.seed)
        if exact is not None and total(exact, entry.dtype, entry.colour) <= EXACT_PREFERENCE * total(
            algorithm, entry.dtype, entry.colour
        ):
            return exact
    return from_batch(polish(target, one), start, (*steps, "levenberg-marquardt"), entry.colour)[0]
