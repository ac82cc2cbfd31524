"""Sums of convolutions on Gaussian matrices beside the best low-rank approximation of the product.

What is compared follows the abstract of arXiv 2510.22193: matrices with independent normal entries, the error
in the Frobenius norm relative to that of X W, and as the rival the truncated SVD of the product X W itself at
the same cost, rank s counting as s N^2 multiplications for N x N matrices. So, and this is our reading, an
algorithm with R multiplications in all stands beside s = R / N^2. The SVD needs the product first: it bounds
all low-rank methods and replaces none. Column-row sampling at the same cost is the third column.

What does not belong here: making candidates (`families.convolutions`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.fit import truncate
from stl_algebra.algorithms.scores import column_row_nmse
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.families import Request, family
from stl_algebra.groups import parse_group

#: (group, tile, ranks, sizes N)
CASES = (
    ("C2^5", "4", (16, 24, 32, 40), (4, 16, 64)),
    ("C4^3", "4", (16, 24, 32, 40), (4, 16, 64)),
    ("C2^7", "8", (64, 128, 192, 256), (8, 32, 128)),
)
SEEDS = 8


def svd_error(product: Array, rank: float) -> float:
    """|M - M_s|_F / |M|_F, M_s the best approximation of rank s; its square is linear between whole ranks."""
    values = np.linalg.svd(product, compute_uv=False) ** 2
    tails = np.concatenate([values[::-1].cumsum()[::-1], [0.0]]) / values.sum()
    return float(np.sqrt(np.interp(rank, np.arange(len(tails)), tails)))


def gaussian_comparison(
    algorithm: BilinearAlgorithm, size: int, samples: int = 20, seed: int = 0
) -> dict[str, float]:
    """Mean relative Frobenius errors on N x N Gaussian matrices, of the algorithm and of the SVD at its cost.

    Args:
        algorithm: run tile by tile.
        size: N, a multiple of the tile's sides.
        samples: independent pairs of matrices.
        seed: of these.

    Returns:
        "multiplications" R, "ratio" N^3 / R, "svd_rank" R / N^2, "error", "svd_error" and, by its
        formula, "sampling_error".

    Raises:
        InvalidInput: no tile divides N, or there are no samples.
    """
    if samples < 1:
        raise InvalidInput("samples", expected="at least 1", got=samples)
    tile = algorithm.tile
    rng = np.random.default_rng(seed)
    multiplications = algorithm.rank * size**3 / tile.products
    rank = multiplications / size**2
    own, rival = [], []
    for _ in range(samples):
        x, w = rng.normal(size=(2, size, size))
        exact = x @ w
        own.append(float(np.linalg.norm(algorithm.multiply(x, w) - exact) / np.linalg.norm(exact)))
        rival.append(svd_error(exact, rank))
    return {
        "multiplications": multiplications,
        "ratio": size**3 / multiplications,
        "svd_rank": rank,
        "error": float(np.mean(own)),
        "svd_error": float(np.mean(rival)),
        "sampling_error": float(np.sqrt(column_row_nmse(tile, algorithm.rank))),
    }


def run() -> list[dict[str, Any]]:
    """One row per group, rank and N: the candidate of least error of some seeds, truncated to the rank."""
    rows = []
    for group, shape, ranks, sizes in CASES:
        tile, parsed = TileFormat.parse(shape), parse_group(group)
        for rank in ranks:
            seeds = [Request(tile, rank, parsed, seed) for seed in range(SEEDS)]
            found = [truncate(family("convolutions").propose(request), rank) for request in seeds]
            compared = [gaussian_comparison(a, sizes[0], samples=200) for a in found]
            best = found[int(np.argmin([c["error"] for c in compared]))]
            for size in sizes:
                row = {"group": group, "tile": tile.slug, "rank": rank, "N": size}
                rows.append(row | gaussian_comparison(best, size))
                print(rows[-1], flush=True)
    return rows
