"""The frontier of a format, descended rank by rank: from each best algorithm to the next lower rank.

Every rank gets its start from the ranks above it: some of the cheapest removals of each, polished, and the
best go on; what was known of a rank before is polished and stays where it is better. What does not belong
here: families of candidates (`trial`), where algorithms are kept (`frontier`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.profile import Profile, fitted_to
from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.version import __version__
from stl_search.trials.als import Batch, Target, als, from_batch, objective, to_batch
from stl_search.trials.polish import Polish, can_polish, polish
from stl_search.trials.prune import best_different, removals


@dataclass(frozen=True)
class Descent:
    """How widely a descent looks.

    Attributes:
        width: algorithms of a rank that go on.
        branch: removals of each that are tried; with 0, what is known of each rank is polished, no more.
        stride: only the ranks that it divides, and the last, are finished and told of.
        sweeps: of ALS after a removal, before it is polished.
        probing: iterations for every removal, 0 for none.
        finishing: iterations for the best of a rank; sweeps of ALS above `polish.LARGEST_ORDER`.
    """

    width: int = 4
    branch: int = 4
    stride: int = 1
    sweeps: int = 20
    probing: int = 15
    finishing: int = 120


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
    if not known:
        raise InvalidInput("known", expected="at least one algorithm", got="none")
    for rank, algorithms in known.items():
        for a in algorithms:
            if a.tile != tile or a.rank != rank:
                raise InvalidInput("known", expected=f"{tile} of rank {rank}", got=f"{a.tile} of {a.rank}")
    highest = max(known)
    if not 1 <= lowest < highest:
        raise InvalidInput("lowest", expected=f"a rank from 1 to {highest - 1}", got=lowest)
    colour = None if profile is None else profile.colour(tile)
    target = Target.of(tile, rounding_constant(dtype), colour)
    like = known[highest][0]
    # They creep where Levenberg-Marquardt would step; on the way down the next removal undoes most of it.
    sweeps = how.finishing if how.branch else 20 * how.finishing
    beam = to_batch(list(known[highest]), colour)
    if how.branch:
        beam = _finished(target, beam, Polish(how.finishing), sweeps)
    for rank in range(highest - 1, lowest - 1, -1):
        own = to_batch(list(known[rank]), colour) if known.get(rank) else None
        before = float("inf") if own is None else float(objective(target, own).min())
        grown = own
        if how.branch:
            grown = als(target, removals(target, beam, how.branch), how.sweeps, (1e-4, 1e-7))
            if how.probing and can_polish(grown):
                grown = polish(target, grown, Polish(how.probing, 1e-3))
            grown = _joined(grown, own)
        elif grown is None:
            continue
        beam = best_different(target, grown, how.width)
        if rank % how.stride and rank != lowest:
            continue
        beam = best_different(target, _finished(target, beam, Polish(how.finishing), sweeps), how.width)
        first: Batch = (beam[0][:1], beam[1][:1], beam[2][:1])
        # What was only polished began with another command.
        earlier = known[rank][0].provenance.command if not how.branch and known.get(rank) else ""
        whole = f"{earlier} && {command}" if earlier and earlier != command else command
        origin = replace(like.provenance, family="descent", seed=None, command=whole, version=__version__)
        start = like.renamed(f"{tile.slug}-r{rank}", origin)
        if profile is not None:
            start = fitted_to(start, profile)
        steps = (f"descent {highest} -> {rank} at {dtype}",)
        yield Found(from_batch(first, start, steps, colour)[0], float(objective(target, first)[0]), before)


def _finished(target: Target, factors: Batch, how: Polish, sweeps: int) -> Batch:
    """Polished; by alternating sweeps where the format and rank are too large for that."""
    if can_polish(factors):
        return polish(target, factors, how)
    return als(target, factors, sweeps, (1e-6, 1e-10), tolerance=1e-4)


def _joined(one: Batch, other: Batch | None) -> Batch:
    if other is None:
        return one
    x, w, d = (torch.cat(pair) for pair in zip(one, other, strict=True))
    return x, w, d
