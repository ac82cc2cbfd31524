"""The simplex algorithm: t^3 - t + 1 products for <t,t,t>, an orbit of the symmetric group of t + 1 points.

What does not belong here: the general machinery of orbits; this one is a formula.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput
from stl_algebra.groups.group import IntArray


def simplex(t: int) -> BilinearAlgorithm:
    """The algorithm of Grochow and Moore (2017) for <t,t,t>, exact over Z; Strassen's rank 7 at t = 2.

    With the vertices w_0..w_t of the regular simplex in R^t the tensor is, in trilinear form,

        I (x) I (x) I + (t / (t+1))^3 sum over distinct i, j, k of
            w_i (w_j - w_i)^T (x) w_j (w_k - w_j)^T (x) w_k (w_i - w_k)^T.

    In the basis that is dual to w_1..w_t the left vectors become the unit vectors e_i and e_0 = -sum e_i, and
    the right ones (t+1)/t (f_j - f_i) with f_i = e_i and f_0 = 0: the scalars cancel and all entries are
    -1, 0 or 1.

    Raises:
        InvalidInput: t is below 2 or no tile side.
    """
    tile = TileFormat(t, t, t)
    if t < 2:
        raise InvalidInput("t", expected="a side of at least 2", got=t)
    left = np.vstack([-np.ones(t), np.eye(t)])
    right = np.vstack([np.zeros(t), np.eye(t)])
    i, j, k = np.array(list(permutations(range(t + 1), 3))).T

    def term(row: IntArray, a: IntArray, b: IntArray) -> Array:
        out: Array = left[row][:, :, None] * (right[b] - right[a])[:, None, :]
        return out

    identity = np.eye(t)[None]
    x, w, z = (np.concatenate([identity, part]) for part in (term(i, i, j), term(j, j, k), term(k, k, i)))
    rank = len(x)
    return BilinearAlgorithm(
        tile,
        x.reshape(rank, -1),
        w.reshape(rank, -1),
        z.transpose(0, 2, 1).reshape(rank, -1).T,
        f"simplex({t})",
        Provenance(family="orbits", groups=(f"S{t + 1}",)),
    )
