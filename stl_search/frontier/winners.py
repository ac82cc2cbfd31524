"""The winners of a search: the best algorithm of every rank, chosen, written and read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import load_encoders, save_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_algebra.published import FOLDER, OWN
from stl_search.trials.trial import EXACT_PREFERENCE


def choose_winners(found: Iterable[tuple[int, float, BilinearAlgorithm]], dtype: str) -> dict[int, Judged]:
    """The best algorithm of every rank that no smaller rank beats, judged, by rank.

    An exact algorithm is taken before an approximate one whose total is less than
    `EXACT_PREFERENCE` times smaller; equal totals go to the earlier trial. Only what can still win is proven,
    each algorithm once.
    """
    by_rank: dict[int, list[tuple[float, int, BilinearAlgorithm]]] = {}
    for index, value, algorithm in found:
        by_rank.setdefault(algorithm.rank, []).append((value, index, algorithm))
    winners: dict[int, Judged] = {}
    least = float("inf")
    for rank in sorted(by_rank):
        best = _best(by_rank[rank])
        value = best.scores.total(dtype)
        if value < least:
            least = value
            winners[rank] = best
    return winners


def _best(candidates: list[tuple[float, int, BilinearAlgorithm]]) -> Judged:
    """The candidate of least total, that of an exact one divided by `EXACT_PREFERENCE`."""
    bar = EXACT_PREFERENCE * min(value for value, _, _ in candidates)
    distinct = {a.digest: a for value, _, a in candidates if value <= bar}
    judged = {digest: Judged.of(algorithm) for digest, algorithm in distinct.items()}

    def weight(candidate: tuple[float, int, BilinearAlgorithm]) -> tuple[float, int]:
        value, index, algorithm = candidate
        return (value / EXACT_PREFERENCE if judged[algorithm.digest].exact else value), index

    return judged[min((c for c in candidates if c[0] <= bar), key=weight)[2].digest]


def encoders_path(folder: Path, tile: TileFormat, rank: int) -> Path:
    """Where the winner of a rank is kept."""
    return folder / "encoders" / f"{tile.slug}-r{rank}.safetensors"


def write_winners(folder: Path, winners: dict[int, Judged]) -> list[Path]:
    """Write one encoders file per winner; files of ranks that are no winners any more are removed."""
    paths = [
        save_encoders(encoders_path(folder, winner.algorithm.tile, rank), winner)
        for rank, winner in sorted(winners.items())
    ]
    for stale in set((folder / "encoders").glob("*.safetensors")) - set(paths):
        stale.unlink()
    return paths


def read_winners(folder: Path) -> dict[int, Judged]:
    """The winners of a run folder, by rank; what their files certify is not proven again.

    Raises:
        InvalidInput: there are none, or a file is damaged.
    """
    files = sorted((folder / "encoders").glob("*.safetensors"))
    if not files:
        raise InvalidInput(
            "run folder", expected="at least one encoders file", got=f"none in {folder / 'encoders'}"
        )
    winners = [load_encoders(f).judged() for f in files]
    return {w.algorithm.rank: w for w in sorted(winners, key=lambda w: w.algorithm.rank)}


def is_better(new: Judged, old: Judged, dtype: str) -> bool:
    """Whether an entry of a frontier is to be replaced by another of its format, rank and tiles.

    An exact one is replaced by a better exact one only, any other by one of a smaller total at the dtype, or
    by an exact one that is nearly as good.
    """
    if old.exact and not new.exact:
        return False
    preference = EXACT_PREFERENCE if new.exact and not old.exact else 1
    return new.scores.total(dtype) < old.scores.total(dtype) * preference


def keep_better(found: Iterable[Path], into: Path, dtype: str) -> list[Path]:
    """Copy encoders files into a folder where they are better than what it has of their format and rank.

    An entry is never lost, see `is_better`.

    Args:
        found: encoders files.
        into: the folder, one file a format and rank, such as that of the published frontier.
        dtype: of the totals.

    Returns:
        The files that were written, in the order of `found`.

    Raises:
        InvalidInput: a file is no encoders file, or the folder is the package's frontier of another dtype.
        Unavailable: the folder cannot be written.
    """
    _check_home(into, dtype)
    written = []
    for path in found:
        new = load_encoders(path).judged()
        place = into / f"{new.algorithm.tile.slug}-r{new.algorithm.rank}.safetensors"
        if place.exists():
            old = load_encoders(place).judged()
            if old.scores.profile != new.scores.profile:
                raise InvalidInput(
                    "into", expected=f"a folder for the same tiles as {path}", got=f"{place} for others"
                )
            if not is_better(new, old, dtype):
                continue
        written.append(write_atomically(place, path.read_bytes()))
    return written


def _check_home(into: Path, dtype: str) -> None:
    """What is best at float16 would replace what bfloat16 bears."""
    homes = {FOLDER.resolve(): "bf16", **{(FOLDER / own).resolve(): own for own in OWN}}
    home = homes.get(into.resolve(), dtype)
    if home != dtype:
        raise InvalidInput("into", expected=f"a folder for {dtype}", got=f"{into}, the frontier of {home}")
