"""The best decoder for given encoders, and the best products to keep: least squares in closed form.

What does not belong here: the scores themselves (`scores`), refinement of all three factors (`stl_search`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.colour import Colour, coloured_encoders, target_tensor
from stl_algebra.algorithms.tensor import matmul_tensor
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput

IntArray = NDArray[np.int64]


def best_decoder(
    tile: TileFormat,
    encode_x: ArrayLike,
    encode_w: ArrayLike,
    penalty: float = 0.0,
    colour: Colour | None = None,
) -> Array:
    """The decoder that minimises NMSE + penalty * A for given encoders, (nm, r), by least squares.

    The Gram matrix of the rank-one terms is the Hadamard product of the two encoders' Grams, plus
    penalty * |x_rho|^2 |w_rho|^2 on the diagonal. Dependent products get the minimum-norm decoder.

    Raises:
        InvalidInput: shapes do not match the format, or the penalty is negative.
    """
    if not penalty >= 0:
        raise InvalidInput("penalty", expected="a number of at least 0", got=penalty)
    rank = np.asarray(encode_x).shape[0]
    algorithm = BilinearAlgorithm(tile, encode_x, encode_w, np.zeros((tile.y_size, rank)))
    x, w = coloured_encoders(algorithm, colour)
    gram = (x @ x.T) * (w @ w.T)
    gram[np.diag_indices(rank)] *= 1.0 + penalty
    right = np.einsum("ra,rb,aby->ry", x, w, target_tensor(tile, colour), optimize=True)
    solution: Array = linalg.lstsq(gram, right, cond=1e-13, lapack_driver="gelsd")[0]
    return np.ascontiguousarray(solution.T)


def refit_decoder(
    algorithm: BilinearAlgorithm, penalty: float = 0.0, colour: Colour | None = None
) -> BilinearAlgorithm:
    """The algorithm with its best decoder; see `best_decoder`."""
    decode = best_decoder(algorithm.tile, algorithm.encode_x, algorithm.encode_w, penalty, colour)
    return algorithm.with_factors(None, None, decode)


def truncate(
    algorithm: BilinearAlgorithm,
    rank: int,
    penalty: float = 0.0,
    noise: float = 0.0,
    seed: int = 0,
    method: str = "backward",
) -> BilinearAlgorithm:
    """Keep `rank` products, chosen in closed form, the decoder refitted.

    With G the regularised Gram matrix of `best_decoder` and d the best decoder, "backward" drops, one by one,
    the product with the least |d_rho|^2 / (G^-1)_rho,rho, which is what dropping it adds to
    nkm (NMSE + penalty * A); "greedy" adds, one by one, the product that lowers it most. Backward
    elimination is mostly better and costs O(R^3) for R products, greedy selection O(R rank^2).

    Args:
        algorithm: any algorithm of rank at least `rank`.
        rank: products to keep.
        penalty: weight of the amplification A.
        noise: relative spread of random factors on the costs, to get different truncations.
        seed: of those factors.
        method: "backward" or "greedy".

    Raises:
        InvalidInput: `rank` is not between 1 and the algorithm's rank, or there is no such method.
    """
    if not 1 <= rank <= algorithm.rank:
        raise InvalidInput("rank", expected=f"1 to {algorithm.rank}", got=rank)
    if method not in _SELECTIONS:
        raise InvalidInput("method", expected=" or ".join(_SELECTIONS), got=repr(method))
    if rank == algorithm.rank:
        return refit_decoder(algorithm, penalty)
    x, w = algorithm.encode_x, algorithm.encode_w
    gram = (x @ x.T) * (w @ w.T)
    # A vanishing ridge keeps dependent products apart; they are the last to be wanted.
    gram[np.diag_indices(len(gram))] *= 1.0 + max(penalty, 1e-10)
    gram[np.diag_indices(len(gram))] += 1e-300 + 1e-12 * gram.diagonal().max()
    right = np.einsum("ra,rb,aby->ry", x, w, matmul_tensor(algorithm.tile), optimize=True)
    kept = _SELECTIONS[method](gram, right, rank, noise, np.random.default_rng(seed))
    step = f"truncate {algorithm.rank} -> {rank}" + (f" ({method})" if method != "backward" else "")
    decode = best_decoder(algorithm.tile, x[kept], w[kept], penalty)
    return BilinearAlgorithm(
        algorithm.tile, x[kept], w[kept], decode, algorithm.name, algorithm.provenance.then(step)
    )


#: A product whose squared distance from the span of the others is this much less than its squared norm counts
#: as dependent on them.
_LARGEST_PIVOT = 1e6


def _backward_elimination(
    gram: Array, right: Array, rank: int, noise: float, rng: np.random.Generator
) -> IntArray:
    inverse = np.linalg.inv(gram)
    kept = np.arange(len(gram))
    while len(kept) > rank:
        decode = inverse @ right[kept]
        cost = np.sum(decode**2, axis=1) / inverse.diagonal()
        cost = (cost + 1e-12) * np.exp(noise * rng.normal(size=len(kept)))
        out = int(np.argmin(cost))
        pivot = inverse[out, out]
        dependent = pivot * gram[kept[out], kept[out]] > _LARGEST_PIVOT
        kept = np.delete(kept, out)
        if dependent:
            # The downdate would cancel nearly all digits.
            inverse = np.linalg.inv(gram[np.ix_(kept, kept)])
        else:
            column = inverse[:, out] / np.sqrt(pivot)
            inverse = np.delete(np.delete(inverse - np.outer(column, column), out, 0), out, 1)
    return kept


def _greedy_selection(
    gram: Array, right: Array, rank: int, noise: float, rng: np.random.Generator
) -> IntArray:
    """Pivoted Cholesky factorisation of the Gram matrix, the pivot being the product that gains most."""
    # Of every product, what the chosen ones do not explain: its squared norm, its overlap with the target.
    left, overlap = gram.diagonal().copy(), right.copy()
    columns = np.zeros((rank, len(gram)))
    kept: list[int] = []
    for step in range(rank):
        gain = np.sum(overlap**2, axis=1) / np.maximum(left, 1e-300)
        gain = (gain + 1e-12) * np.exp(noise * rng.normal(size=len(gram)))
        gain[kept] = -1.0
        new = int(np.argmax(gain))
        kept.append(new)
        scale = np.sqrt(max(left[new], 1e-300))
        columns[step] = (gram[new] - columns[:step, new] @ columns[:step]) / scale
        overlap -= np.outer(columns[step], overlap[new] / scale)
        left -= columns[step] ** 2
    return np.array(sorted(kept))


_SELECTIONS = {"backward": _backward_elimination, "greedy": _greedy_selection}
