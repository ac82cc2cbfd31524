"""Bilinear algorithms for the blocks M_s(D) of a real group algebra.

The product in M_s(D) is the product of s x s matrices with entries in D; its algorithm is the Kronecker
product of one for D (1 product for the reals, 3 for the complex numbers, 8 for the quaternions) and one
for <s,s,s>. Coordinates are ordered as in `representations.fourier`: unit, row, column.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.exact.catalogue import exact_algorithm, rank_of_exact
from stl_algebra.representations.irreps import RealType

Factors = tuple[Array, Array, Array]

#: sign and unit of the product of quaternion units: _QUATERNION[u][v] is the sign, the unit is u xor v.
_QUATERNION = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, -1, -1, 1], [1, 1, -1, -1]])


@lru_cache(maxsize=4)
def division_algebra_product(real_type: RealType) -> Factors:
    """(left (R, D), right (R, D), decode (D, R)) of an exact algorithm for the reals, C or H.

    C: three products (Gauss). H: eight, the four of the convolution on Z_2^2 (by the Walsh-Hadamard
    transform) and four single products that correct the signs in which the quaternions differ from it;
    eight is optimal (Howell and Lafon 1975).
    """
    if real_type is RealType.REAL:
        one = np.ones((1, 1))
        return one, one, one
    if real_type is RealType.COMPLEX:
        encode = np.array([[1.0, 0], [0, 1], [1, 1]])
        return encode, encode, np.array([[1.0, -1, 0], [-1, -1, 1]])
    u = np.arange(4)
    best: tuple[int, Factors] | None = None
    for signs in product((1, -1), repeat=12):
        left, right, out = (np.array(signs[i : i + 4]) for i in (0, 4, 8))
        # Flip signs of the units so that as few entries as possible differ from the convolution.
        flipped = _QUATERNION * left[:, None] * right[None, :] * out[u[:, None] ^ u]
        wrong = np.argwhere(flipped < 0)
        if best is not None and len(wrong) >= best[0]:
            continue
        hadamard = np.array([[(-1.0) ** bin(a & b).count("1") for a in range(4)] for b in range(4)])
        encode_left = np.concatenate([hadamard, np.eye(4)[wrong[:, 0]]]) * left
        encode_right = np.concatenate([hadamard, np.eye(4)[wrong[:, 1]]]) * right
        corrections = -2.0 * np.eye(4)[:, wrong[:, 0] ^ wrong[:, 1]]
        decode = np.concatenate([hadamard / 4.0, corrections], axis=1) * out[:, None]
        best = (len(wrong), (encode_left, encode_right, decode))
    assert best is not None
    return best[1]


@lru_cache(maxsize=64)
def block_product(size: int, real_type: RealType) -> Factors:
    """(left (R, dim), right (R, dim), decode (dim, R)) of an exact algorithm for M_s(D)."""
    outer = division_algebra_product(real_type)
    inner = exact_algorithm(TileFormat(size, size, size))
    pairs = zip(outer, (inner.encode_x, inner.encode_w, inner.decode), strict=True)
    left, right, decode = (np.kron(a, b).astype(np.float64) for a, b in pairs)
    return left, right, decode


def block_rank(size: int, real_type: RealType) -> int:
    """Products that `block_product` takes, without building it."""
    units = {RealType.REAL: 1, RealType.COMPLEX: 3, RealType.QUATERNIONIC: 8}[real_type]
    return units * rank_of_exact(TileFormat(size, size, size))
