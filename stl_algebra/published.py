"""The published frontier: the best encoders that we know of a format and rank, in the installed package.

Encoders files in data/published, each with the command that made it; `encoders` reads one. What does not
belong here: searching and publishing (`stl_search.frontier`), exact algorithms of all formats
(`exact.catalogue`). Those in data/published/sorted are for layers whose features are sorted
(`algorithms.profile`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.encoders_file import EncodersFile, load_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import SORTED
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact
from stl_algebra.factor_files import FactorFile, read_factors

FOLDER = Path(__file__).parent / "data" / "published"
_NAME = re.compile(r"(\d+x\d+x\d+)-r(\d+)(-sorted)?")
#: Profile -> folder below `FOLDER`; "" is white.
_PROFILES = {"": ".", SORTED: SORTED}


@lru_cache(maxsize=4)
def published(profile: str | None = None) -> dict[tuple[TileFormat, int], Path]:
    """(format, rank) -> encoders file, sorted: for white tiles, or for the profile "sorted".

    Raises:
        InvalidInput: there is no such profile.
    """
    if (profile or "") not in _PROFILES:
        raise InvalidInput("profile", expected=f"None or {SORTED!r}", got=repr(profile))
    found = {}
    for path in (FOLDER / _PROFILES[profile or ""]).glob("*.safetensors"):
        match = _NAME.fullmatch(path.stem)
        assert match is not None, path
        found[TileFormat.parse(match[1]), int(match[2])] = path
    return dict(sorted(found.items()))


def encoders_file(tile: TileFormat | str, rank: int, profile: str | None = None) -> EncodersFile:
    """The published file of a format and rank, with its certificate and scores; arguments as of `encoders`.

    Raises:
        InvalidInput: there is none; lists the ranks of the format, or the formats.
    """
    tile, known = as_tile(tile), published(profile)
    if (tile, rank) not in known:
        ranks = [r for t, r in known if t == tile]
        if not ranks:
            formats = ", ".join(sorted({t.slug for t, _ in known}))
            raise InvalidInput("tile", expected=f"a format with published encoders: {formats}", got=tile.slug)
        raise InvalidInput(
            "rank", expected=f"a published rank of {tile.slug}: {', '.join(map(str, ranks))}", got=rank
        )
    return load_encoders(known[tile, rank])


@lru_cache(maxsize=256)
def encoders(tile: TileFormat | str, rank: int, profile: str | None = None) -> BilinearAlgorithm:
    """The best algorithm that the package has of a format and rank; at the exact rank, the exact one.

    Args:
        tile: the format, or its spelling: "4x4x4", "4".
        rank: products.
        profile: None for white tiles, "sorted" for those fitted to the shipped profile of sorted features,
            which `STLLinear.from_linear(..., calibration=...)` lays out.

    Raises:
        InvalidInput: there is none; lists what there is.
    """
    tile = as_tile(tile)
    if profile is None and (tile, rank) not in published() and rank == rank_of_exact(tile):
        return exact_algorithm(tile)
    return encoders_file(tile, rank, profile).algorithm


def read_encoders(source: str | Path) -> FactorFile:
    """The algorithm of a file that `factor_files` reads, or of a published name such as "4x4x4-r32" or
    "4x4x4-r32-sorted".

    A file of that name comes first.

    Raises:
        InvalidInput: there is no such file or published algorithm, or the file is none.
    """
    match = _NAME.fullmatch(str(source))
    if match is None or Path(source).exists():
        return read_factors(source)
    algorithm = encoders(match[1], int(match[2]), SORTED if match[3] else None)
    return FactorFile(Judged.of(algorithm), "published with the package")
