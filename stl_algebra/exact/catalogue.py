"""Known exact algorithms, written out, and the cheapest way to compose them for a format.

Facts with their sources; every one is verified in exact arithmetic by the tests. Algorithms that our own
search found are the encoders files in data/exact, made by `stl-search find`; the best ranks
known to the literature are in data/best_known_ranks.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import permute_format
from stl_algebra.algorithms.encoders_file import load_encoders
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tensor import definition
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.exact.compositions import Composition, products, splits


def strassen() -> BilinearAlgorithm:
    """Strassen's 7 products for <2,2,2> (V. Strassen, Gaussian elimination is not optimal, 1969)."""
    # Columns: entries 11, 12, 21, 22.
    x = [[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 0, 0], [-1, 0, 1, 0], [0, 1, 0, -1]]
    w = [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]]
    d = [[1, 0, 0, 1, -1, 0, 1], [0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 0, 0], [1, -1, 1, 0, 0, 1, 0]]
    return BilinearAlgorithm("2", x, w, d, "strassen", Provenance(family="known"))


def winograd() -> BilinearAlgorithm:
    """Winograd's variant of Strassen's algorithm: 7 products, 15 additions when sums are shared (1971)."""
    x = [[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, -1, -1], [0, 0, 0, 1], [0, 0, 1, 1], [-1, 0, 1, 1], [1, 0, -1, 0]]
    w = [
        [1, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
        [1, -1, -1, 1],
        [-1, 1, 0, 0],
        [1, -1, 0, 1],
        [0, -1, 0, 1],
    ]
    d = [[1, 1, 0, 0, 0, 0, 0], [1, 0, 1, 0, 1, 1, 0], [1, 0, 0, -1, 0, 1, 1], [1, 0, 0, 0, 1, 1, 1]]
    return BilinearAlgorithm("2", x, w, d, "winograd", Provenance(family="known"))


#: Laderman's products: entries of X, of W, and those of Y that take the product; rows, columns from 1.
_LADERMAN = (
    "11 12 13 -21 -22 -32 -33, 22, 12",
    "11 -21, -12 22, 21 22",
    "22, -11 12 21 -22 -23 -31 33, 21",
    "-11 21 22, 11 -12 22, 12 21 22",
    "21 22, -11 12, 12 22",
    "11, 11, 11 12 13 21 22 31 33",
    "-11 31 32, 11 -13 23, 13 31 33",
    "-11 31, 13 -23, 31 33",
    "31 32, -11 13, 13 33",
    "11 12 13 -22 -23 -31 -32, 23, 13",
    "32, -11 13 21 -22 -23 -31 32, 31",
    "-13 32 33, 22 31 -32, 12 31 32",
    "13 -33, 22 -32, 31 32",
    "13, 31, 11 12 13 21 23 31 32",
    "32 33, -31 32, 12 32",
    "-13 22 23, 23 31 -33, 13 21 23",
    "13 -23, 23 -33, 21 23",
    "22 23, -31 33, 13 23",
    "12, 21, 11",
    "23, 32, 22",
    "21, 13, 23",
    "31, 12, 32",
    "33, 33, 33",
)


def laderman() -> BilinearAlgorithm:
    """Laderman's 23 products for <3,3,3> (A noncommutative algorithm for 3 x 3 matrices, 1976)."""
    factors = np.zeros((3, len(_LADERMAN), 9))
    for rho, line in enumerate(_LADERMAN):
        for factor, entries in zip(factors, line.split(","), strict=True):
            for entry in map(int, entries.split()):
                row, column = divmod(abs(entry), 10)
                factor[rho, 3 * row + column - 4] = np.sign(entry)
    x, w, d = factors
    return BilinearAlgorithm("3", x, w, d.T, "laderman", Provenance(family="known"))


#: Constructors of the algorithms written out above, by name.
NAMED = {"strassen": strassen, "winograd": winograd, "laderman": laderman}

#: Largest side of the formats in `table`.
LARGEST_SIDE = 6

_DATA = Path(__file__).parents[1] / "data"

Plan = tuple[int, str, tuple[TileFormat, ...]]


@dataclass(frozen=True)
class TableRow:
    """One format of `table`.

    Attributes:
        tile: the format, sides in ascending order; the rank is the same for every order.
        rank: of `exact_algorithm(tile)`.
        origin: "seed", "definition", "kronecker" or "sum-n", "sum-k", "sum-m".
        parts: the formats that it is composed of.
        best_known: over the rationals, from the literature.
        best_known_integers: over the integers, where that is another rank.
    """

    tile: TileFormat
    rank: int
    origin: str
    parts: tuple[TileFormat, ...]
    best_known: int
    best_known_integers: int

    @property
    def gap(self) -> int:
        """Products above the best known algorithm over the rationals."""
        return self.rank - self.best_known


@lru_cache(maxsize=1)
def _seed_files() -> dict[tuple[int, ...], tuple[int, Path]]:
    """Sides in ascending order -> (rank, file) of the searched algorithms that come with the package."""
    found: dict[tuple[int, ...], tuple[int, Path]] = {}
    for path in sorted((_DATA / "exact").glob("*.safetensors")):
        slug, _, rank = path.stem.rpartition("-r")
        tile = TileFormat.parse(slug)
        sides = tile.ascending
        found[sides] = min(found.get(sides, (int(rank), path)), (int(rank), path))
    return found


def _seed_rank(tile: TileFormat) -> int | None:
    sides = tile.ascending
    if sides == (2, 2, 2):
        return 7
    return _seed_files()[sides][0] if sides in _seed_files() else None


def _seed(tile: TileFormat) -> BilinearAlgorithm:
    sides = tile.ascending
    if sides == (2, 2, 2):
        return strassen()
    return permute_format(load_encoders(_seed_files()[sides][1]).algorithm, tile)


@lru_cache(maxsize=4096)
def _plan(tile: TileFormat) -> Plan:
    """(rank, how, parts) of the cheapest composition of the seeds; parts are smaller formats."""
    best: Plan = (tile.products, "definition", ())
    seed_rank = _seed_rank(tile)
    if seed_rank is not None and seed_rank < best[0]:
        best = (seed_rank, "seed", ())
    for way in (*splits(tile), *products(tile)):
        rank = way.rank(*(_plan(part)[0] for part in way.parts))
        if rank < best[0]:
            best = (rank, way.how, way.parts)
    return best


@lru_cache(maxsize=256)
def exact_algorithm(tile: TileFormat | str) -> BilinearAlgorithm:
    """The exact algorithm of least rank that the seeds give by permutation, sums and Kronecker products.

    A dynamic programme over formats; its rank is `rank_of_exact(tile)`. Not claimed to be the best known.

    Args:
        tile: the format, or its spelling: "4x4x4", "4".
    """
    tile = as_tile(tile)
    _, how, parts = _plan(tile)
    if how == "definition":
        return definition(tile)
    if how == "seed":
        return _seed(tile)
    return Composition(how, (parts[0], parts[1])).apply(*(exact_algorithm(part) for part in parts))


def rank_of_exact(tile: TileFormat | str) -> int:
    """Rank of `exact_algorithm(tile)`, without building it."""
    return _plan(as_tile(tile))[0]


def is_composed(tile: TileFormat) -> bool:
    """Whether `exact_algorithm(tile)` is put together from those of smaller formats."""
    return _plan(tile)[1] not in ("seed", "definition")


def best_known_ranks() -> dict[str, Any]:
    """What data/best_known_ranks.json holds: "source", "date" and "ranks", slug -> {"Q": rank, "Z": rank}."""
    data: dict[str, Any] = json.loads((_DATA / "best_known_ranks.json").read_text(encoding="utf-8"))
    return data


def table() -> list[TableRow]:
    """Every format with sides 2 to `LARGEST_SIDE` up to permutation, our rank beside the best known."""
    known = best_known_ranks()["ranks"]
    rows = []
    for sides in combinations_with_replacement(range(2, LARGEST_SIDE + 1), 3):
        tile = TileFormat(*sides)
        rank, origin, parts = _plan(tile)
        best = known[tile.slug]
        rows.append(TableRow(tile, rank, origin, parts, best["Q"], best.get("Z", best["Q"])))
    return rows
