"""Two weights of every four: which ones stay, and what becomes of the others' part. Numpy in and out.

Weights are (K, M), input features are rows, and the four are neighbours among the features. What does not
belong here: second moments (`moments`), refitting what stays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: SparseGPT's own damping, a share of the mean diagonal entry of the second moment.
DAMPING = 0.01
#: Features whose errors are pushed on in one product.
_BLOCK = 128


def with_ridge(matrix: Array, share: float) -> Array:
    """A second moment (K, K) plus a share of its mean diagonal entry; plus one where that is zero."""
    mean = float(np.mean(np.diag(matrix)))
    out: Array = matrix + (share * mean if mean > 0 else 1.0) * np.eye(len(matrix))
    return out


def two_of_four(score: Array) -> Mask:
    """The two largest scores of every four rows in each column; score (K, M)."""
    padded = np.pad(score, ((0, -len(score) % 4), (0, 0)), constant_values=-1.0)
    grouped = padded.reshape(-1, 4, padded.shape[1])
    rank = np.argsort(np.argsort(-grouped, axis=1, kind="stable"), axis=1, kind="stable")
    mask: Mask = (rank < 2).reshape(padded.shape)[: len(score)]
    return mask


def wanda_mask(w: Array, second: Array) -> Mask:
    """Two of four by |w_ij| |x_i| (Sun, Liu, Bair, Kolter 2023), from the second moment (K, K)."""
    norm = np.sqrt(np.maximum(np.diag(second), 0.0))
    return two_of_four(np.abs(w) * norm[:, None])


def sparse_gpt(weights: Array, second: Array) -> Array:
    """Frantar and Alistarh 2023: prune two of four by w^2 / (U_ii)^2, push the error on through U.

    U is the upper Cholesky factor of the inverse second moment with a ridge of `DAMPING`, as published.

    Args:
        weights: (K, M).
        second: of the input, about zero or about the mean, (K, K).
    """
    missing = -len(weights) % 4
    w = np.pad(weights, ((0, missing), (0, 0)))
    h = np.pad(with_ridge(second, DAMPING), (0, missing))
    extra = np.arange(len(weights), len(w))
    h[extra, extra] = 1.0
    upper = linalg.cholesky(linalg.inv(h))
    diagonal = np.diag(upper)
    for first in range(0, len(w), _BLOCK):
        last = min(first + _BLOCK, len(w))
        errors = np.zeros_like(w[first:last])
        for start in range(first, last, 4):
            drop = ~two_of_four((w[start : start + 4] / diagonal[start : start + 4, None]) ** 2)
            for i in range(start, start + 4):
                error = np.where(drop[i - start], w[i], 0.0) / diagonal[i]
                w[i:last] -= np.outer(upper[i, i:last], error)
                w[i] = np.where(drop[i - start], 0.0, w[i])
                errors[i - first] = error
        w[last:] -= upper[first:last, last:].T @ errors
    out: Array = w[: len(weights)]
    return out
