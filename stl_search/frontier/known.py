"""What the package has of a format to begin a search with, by rank.

What does not belong here: what a run has found (`winners`), searching from it (`trials`).
"""

from __future__ import annotations

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.published import encoders_file, published


def known_algorithms(tile: TileFormat, dtype: str | None = None) -> dict[int, list[BilinearAlgorithm]]:
    """The exact algorithm and its companion, and the published encoders for white tiles.

    Args:
        tile: the format.
        dtype: "fp32" for those that only float32 should run beside the others, else None.
    """
    exact = exact_algorithm(tile)
    known = {exact.rank: [exact, companion(exact)]}
    for kind in dict.fromkeys((None, dtype)):
        for own, rank in published(dtype=kind):
            if own == tile:
                known.setdefault(rank, []).append(encoders_file(tile, rank, dtype=kind).algorithm)
    return known
