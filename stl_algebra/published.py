"""The published frontier: the best encoders that we know of a format and rank, in the installed package.

Encoders files in data/published, each with the command that made it; `encoders` reads one. What does not
belong here: searching and publishing (`stl_search.frontier`), exact algorithms of all formats
(`exact.catalogue`). Those in data/published/sorted are for layers whose features are sorted
(`algorithms.profile`), those in data/published/fp16 and fp32 for that dtype and finer ones: they amplify
rounding errors so much that coarser dtypes lose what they gain.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from pathlib import Path

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.compose import permute_format
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.encoders_file import EncodersFile, load_encoders
from stl_algebra.algorithms.judged import Judged
from stl_algebra.algorithms.profile import SORTED
from stl_algebra.algorithms.tile import TileFormat, as_tile
from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import NAMED, exact_algorithm, is_composed, rank_of_exact
from stl_algebra.factor_files import FactorFile, read_factors
from stl_algebra.precision import PRECISIONS, Precision, precision

FOLDER = Path(__file__).parent / "data" / "published"
#: NMSE of an exact algorithm, at most.
_ROUNDING = 1e-9
#: Entries of a tile up to which a companion is found in a moment.
_LARGEST_COMPANION = 16
#: Dtypes that have a frontier of their own beside that of all, coarse to fine. TF32 rounds as float16 does.
OWN = ("fp16", "fp32")
_NAME = re.compile(rf"(\d+x\d+x\d+)-r(\d+)(?:-({'|'.join((SORTED, *OWN))}))?")
_FINENESS = list(PRECISIONS)


@lru_cache(maxsize=8)
def published(profile: str | None = None, dtype: str | None = None) -> dict[tuple[TileFormat, int], Path]:
    """(format, rank) -> encoders file, sorted; arguments as of `encoders`.

    Raises:
        InvalidInput: there is no such profile, no such dtype, or none for both.
    """
    if profile not in (None, SORTED):
        raise InvalidInput("profile", expected=f"None or {SORTED!r}", got=repr(profile))
    if dtype not in (None, *OWN) or (dtype and profile):
        expected = "None" if profile else f"None, {' or '.join(map(repr, OWN))}"
        raise InvalidInput("dtype", expected=expected, got=repr(dtype))
    found = {}
    for path in (FOLDER / (profile or dtype or "")).glob("*.safetensors"):
        match = _NAME.fullmatch(path.stem)
        assert match is not None, path
        found[TileFormat.parse(match[1]), int(match[2])] = path
    return dict(sorted(found.items()))


def encoders_file(
    tile: TileFormat | str, rank: int, profile: str | None = None, dtype: str | None = None
) -> EncodersFile:
    """The published file of a format and rank, with its certificate and scores; arguments as of `encoders`.

    Raises:
        InvalidInput: there is none; lists the ranks of the format, or the formats.
    """
    tile, known = as_tile(tile), published(profile, dtype)
    if (tile, rank) not in known:
        ranks = [r for t, r in known if t == tile]
        if not ranks:
            formats = ", ".join(dict.fromkeys(t.slug for t, _ in known))
            raise InvalidInput("tile", expected=f"a format with published encoders: {formats}", got=tile.slug)
        raise InvalidInput(
            "rank", expected=f"a published rank of {tile.slug}: {', '.join(map(str, ranks))}", got=rank
        )
    return load_encoders(known[tile, rank])


@lru_cache(maxsize=256)
def encoders(
    tile: TileFormat | str, rank: int, profile: str | None = None, dtype: str | None = None
) -> BilinearAlgorithm:
    """The best algorithm that the package has of a format and rank: published, exact, or a product of two.

    A published format may be asked for with its sides permuted; formats and ranks that are not published are
    made of two that are, where that gives the rank (`two_levels`).

    Args:
        tile: the format, or its spelling: "4x4x4", "4".
        rank: products.
        profile: None for white tiles, "sorted" for those fitted to the shipped profile of sorted features,
            which `STLLinear.from_linear(..., calibration=...)` lays out.
        dtype: None for those that serve every dtype, "fp16" or "fp32" for those that only that one and finer
            ones should run.

    Raises:
        InvalidInput: there is none; lists what there is.
    """
    tile = as_tile(tile)
    if profile is None and dtype is None and (tile, rank) not in published():
        if rank == rank_of_exact(tile):
            return exact_algorithm(tile)
        for own, published_rank in published():
            if published_rank == rank and own.ascending == tile.ascending:
                return permute_format(encoders_file(own, rank).algorithm, tile)
        products = {p.rank: p for p in two_levels(tile)}
        if rank in products:
            return products[rank].flat
    return encoders_file(tile, rank, profile, dtype).algorithm


@lru_cache(maxsize=64)
def two_levels(tile: TileFormat | str, dtype: str = "bf16") -> tuple[TwoLevel, ...]:
    """The best two-level algorithm of every rank that two of the package's algorithms give, by rank.

    The parts are published encoders or exact algorithms. Only products that beat all of smaller rank
    are kept, up to an exact one.

    Args:
        tile: the large format.
        dtype: whose rounding counts: best is least NMSE + c A.
    """
    tile = as_tile(tile)
    best: dict[int, TwoLevel] = {}
    sides = [[d for d in range(1, side + 1) if side % d == 0] for side in (tile.n, tile.k, tile.m)]
    for n, k, m in itertools.product(*sides):
        outer = TileFormat(n, k, m)
        inner = TileFormat(tile.n // n, tile.k // k, tile.m // m)
        if 1 in (outer.products, inner.products):
            continue
        for one, two in itertools.product(of_format(outer), of_format(inner)):
            made = TwoLevel(one, two)
            old = best.get(made.rank)
            if old is None or made.scores.total(dtype) < old.scores.total(dtype):
                best[made.rank] = made
    kept: list[TwoLevel] = []
    for rank in sorted(best):
        if not kept or best[rank].scores.total(dtype) < kept[-1].scores.total(dtype):
            kept.append(best[rank])
        if kept[-1].scores.nmse < _ROUNDING:
            # More products would only amplify rounding less.
            break
    return tuple(kept)


@lru_cache(maxsize=256)
def of_format(tile: TileFormat) -> tuple[BilinearAlgorithm, ...]:
    """What the package has of a format, by rank: published encoders, sides permuted too, and an exact
    algorithm where that is not made of smaller ones itself.
    """
    ranks = [rank for t, rank in published() if t.ascending == tile.ascending]
    # What is composed itself has its parts in other pairs.
    exact = () if is_composed(tile) else (rank_of_exact(tile),)
    return tuple(_part(tile, rank) for rank in sorted({*ranks, *exact}))


def _part(tile: TileFormat, rank: int) -> BilinearAlgorithm:
    """An algorithm as a two-level one has it: amplifications multiply, so exact parts are companions."""
    algorithm = encoders(tile, rank)
    small = max(tile.x_size, tile.w_size, tile.y_size) <= _LARGEST_COMPANION
    return companion(algorithm) if small and rank == rank_of_exact(tile) < tile.products else algorithm


def read_encoders(source: str | Path) -> FactorFile:
    """The algorithm of a file that `factor_files` reads, or of a published name such as "4x4x4-r32",
    "4x4x4-r32-sorted", "4x4x4-r47-fp16" or, outer and inner, "2x2x2-r7*4x4x4-r36", or one of the literature
    by its author: "strassen", "winograd" or "laderman".

    A file of that name comes first.

    Raises:
        InvalidInput: there is no such file or published algorithm, or the file is none.
    """
    parts = str(source).split("*")
    if len(parts) == 2 and all(map(_NAME.fullmatch, parts)) and not Path(source).exists():
        return FactorFile(Judged.of(two_level(str(source)).flat), "two published with the package")
    if str(source) in NAMED and not Path(source).exists():
        return FactorFile(Judged.of(NAMED[str(source)]()), "written out in the package")
    match = _NAME.fullmatch(str(source))
    if match is None or Path(source).exists():
        return read_factors(source)
    return FactorFile(Judged.of(_named(str(source))), "published with the package")


def _named(name: str) -> BilinearAlgorithm:
    match = _NAME.fullmatch(name)
    assert match is not None, name
    if match[3] in OWN:
        return encoders(match[1], int(match[2]), dtype=match[3])
    return encoders(match[1], int(match[2]), match[3])


def own_dtypes(dtype: str) -> tuple[str, ...]:
    """The dtypes whose own frontiers also serve this one, or a finer one: "fp16" for TF32, both for float32.

    Raises:
        InvalidInput: there is no such dtype.
    """
    fine = _FINENESS.index(precision(dtype).name)
    return tuple(own for own in OWN if _FINENESS.index(own) <= fine)


def coarsest(name: str | Path) -> Precision | None:
    """The coarsest precision that should run published encoders of this name; None where any may."""
    match = _NAME.fullmatch(str(name))
    return PRECISIONS[match[3]] if match is not None and match[3] in OWN else None


def two_level(name: str) -> TwoLevel:
    """A two-level algorithm by its name, outer and inner: "2x2x2-r7*4x4x4-r36".

    Raises:
        InvalidInput: the name is not of that form, there is no such published algorithm, or one is for sorted
            features or not for every dtype.
    """
    matches = [_NAME.fullmatch(part) for part in name.split("*")]
    if len(matches) != 2 or None in matches:
        raise InvalidInput("name", expected='two published names, as "2x2x2-r7*4x4x4-r36"', got=repr(name))
    if any(match is not None and match[3] for match in matches):
        raise InvalidInput("name", expected="algorithms for white tiles and every dtype", got=repr(name))
    outer, inner = (_part(as_tile(m[1]), int(m[2])) for m in matches if m is not None)
    return TwoLevel(outer, inner)
