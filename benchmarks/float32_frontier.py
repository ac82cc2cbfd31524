"""Make published encoders for float32 alone: two descents from exact algorithms, and a wider one from both.

`python -m benchmarks.float32_frontier` takes about an hour on one core. Where an amplification of 1e6 costs
nothing, each product that is removed from an exact algorithm of <4,4,4> costs about 1/64 of the energy for
ten ranks; below, what 48 and what 49 products lead to lie side by side, and a wider beam finds better ways
down from there. An entry that is published already is replaced by a better one only, and one that is hardly
better than the encoders for every dtype is not published. What does not belong here: descending
(`stl_search.trials`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.scores import total
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.published import FOLDER, encoders
from stl_search.frontier.known import known_algorithms
from stl_search.frontier.winners import is_better
from stl_search.trials.descent import Descent, descend

FLOAT32 = "fp32"
#: On the way down from an exact algorithm, and from where the two ways lie side by side.
NARROW = Descent(width=3, branch=3)
WIDE = Descent(width=6, branch=10, probing=25, finishing=150)
#: Of the total of the encoders for every dtype: what is worth encoders of its own.
BETTER = 0.99

Known = Mapping[int, Sequence[BilinearAlgorithm]]


def search(
    tile: TileFormat, lowest: int, turn: int, also: BilinearAlgorithm, command: str
) -> dict[int, BilinearAlgorithm]:
    """The best of every rank below the exact one.

    Args:
        tile: the format.
        lowest: the last rank.
        turn: where the wide descent begins.
        also: an exact algorithm of a higher rank, which the second descent begins with.
        command: kept in the provenance.
    """
    top = rank_of_exact(tile)
    known = {rank: found for rank, found in known_algorithms(tile).items() if rank <= top}
    ways = [_down(tile, k, lowest, NARROW, command) for k in (known, {also.rank: [also]})]
    both = {rank: [way[rank] for way in ways] for rank in range(turn, lowest - 1, -1)}
    ways.append(_down(tile, both, lowest, WIDE, command))
    return {
        rank: min((way[rank] for way in ways if rank in way), key=lambda a: total(a, FLOAT32))
        for rank in range(top - 1, lowest - 1, -1)
    }


def _down(
    tile: TileFormat, known: Known, lowest: int, how: Descent, command: str
) -> dict[int, BilinearAlgorithm]:
    found = {}
    for one in descend(tile, known, lowest, FLOAT32, how, command):
        print(f"from {max(known)}: rank {one.algorithm.rank}: total {one.total:.5g}", flush=True)
        found[one.algorithm.rank] = one.algorithm
    return found


def publish(found: Mapping[int, BilinearAlgorithm], folder: Path) -> int:
    """Write those that are better than what the folder has, and well below what serves every dtype."""
    written = 0
    for rank, algorithm in found.items():
        path = folder / f"{algorithm.tile.slug}-r{rank}.safetensors"
        new = Judged.of(algorithm.renamed(f"{path.stem}-{FLOAT32}"))
        if path.exists() and not is_better(new, load_encoders(path).judged(), FLOAT32):
            continue
        if new.scores.total(FLOAT32) < BETTER * total(encoders(algorithm.tile, rank), FLOAT32):
            save_encoders(path, new)
            written += 1
    return written


def main(arguments: list[str]) -> int:
    """Search and publish."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.float32_frontier", description=__doc__)
    parser.add_argument("--lowest", type=int, default=36, help="the last rank")
    parser.add_argument("--turn", type=int, default=39, help="where the wide descent begins")
    parser.add_argument("--out", type=Path, default=FOLDER / FLOAT32)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    words = ["--lowest", str(asked.lowest), "--turn", str(asked.turn)]
    command = shlex.join(["python", "-m", "benchmarks.float32_frontier", *words])
    tile = TileFormat(4, 4, 4)
    found = search(tile, asked.lowest, asked.turn, encoders(tile, 49), command)
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"{publish(found, asked.out)} of {len(found)} ranks are new or better")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
