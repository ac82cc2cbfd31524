"""Make the published frontier of a format for sorted features: starts pruned, then a descent of their best.

`python -m benchmarks.sorted_frontier --starts 240`, and for longer tiles `--tile 4x8x4 --stride 4 --starts
60`. With `--starts 0` what is published goes up rank by rank, and down again: with `--dtype fp16` into a
folder of its own, and from there with `--also FOLDER` on to what bfloat16 bears; with `--drops 4 --tries
20000` sets of up to four products are dropped at once on the way down. An entry that is published already is
replaced by a better one only. What does not belong here: measuring what was found on layers
(`sorted_profile`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from stl_algebra.algorithms.balance import balance
from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import SORTED, Profile, fitted_to
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.scores import inner_losses, rounding_constant
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact
from stl_algebra.families import Request, family
from stl_algebra.precision import PRECISIONS
from stl_algebra.published import FOLDER, encoders, published
from stl_algebra.version import __version__
from stl_search.trials.als import Batch, Target, als, from_batch, objective, to_batch
from stl_search.trials.descent import Descent, Found, ascend, descend
from stl_search.trials.drops import Drops
from stl_search.trials.polish import Polish, brought_down, can_polish, polish
from stl_search.trials.prune import Beam, prune

#: The lowest rank, and those that pruning a start ends at in turn, as shares of nkm.
LOWEST = 1 / 4
ENDS = (1 / 4, 5 / 16, 3 / 8, 17 / 32)
BEAM = Beam(4, 3, 40)
#: Candidates of a rank that the descent starts from.
KEPT = 3


@dataclass(frozen=True)
class Search:
    """What is asked for.

    Attributes:
        tile, profile: the format, and what to fit to.
        starts: how many are pruned; with 0 what is published goes up and down.
        seed: of the first start, or of the products added on the way up.
        stride: only the ranks that it divides.
        dtype: whose rounding the objective has.
        also: folder of more encoders to go on from; None for none.
        highest, lowest: where the descent starts, None for the exact rank, and where it ends.
        drops: sets of products dropped at once on the way down; None for single ones alone.
        device: torch device of the refinement.
        command: kept in the provenance.
    """

    tile: TileFormat
    profile: Profile
    starts: int
    seed: int
    stride: int
    dtype: str
    also: Path | None
    highest: int | None
    lowest: int
    drops: Drops | None
    device: str
    command: str

    @property
    def colour(self) -> Colour:
        """Of the profile."""
        return self.profile.colour(self.tile)

    @property
    def top(self) -> int:
        """Where the descent starts."""
        return rank_of_exact(self.tile) if self.highest is None else self.highest

    @property
    def target(self) -> Target:
        """What is fitted."""
        return Target.of(self.tile, rounding_constant(self.dtype), self.colour)


def pool(search: Search) -> dict[int, list[BilinearAlgorithm]]:
    """Rank -> the best of all starts, best first, pruned in the colour of the profile."""
    tile, colour, target, starts, seed = search.tile, search.colour, search.target, search.starts, search.seed
    lowest, top = round(LOWEST * tile.products), rank_of_exact(tile)
    best: dict[int, list[tuple[float, BilinearAlgorithm]]] = {}
    for index in range(starts):
        start = family("strongest").propose(Request(tile, lowest, seed=seed + index))
        settled = als(target, to_batch([start], colour), 30, (1e-2, 1e-5))
        end = min(round(ENDS[index % len(ENDS)] * tile.products), start.rank - 1)
        for rank, found in prune(target, settled, end, beam=BEAM, seed=seed + index, keep_path=True)[
            1
        ].items():
            if rank < top:
                one = from_batch(found, start, (f"prune {start.rank} -> {rank}",), colour)[0]
                best.setdefault(rank, []).append((float(objective(target, found)[0]), one))
                best[rank] = sorted(best[rank], key=lambda pair: pair[0])[: 2 * KEPT]
    return {rank: [one for _, one in found[:KEPT]] for rank, found in best.items()}


def frontier(search: Search) -> Iterator[BilinearAlgorithm]:
    """Yield the frontier from the highest rank down: the best of the pool and of the ranks above, refined.

    Without starts there is no pool, but what is published, and products added to it on the way up.
    """
    tile, profile, dtype, command = search.tile, search.profile, search.dtype, search.command
    how = Descent(
        width=2,
        branch=4,
        stride=search.stride,
        sweeps=60,
        probing=0,
        finishing=25,
        drops=search.drops,
        seed=search.seed,
        device=search.device,
    )
    if search.starts:
        known = pool(search)
        origin_of_starts = f"{search.starts} starts of the family strongest, seeds from {search.seed}, pruned"
    else:
        known = {rank: [encoders(tile, rank, SORTED)] for own, rank in published(SORTED) if own == tile}
        for algorithm in (*white(search), *further(search)):
            known.setdefault(algorithm.rank, []).append(algorithm)
        known = {rank: found for rank, found in known.items() if search.lowest <= rank <= search.top}
        wide = replace(how, branch=8)
        for found in ascend(tile, known, max(known), dtype, wide, command, profile, search.seed):
            known.setdefault(found.algorithm.rank, []).append(found.algorithm)
            _tell(found)
        more = ", those of a folder" if search.also else ""
        origin_of_starts = f"the published ones{more} and an ascent from them, seed {search.seed}"
    if search.highest is None:
        top = _highest(search)
        print(f"rank {top.rank}", flush=True)
        known[top.rank] = [top]
        # Unrefined it is the exact algorithm, which the package has.
        if can_polish(to_batch([top])):
            yield top
    for found in descend(tile, known, search.lowest, dtype, how, command, profile):
        _tell(found)
        name = f"{tile.slug}-r{found.algorithm.rank}-{SORTED}"
        steps = (origin_of_starts, *found.algorithm.provenance.steps[-1:])
        origin = replace(found.algorithm.provenance, steps=steps)
        yield found.algorithm.renamed(name, origin)


def white(search: Search) -> list[BilinearAlgorithm]:
    """The published encoders for white tiles, what they lose least along the profile's first axes, refined.

    Poor starts but just below the exact rank.
    """
    tile, shares = search.tile, len(search.profile.shares)
    refined = []
    for own, rank in published():
        if own != tile or rank >= rank_of_exact(tile):
            continue
        one = encoders(tile, rank)
        axes = np.eye(shares)[np.argsort(inner_losses(one), kind="stable")]
        batch = to_batch([sandwich(one, np.eye(tile.n), axes.T, np.eye(tile.m))], search.colour)
        if can_polish(batch):
            batch = als(search.target, batch, 200, (1e-4, 1e-8))
            refined += from_batch(batch, one, (f"start {one!r}", "als"), search.colour)
    return refined


def further(search: Search) -> list[BilinearAlgorithm]:
    """Encoders of the folder below the exact rank, with as much amplification as the dtype bears."""
    if search.also is None:
        return []
    stored = (load_encoders(path).algorithm for path in sorted(search.also.glob("*.safetensors")))
    return [
        from_batch(
            brought_down(search.target, to_batch([one], search.colour)),
            one,
            one.provenance.steps,
            search.colour,
        )[0]
        for one in stored
        if one.tile == search.tile and one.rank < rank_of_exact(search.tile)
    ]


def _tell(found: Found) -> None:
    print(f"rank {found.algorithm.rank}: total {found.total:.4g}, {found.before:.4g} before", flush=True)


def _highest(search: Search) -> BilinearAlgorithm:
    """The exact algorithm in the bases in which it amplifies least, refined for the profile."""
    tile, colour = search.tile, search.colour
    exact = exact_algorithm(tile)
    balanced = balance(exact)
    refined: Batch = polish(search.target, to_batch([balanced], colour), Polish(20))
    origin = Provenance(family="known", command=search.command, version=__version__)
    like = fitted_to(balanced.renamed(f"{tile.slug}-r{exact.rank}-{SORTED}", origin), search.profile)
    return from_batch(refined, like, (f"start {exact!r}", "balance", "levenberg-marquardt"), colour)[0]


def publish(algorithm: BilinearAlgorithm, folder: Path, dtype: str) -> bool:
    """Write the algorithm if it is better than what the folder has of its rank; whether it was."""
    path = folder / f"{algorithm.tile.slug}-r{algorithm.rank}.safetensors"
    judged = Judged.of(algorithm)
    if path.exists():
        before = load_encoders(path).judged()
        if before.scores.profile == judged.scores.profile and (
            before.scores.total(dtype) <= judged.scores.total(dtype)
        ):
            return False
    save_encoders(path, judged)
    return True


def main(arguments: list[str]) -> int:
    """Search and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sorted_frontier", description=__doc__)
    parser.add_argument("--tile", type=TileFormat.parse, default=TileFormat(4, 4, 4), help="the format")
    parser.add_argument("--profile", default=SORTED, help="shares p1,...,pk, or the shipped profile")
    parser.add_argument("--stride", type=int, default=1, help="only the ranks that it divides")
    parser.add_argument("--starts", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=PRECISIONS, default="bf16", help="whose rounding counts")
    parser.add_argument("--also", type=Path, metavar="FOLDER", help="more encoders to go on from")
    parser.add_argument("--highest", type=int, help="where the descent starts; the exact rank by default")
    parser.add_argument("--lowest", type=int, help="where it ends; a quarter of nkm by default")
    parser.add_argument("--drops", type=int, default=0, help="products dropped at once, at most")
    parser.add_argument("--tries", type=int, default=4000, help="sets of products of each size")
    parser.add_argument("--device", default="cpu", help="torch device of the refinement")
    parser.add_argument("--out", type=Path, default=FOLDER / SORTED)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    # Where it was written to says nothing of how it was found.
    told = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    told.add_argument("--out")
    command = shlex.join(["python", "-m", "benchmarks.sorted_frontier", *told.parse_known_args(arguments)[1]])
    profile = Profile.parse(asked.profile, asked.tile.k)
    search = Search(
        asked.tile,
        profile,
        asked.starts,
        asked.seed,
        asked.stride,
        asked.dtype,
        asked.also,
        asked.highest,
        asked.lowest or round(LOWEST * asked.tile.products),
        Drops(asked.drops, asked.tries) if asked.drops else None,
        asked.device,
        command,
    )
    asked.out.mkdir(parents=True, exist_ok=True)
    better = [publish(found, asked.out, asked.dtype) for found in frontier(search)]
    print(f"{sum(better)} of {len(better)} ranks are new or better")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
