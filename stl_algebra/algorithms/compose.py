"""Symmetries of the matrix multiplication tensor, and the ways to compose algorithms for it.

Everything here maps (near-)algorithms of the tensor (`tensor`) to (near-)algorithms of a tensor of the same
kind and keeps the squared error, or, for `sandwich` by non-orthogonal matrices, keeps exactness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.provenance import Provenance
from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import InvalidInput


def _mode_matrices(algorithm: BilinearAlgorithm) -> tuple[Array, Array, Array]:
    """Per product, the three matrices (n, k), (k, m), (n, m) of its encoders and decoder."""
    t = algorithm.tile
    return (
        algorithm.encode_x.reshape(-1, t.n, t.k),
        algorithm.encode_w.reshape(-1, t.k, t.m),
        algorithm.decode.T.reshape(-1, t.n, t.m),
    )


def _from_modes(
    source: BilinearAlgorithm, tile: TileFormat, x: Array, w: Array, y: Array, step: str
) -> BilinearAlgorithm:
    rank = x.shape[0]
    return BilinearAlgorithm(
        tile,
        x.reshape(rank, -1),
        w.reshape(rank, -1),
        y.reshape(rank, -1).T,
        source.name,
        source.provenance.then(step),
    )


def cyclic_shift(algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
    """From <n,k,m> to <k,m,n>: in trilinear form tr(X W Z) with Z = Y^T, the rotation X -> W -> Z -> X.

    The new X is the old W, the new W is the old Z = Y^T, and the new Y is the old X, transposed.
    """
    t = algorithm.tile
    x, w, y = _mode_matrices(algorithm)
    return _from_modes(
        algorithm,
        TileFormat(t.k, t.m, t.n),
        w,
        y.transpose(0, 2, 1),
        x.transpose(0, 2, 1),
        "cyclic shift",
    )


def transpose(algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
    """From <n,k,m> to <m,k,n> by Y^T = W^T X^T."""
    t = algorithm.tile
    x, w, y = _mode_matrices(algorithm)
    return _from_modes(
        algorithm,
        TileFormat(t.m, t.k, t.n),
        w.transpose(0, 2, 1),
        x.transpose(0, 2, 1),
        y.transpose(0, 2, 1),
        "transpose",
    )


def sandwich(algorithm: BilinearAlgorithm, a: ArrayLike, b: ArrayLike, c: ArrayLike) -> BilinearAlgorithm:
    """Change bases: run the algorithm on A X B^-1 and B W C^-1 and take A^-1 Y C.

    Args:
        algorithm: for <n, k, m>.
        a: (n, n) invertible.
        b: (k, k) invertible.
        c: (m, m) invertible.

    Returns:
        An algorithm of the same format and rank. Exact algorithms stay exact (up to rounding);
        orthogonal a, b, c keep the squared error of any algorithm.

    Raises:
        InvalidInput: a matrix has the wrong shape or is singular.
    """
    t = algorithm.tile
    given = {}
    for name, matrix, side in (("a", a, t.n), ("b", b, t.k), ("c", c, t.m)):
        array = np.asarray(matrix, dtype=np.float64)
        if array.shape != (side, side):
            raise InvalidInput(name, expected=f"shape ({side}, {side})", got=f"shape {array.shape}")
        if not np.isfinite(array).all() or np.linalg.matrix_rank(array) < side:
            raise InvalidInput(name, expected="an invertible matrix", got="a singular or non-finite one")
        given[name] = array
    x, w, y = _mode_matrices(algorithm)
    a_, b_, c_ = given["a"], given["b"], given["c"]
    # <x_rho, A X B^-1> = <A^T x_rho B^-T, X>, and likewise for W; the output is mapped directly.
    return _from_modes(
        algorithm,
        t,
        np.einsum("pi,rpq,lq->ril", a_, x, np.linalg.inv(b_), optimize=True),
        np.einsum("pl,rpq,jq->rlj", b_, w, np.linalg.inv(c_), optimize=True),
        np.einsum("ip,rpq,qj->rij", np.linalg.inv(a_), y, c_, optimize=True),
        "sandwich",
    )


def permute_format(algorithm: BilinearAlgorithm, target: TileFormat) -> BilinearAlgorithm:
    """The same algorithm for a format with permuted sides, by cyclic shifts and the transpose.

    Raises:
        InvalidInput: `target` is no permutation of the algorithm's format.
    """
    candidate = algorithm
    for turned in (candidate, transpose(candidate)):
        for _ in range(3):
            if turned.tile == target:
                return turned
            turned = cyclic_shift(turned)
    raise InvalidInput("target", expected=f"a permutation of {algorithm.tile}", got=str(target))


def restrict(algorithm: BilinearAlgorithm, target: TileFormat) -> BilinearAlgorithm:
    """The algorithm on the leading blocks of X, W and Y; products that become zero are dropped.

    An exact algorithm gives an exact one.

    Raises:
        InvalidInput: a side of `target` is larger than the algorithm's.
    """
    t = algorithm.tile
    if target.n > t.n or target.k > t.k or target.m > t.m:
        raise InvalidInput("target", expected=f"sides of at most those of {t}", got=str(target))
    x, w, y = _mode_matrices(algorithm)
    modes = [x[:, : target.n, : target.k], w[:, : target.k, : target.m], y[:, : target.n, : target.m]]
    kept = np.all([mode.any(axis=(1, 2)) for mode in modes], axis=0)
    x, w, y = (mode[kept] for mode in modes)
    return _from_modes(algorithm, target, x, w, y, f"restricted to {target}")


def kronecker(outer: BilinearAlgorithm, inner: BilinearAlgorithm) -> BilinearAlgorithm:
    """The two-level algorithm of <n1 n2, k1 k2, m1 m2> and rank r1 r2: `outer` on blocks, `inner` inside.

    1 - NMSE multiplies when both factors are least-squares optimal (docs/theory.md, section 2).
    """
    s, t = outer.tile, inner.tile
    tile = TileFormat(s.n * t.n, s.k * t.k, s.m * t.m)
    rank = outer.rank * inner.rank
    modes = [
        np.einsum("rab,scd->rsacbd", first, second).reshape(rank, -1)
        for first, second in zip(_mode_matrices(outer), _mode_matrices(inner), strict=True)
    ]
    return BilinearAlgorithm(
        tile,
        modes[0],
        modes[1],
        modes[2].T,
        f"{outer.name or 'A'}(x){inner.name or 'B'}",
        Provenance(
            family="kronecker",
            groups=(*outer.provenance.groups, *inner.provenance.groups),
            steps=(f"kronecker of {outer!r} and {inner!r}",),
        ),
    )


def direct_sum(first: BilinearAlgorithm, second: BilinearAlgorithm, axis: str) -> BilinearAlgorithm:
    """Split one side into two blocks and use one algorithm for each: rank r1 + r2.

    Args:
        first: for the leading block.
        second: for the trailing block; its format agrees with that of `first` except on `axis`.
        axis: "n", "k" or "m", the side that is split.

    Raises:
        InvalidInput: the axis is unknown or the other sides differ.
    """
    if axis not in ("n", "k", "m"):
        raise InvalidInput("axis", expected='"n", "k" or "m"', got=axis)
    s, t = first.tile, second.tile
    for side in {"n", "k", "m"} - {axis}:
        if getattr(s, side) != getattr(t, side):
            raise InvalidInput(
                "second",
                expected=f"the same side {side} as the first algorithm's {s}",
                got=str(t),
            )
    total = TileFormat(
        s.n + t.n if axis == "n" else s.n,
        s.k + t.k if axis == "k" else s.k,
        s.m + t.m if axis == "m" else s.m,
    )
    rank = first.rank + second.rank
    modes = []
    shapes = ((total.n, total.k), (total.k, total.m), (total.n, total.m))
    splits = (("n", "k"), ("k", "m"), ("n", "m"))
    for shape, sides, a, b in zip(shapes, splits, _mode_matrices(first), _mode_matrices(second), strict=True):
        mode = np.zeros((rank, *shape))
        mode[: first.rank, : a.shape[1], : a.shape[2]] = a
        row = getattr(s, axis) if sides[0] == axis else 0
        column = getattr(s, axis) if sides[1] == axis else 0
        mode[first.rank :, row : row + b.shape[1], column : column + b.shape[2]] = b
        modes.append(mode.reshape(rank, -1))
    return BilinearAlgorithm(
        total,
        modes[0],
        modes[1],
        modes[2].T,
        f"{first.name or 'A'}(+){second.name or 'B'}",
        Provenance(
            family="direct-sum",
            groups=(*first.provenance.groups, *second.provenance.groups),
            steps=(f"direct sum along {axis} of {first!r} and {second!r}",),
        ),
    )
