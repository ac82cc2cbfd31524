"""The winners of a search: the best algorithm of every rank, chosen, written and read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.algorithms.scores import closed_form_scores, total
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput
from stl_search.trials.trial import EXACT_PREFERENCE


def choose_winners(
    found: Iterable[tuple[int, float, BilinearAlgorithm]], dtype: str
) -> dict[int, BilinearAlgorithm]:
    """The best algorithm of every rank that no smaller rank beats, by rank.

    An exact algorithm is taken before an approximate one whose total is less than
    `EXACT_PREFERENCE` times smaller; equal totals go to the earlier trial.
    """
    best: dict[int, tuple[float, int, BilinearAlgorithm]] = {}
    for index, value, algorithm in found:
        weight = value if not verify(algorithm).exact else value / EXACT_PREFERENCE
        kept = best.get(algorithm.rank)
        if kept is None or (weight, index) < kept[:2]:
            best[algorithm.rank] = (weight, index, algorithm)
    winners: dict[int, BilinearAlgorithm] = {}
    least = float("inf")
    for rank in sorted(best):
        value = total(best[rank][2], dtype)
        if value < least:
            least = value
            winners[rank] = best[rank][2]
    return winners


def encoders_path(folder: Path, tile: TileFormat, rank: int) -> Path:
    """Where the winner of a rank is kept."""
    return folder / "encoders" / f"{tile.slug}-r{rank}.safetensors"


def write_winners(folder: Path, winners: dict[int, BilinearAlgorithm]) -> list[Path]:
    """Write one encoders file per winner; files of ranks that are no winners any more are removed."""
    paths = [
        save_encoders(encoders_path(folder, a.tile, rank), a, closed_form_scores(a))
        for rank, a in sorted(winners.items())
    ]
    for stale in set((folder / "encoders").glob("*.safetensors")) - set(paths):
        stale.unlink()
    return paths


def read_winners(folder: Path) -> dict[int, BilinearAlgorithm]:
    """The winners of a run folder, by rank.

    Raises:
        InvalidInput: there are none, or a file is damaged.
    """
    files = sorted((folder / "encoders").glob("*.safetensors"))
    if not files:
        raise InvalidInput(
            "run folder", expected="at least one encoders file", got=f"none in {folder / 'encoders'}"
        )
    algorithms = [load_encoders(f).algorithm for f in files]
    return {a.rank: a for a in sorted(algorithms, key=lambda a: a.rank)}
