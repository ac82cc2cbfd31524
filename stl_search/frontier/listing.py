"""What folders of encoders files hold, best first, and the part of it that somebody asks for.

What does not belong here: choosing winners and keeping the better of two files (`winners`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput


@dataclass(frozen=True)
class Wanted:
    """Which encoders are listed; everything by default.

    Attributes:
        tiles: formats.
        families: that made them.
        groups: canonical names of groups that they were made from, any of them.
        ratio: at least so many times fewer multiplications.
        total: at most this total.
        exact: only what is proven exact.
    """

    tiles: Sequence[TileFormat] = ()
    families: Sequence[str] = ()
    groups: Sequence[str] = ()
    ratio: float = 0.0
    total: float = float("inf")
    exact: bool = False

    def takes(self, judged: Judged, dtype: str) -> bool:
        """Whether the encoders are among them."""
        algorithm = judged.algorithm
        origin = algorithm.provenance
        return (
            (not self.tiles or algorithm.tile in self.tiles)
            and (not self.families or origin.family in self.families)
            and (not self.groups or not set(self.groups).isdisjoint(origin.groups))
            and algorithm.ratio >= self.ratio
            and judged.scores.total(dtype) <= self.total
            and (judged.exact or not self.exact)
        )


def listed(folders: Iterable[Path], dtype: str, wanted: Wanted = Wanted()) -> list[dict[str, Any]]:
    """The best of every format, kind of tiles and rank in these folders or files, in that order.

    Returns:
        For each: tile, rank, ratio, name, family, groups, tiles, total, its scores, exact, the command that
        made it, file.

    Raises:
        InvalidInput: a folder is not there, or a file is damaged.
    """
    best: dict[tuple[str, str, int], dict[str, Any]] = {}
    for root in folders:
        if not root.exists():
            raise InvalidInput("folder", expected="an existing folder", got=str(root))
        for path in sorted(root.rglob("*.safetensors") if root.is_dir() else [root]):
            judged = load_encoders(path).judged()
            if not wanted.takes(judged, dtype):
                continue
            row = _row(judged, dtype, path)
            key = (row["tile"], row["tiles"], row["rank"])
            if key not in best or row["total"] < best[key]["total"]:
                best[key] = row
    return [best[key] for key in sorted(best)]


def _row(judged: Judged, dtype: str, path: Path) -> dict[str, Any]:
    algorithm = judged.algorithm
    return {
        "tile": algorithm.tile.slug,
        "rank": algorithm.rank,
        "ratio": algorithm.ratio,
        "name": algorithm.name,
        "family": algorithm.provenance.family,
        "groups": list(algorithm.provenance.groups),
        "tiles": judged.scores.tiles,
        "total": judged.scores.total(dtype),
        **judged.scores.as_json(),
        "exact": judged.exact,
        "command": algorithm.provenance.command,
        "file": str(path),
    }
