"""Evaluating algorithms and baselines on matrices: the table behind the report and `stl-search evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import rounding_constant
from stl_algebra.progress import Progress
from stl_search.judging.baselines import BASELINES, baseline_error, exact_tiles_amplification
from stl_search.judging.sampled import matrix_scores
from stl_search.matrices.pair import MatrixPair


@dataclass(frozen=True)
class Row:
    """One error: of one method at one ratio on one pair of matrices.

    Attributes:
        method: name of the algorithm or the baseline. kind: "encoders" or "baseline".
        tile, rank: of the algorithm; "" and 0 for baselines.
        ratio: multiplication ratio.
        matrices: name of the pair.
        nmse, spectral: sampled errors.
        coloured_nmse: closed form in the colour of the tiles; 0 for baselines.
        amplification: in that colour; 0 for baselines that round like any dense product, that of each of
            their products for those on exact tiles.
        total: sampled nmse plus the rounding term at the dtype.
    """

    method: str
    kind: str
    tile: str
    rank: int
    ratio: float
    matrices: str
    nmse: float
    spectral: float
    coloured_nmse: float
    amplification: float
    total: float

    def as_dict(self) -> dict[str, str | float | int]:
        """Plain values."""
        return asdict(self)


def evaluate(
    algorithms: Sequence[BilinearAlgorithm],
    pairs: Sequence[MatrixPair],
    dtype: str,
    ratios: Sequence[float],
    progress: Progress | None = None,
) -> list[Row]:
    """Errors of all algorithms, and of all baselines at all `ratios`, on all pairs."""
    rows: list[Row] = []
    steps = len(pairs) * (len(algorithms) + len(BASELINES))
    done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        if progress:
            progress(what, done, steps)

    for pair in pairs:
        tiles = exact_tiles_amplification(pair)
        for algorithm in algorithms:
            s = matrix_scores(algorithm, pair, dtype)
            rows.append(
                Row(
                    algorithm.name or repr(algorithm), "encoders", algorithm.tile.slug, algorithm.rank,
                    algorithm.ratio, pair.name, s["nmse"], s["spectral"], s["coloured_nmse"],
                    s["coloured_amplification"], s["total"],
                )
            )  # fmt: skip
            step(pair.name)
        for name, baseline in BASELINES.items():
            for ratio in [baseline.ratio] if baseline.ratio else ratios:
                e = baseline_error(name, pair, ratio)
                amplified = baseline.tiled * tiles
                total = e.nmse + rounding_constant(dtype) * amplified
                rows.append(
                    Row(
                        name, "baseline", "", 0, ratio, pair.name, e.nmse, e.spectral, 0.0, amplified, total
                    )
                )  # fmt: skip
            step(pair.name)
    return rows
