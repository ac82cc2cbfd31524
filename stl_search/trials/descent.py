"""The frontier of a format, rank by rank: down from each best algorithm to the next lower rank, or up.

Every rank gets its start from the ranks above it: some of the cheapest removals of each, polished, and the
best go on; what was known of a rank before is polished and stays where it is better. On the way up products
are added. What does not belong here: families of candidates (`trial`), where algorithms are kept
(`frontier`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.version import __version__
from stl_search.trials.als import Batch, Target, als, balanced, from_batch, objective, to_batch
from stl_search.trials.drops import Drops, dropped
from stl_search.trials.polish import Polish, can_polish, polish
from stl_search.trials.prune import best_different, removals

#: Size of an added product's decoder over that of the others: small, so that what is there stays.
_NEW_DECODER = 0.01


@dataclass(frozen=True)
class Descent:
    """How widely a descent, or an ascent, looks.

    Attributes:
        width: algorithms of a rank that go on.
        branch: removals, or additions, of each that are tried; a descent with 0 polishes what is known of
            each rank, no more.
        stride: only the ranks that it divides, and the last, are finished and told of.
        sweeps: of ALS after a removal, before it is polished.
        probing: iterations for every removal, 0 for none.
        finishing: iterations for the best of a rank; sweeps of ALS above `polish.LARGEST_ORDER`.
        drops: sets of products tried beside single ones on the way down, of what is kept of the ranks above.
        seed: of those sets.
        device: torch device of the refinement.
    """

    width: int = 4
    branch: int = 4
    stride: int = 1
    sweeps: int = 20
    probing: int = 15
    finishing: int = 120
    drops: Drops | None = None
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class Found:
    """The best of a rank.

    Attributes:
        algorithm: what was found.
        total: NMSE + c A at the dtype.
        before: the total of what was known of this rank, infinite for none.
    """

    algorithm: BilinearAlgorithm
    total: float
    before: float


@dataclass(frozen=True)
class _Goal:
    """What a descent or an ascent works towards."""

    target: Target
    colour: Colour | None
    profile: Profile | None
    device: str

    @classmethod
    def of(
        cls,
        tile: TileFormat,
        known: Mapping[int, Sequence[BilinearAlgorithm]],
        dtype: str,
        profile: Profile | None,
        device: str,
    ) -> _Goal:
        """What is known is checked on the way."""
        if not known:
            raise InvalidInput("known", expected="at least one algorithm", got="none")
        for rank, algorithms in known.items():
            for a in algorithms:
                if a.tile != tile or a.rank != rank:
                    got = f"{a.tile} of {a.rank}"
                    raise InvalidInput("known", expected=f"{tile} of rank {rank}", got=got)
        colour = None if profile is None else profile.colour(tile)
        return cls(Target.of(tile, rounding_constant(dtype), colour, device), colour, profile, device)

    def batch(self, algorithms: Sequence[BilinearAlgorithm]) -> Batch:
        """In the coordinates of the colour, on the device."""
        return to_batch(list(algorithms), self.colour, self.device)

    def found(
        self, beam: Batch, own: Batch | None, like: BilinearAlgorithm, step: str, command: str
    ) -> Found:
        """The first of the beam, beside what was known of its rank."""
        first = _first(beam)
        before = float("inf") if own is None else float(objective(self.target, own).min())
        origin = replace(like.provenance, family="descent", seed=None, command=command, version=__version__)
        start = like.renamed(f"{like.tile.slug}-r{first[0].shape[1]}", origin)
        if self.profile is not None:
            start = fitted_to(start, self.profile)
        algorithm = from_batch(first, start, (step,), self.colour)[0]
        return Found(algorithm, float(objective(self.target, first)[0]), before)


def descend(
    tile: TileFormat,
    known: Mapping[int, Sequence[BilinearAlgorithm]],
    lowest: int,
    dtype: str = "bf16",
    how: Descent = Descent(),
    command: str = "",
    profile: Profile | None = None,
) -> Iterator[Found]:
    """Yield the best of every rank (or of every `stride`-th), from below the highest known down to `lowest`.

    Args:
        tile: the format.
        known: rank -> algorithms of it; the highest rank is where the descent starts.
        lowest: the last rank.
        dtype: whose rounding constant c the objective has.
        how: widths and iterations.
        command: kept in the provenance.
        profile: of the tiles to fit to; None for white tiles. It is kept in the provenance.

    Raises:
        InvalidInput: nothing is known, an algorithm has another format or rank, or `lowest` is not below.
    """
    goal = _Goal.of(tile, known, dtype, profile, how.device)
    target = goal.target
    highest = max(known)
    if not 1 <= lowest < highest:
        raise InvalidInput("lowest", expected=f"a rank from 1 to {highest - 1}", got=lowest)
    like = known[highest][0]
    # They creep where Levenberg-Marquardt would step; on the way down the next removal undoes most of it.
    sweeps = how.finishing if how.branch else 20 * how.finishing
    beam = goal.batch(known[highest])
    if how.branch:
        beam = _finished(target, beam, Polish(how.finishing), sweeps)
    kept = {highest: beam}
    for rank in range(highest - 1, lowest - 1, -1):
        own = goal.batch(known[rank]) if known.get(rank) else None
        grown = own
        if how.branch:
            grown = als(target, removals(target, beam, how.branch), how.sweeps, (1e-4, 1e-7))
            if how.probing and can_polish(grown):
                grown = polish(target, grown, Polish(how.probing, 1e-3))
            grown = _joined(grown, own)
            if how.drops:
                grown = _joined(grown, _dropped_from(target, kept, rank, how.drops, how.seed))
        elif grown is None:
            continue
        beam = best_different(target, grown, how.width)
        kept[rank] = beam
        if rank % how.stride and rank != lowest:
            continue
        beam = best_different(target, _finished(target, beam, Polish(how.finishing), sweeps), how.width)
        kept[rank] = beam
        # What was only polished began with another command.
        earlier = known[rank][0].provenance.command if not how.branch and known.get(rank) else ""
        whole = f"{earlier} && {command}" if earlier and earlier != command else command
        yield goal.found(beam, own, like, f"descent {highest} -> {rank} at {dtype}", whole)


def ascend(
    tile: TileFormat,
    known: Mapping[int, Sequence[BilinearAlgorithm]],
    highest: int,
    dtype: str = "bf16",
    how: Descent = Descent(),
    command: str = "",
    profile: Profile | None = None,
    seed: int = 0,
) -> Iterator[Found]:
    """Yield the best of every rank (or of every `stride`-th) above the lowest known, up to `highest`.

    Every rank gets its start from the best below it: random products are added, `branch` of each, which
    refinement turns to what is still missing. So no rank is left worse than a lower one. Arguments as of
    `descend`, but that the lowest rank is where the ascent starts and `seed` that of the random products.

    Raises:
        InvalidInput: as `descend`, or `highest` is not above the lowest rank.
    """
    goal = _Goal.of(tile, known, dtype, profile, how.device)
    target = goal.target
    lowest = min(known)
    if not lowest < highest:
        raise InvalidInput("highest", expected=f"a rank above {lowest}", got=highest)
    beam = best_different(target, goal.batch(known[lowest]), how.width)
    like = known[lowest][0]
    for rank in range(lowest + 1, highest + 1):
        own = goal.batch(known[rank]) if known.get(rank) else None
        grown = als(
            target, _with_random_product(beam, max(how.branch, 1), (seed, rank)), how.sweeps, (1e-4, 1e-7)
        )
        beam = best_different(target, _joined(grown, own), how.width)
        if rank % how.stride and rank != highest:
            continue
        beam = best_different(
            target, _finished(target, beam, Polish(how.finishing), how.finishing), how.width
        )
        yield goal.found(beam, own, like, f"ascent {lowest} -> {rank} at {dtype}", command)


def _dropped_from(
    target: Target, kept: Mapping[int, Batch], rank: int, how: Drops, seed: int
) -> Batch | None:
    """What `dropped` finds from each of those kept of the ranks just above."""
    found: Batch | None = None
    for high in range(rank + 1, rank + how.most + 1):
        for index in range(len(kept[high][0]) if high in kept else 0):
            x, w, d = (f[index : index + 1] for f in kept[high])
            one = dropped(target, (x, w, d), rank, how, (seed, high, index))
            found = _joined(one, found)
    return found


def _with_random_product(factors: Batch, branch: int, seed: Sequence[int]) -> Batch:
    """(B * branch, r + 1, ...): a Gaussian product of the others' size more, with a small decoder."""
    generator = np.random.default_rng(seed)
    grown = []
    for factor, scale in zip(balanced(factors), (1.0, 1.0, _NEW_DECODER), strict=True):
        old = factor.repeat_interleave(branch, 0)
        new = torch.from_numpy(generator.normal(size=(old.shape[0], 1, old.shape[2]))).to(old)
        grown.append(torch.cat([old, scale * old.square().mean((1, 2), keepdim=True).sqrt() * new], 1))
    x, w, d = grown
    return x, w, d


def _finished(target: Target, factors: Batch, how: Polish, sweeps: int) -> Batch:
    """Polished; by alternating sweeps where the format and rank are too large for that."""
    if can_polish(factors):
        return polish(target, factors, how)
    return als(target, factors, sweeps, (1e-6, 1e-10), tolerance=1e-4)


def _first(factors: Batch) -> Batch:
    return factors[0][:1], factors[1][:1], factors[2][:1]


def _joined(one: Batch, other: Batch | None) -> Batch:
    if other is None:
        return one
    x, w, d = (torch.cat(pair) for pair in zip(one, other, strict=True))
    return x, w, d
