"""What the package has of a format to begin a search with, by rank.

What does not belong here: what a run has found (`winners`), searching from it (`trials`).
"""

from __future__ import annotations

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.dyadic import companion
from stl_algebra.algorithms.scores import closed_form_scores, rounding_constant
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm
from stl_algebra.exact.compositions import Composition, splits
from stl_algebra.published import encoders_file, of_format, own_dtypes, published, two_levels
from stl_search.trials.als import Target, from_batch, to_batch
from stl_search.trials.polish import brought_down


def known_algorithms(tile: TileFormat, dtype: str = "bf16") -> dict[int, list[BilinearAlgorithm]]:
    """By rank: the exact algorithm and its companion, the published encoders for white tiles, and the best
    that two algorithms of smaller formats give as a product and as a direct sum.

    Args:
        tile: the format.
        dtype: whose rounding counts; encoders of its own frontier, or of a coarser one, are added.
    """
    exact = exact_algorithm(tile)
    known = {exact.rank: [exact, companion(exact)]}
    for kind in (None, *own_dtypes(dtype)):
        for own, rank in published(dtype=kind):
            if own == tile:
                known.setdefault(rank, []).append(encoders_file(tile, rank, dtype=kind).algorithm)
    composed = [(made.rank, made.flat) for made in two_levels(tile, dtype)]
    for rank, algorithm in (*composed, *_direct_sums(tile, dtype).items()):
        if rank < exact.rank:
            known.setdefault(rank, []).append(algorithm)
    return known


def _direct_sums(tile: TileFormat, dtype: str) -> dict[int, BilinearAlgorithm]:
    """The direct sum of least total for every rank that two of the package's algorithms add up to."""
    best: dict[int, tuple[float, Composition, BilinearAlgorithm, BilinearAlgorithm]] = {}
    for split in splits(tile):
        first, second = ([(a, _error(a, dtype)) for a in of_format(part)] for part in split.parts)
        for one, error in first:
            for two, other in second:
                # Errors and amplifications of the blocks add up.
                found = (error + other) / tile.products, split, one, two
                rank = one.rank + two.rank
                if rank not in best or found[0] < best[rank][0]:
                    best[rank] = found
    return {rank: split.apply(one, two) for rank, (_, split, one, two) in best.items()}


def _error(algorithm: BilinearAlgorithm, dtype: str) -> float:
    """The total at the dtype, not relative: times the energy of the tensor."""
    return closed_form_scores(algorithm).total(dtype) * algorithm.tile.products


def brought_to(algorithm: BilinearAlgorithm, dtype: str) -> BilinearAlgorithm:
    """An algorithm that was made for another dtype, with as much amplification as this one bears."""
    target = Target.of(algorithm.tile, rounding_constant(dtype))
    return from_batch(brought_down(target, to_batch([algorithm])), algorithm, ())[0]
