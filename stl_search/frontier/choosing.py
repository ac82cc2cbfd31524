"""Which format and rank for a ratio: the package's algorithms of at least that ratio, one a format and level.

What does not belong here: the winners of run folders (`winners`), predicting times (`stl_kernels.speed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import Scores, closed_form_scores
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.algorithms.two_level import TwoLevel
from stl_algebra.errors import InvalidInput
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.published import encoders, published, two_levels

#: Formats that two published algorithms are put together for.
LARGE = tuple(TileFormat.parse(t) for t in ("4x4x6", "6x6x6", "8x8x8", "9x9x9", "12x12x12", "16x16x16"))
_LARGEST_SIDE = 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """An algorithm that fits a ratio.

    Attributes:
        algorithm: one, or two levels.
        name: as the command line and `STLLinear` take it.
        scores: on white tiles.
    """

    algorithm: BilinearAlgorithm | TwoLevel
    name: str
    scores: Scores

    @property
    def forms(self) -> tuple[BilinearAlgorithm | TwoLevel, ...]:
        """How it can be run: two levels also written out as one algorithm."""
        return (
            (self.algorithm, self.algorithm.flat)
            if isinstance(self.algorithm, TwoLevel)
            else (self.algorithm,)
        )

    @property
    def weights(self) -> float:
        """Numbers of the encoded weights over those of the dense weight, r / (km)."""
        return self.algorithm.rank / self.algorithm.tile.w_size

    @property
    def activations(self) -> float:
        """Numbers of the encoded activations over those of X, r / (nk)."""
        return self.algorithm.rank / self.algorithm.tile.x_size


def candidates(ratio: float, dtype: str = "bf16") -> list[Candidate]:
    """The best algorithm of every format whose ratio nkm / r is at least `ratio`, least total first.

    Those of a format are: published encoders and the exact algorithm, and products of two of these. A product
    that is no better than a published one is told of too: it encodes in two steps, with fewer operations.

    Args:
        ratio: of multiplications, dense over core.
        dtype: whose rounding counts in the total NMSE + c A.

    Raises:
        InvalidInput: the ratio is below 1, or no algorithm reaches it.
    """
    if not ratio >= 1:
        raise InvalidInput("ratio", expected="a number of at least 1", got=ratio)
    best: dict[tuple[TileFormat, bool], Candidate] = {}
    for found in _all(ratio, dtype):
        key = found.algorithm.tile, isinstance(found.algorithm, TwoLevel)
        if key not in best or found.scores.total(dtype) < best[key].scores.total(dtype):
            best[key] = found
    if not best:
        raise InvalidInput("ratio", expected="a ratio that some algorithm of the package reaches", got=ratio)
    return sorted(best.values(), key=lambda c: c.scores.total(dtype))


def _all(ratio: float, dtype: str) -> Iterator[Candidate]:
    ranks: dict[TileFormat, set[int]] = {}
    for tile, rank in published():
        ranks.setdefault(tile, set()).add(rank)
    for sides in combinations_with_replacement(range(2, _LARGEST_SIDE + 1), 3):
        tile = TileFormat(*sides)
        ranks.setdefault(tile, set()).add(rank_of_exact(tile))
    for tile, known in ranks.items():
        fitting = [rank for rank in known if tile.products / rank >= ratio * (1 - 1e-9)]
        if fitting:
            algorithm = encoders(tile, max(fitting))
            name = f"{tile.slug}-r{algorithm.rank}"
            yield Candidate(algorithm, name, closed_form_scores(algorithm))
    for tile in LARGE:
        made = [p for p in two_levels(tile, dtype) if p.ratio >= ratio * (1 - 1e-9)]
        if made:
            # Of two levels more products are always better here: only improvements are kept.
            yield Candidate(made[-1], made[-1].name, made[-1].scores)
