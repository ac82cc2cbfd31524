"""The change of bases that amplifies rounding errors least: one float companion for every exact algorithm.

Sandwiching by invertible P, Q, R keeps what an algorithm computes and changes its amplification A
(`scores.amplification`). On that orbit A is geodesically convex (Kempf and Ness, The length of vectors in
representation spaces, 1979), so every stationary point is the minimum, and it is unique up to orthogonal
P, Q, R. What does not belong here: permuting modes (`compose`), symmetries that the minimum makes orthogonal
(`families.orbits`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stl_algebra.algorithms.bilinear import Array, BilinearAlgorithm
from stl_algebra.algorithms.compose import sandwich
from stl_algebra.algorithms.verify import verify
from stl_algebra.errors import InvalidInput

Gauge = tuple[Array, Array, Array]

#: Relative size of the gradient at which the minimum counts as reached, and Newton steps towards it.
_TOLERANCE = 1e-12
_NEWTON_STEPS = 12
#: Directions above which Newton's method costs more than its last digits are worth.
_LARGEST_NEWTON = 120
#: Condition of a gauge above which the infimum counts as not attained: the bases run away.
_LARGEST_CONDITION = 1e8
#: Name of the parameter of a companion's provenance that tells of the algorithm it was made from.
PARENT = "balanced_from"


def product_matrices(algorithm: BilinearAlgorithm) -> Gauge:
    """The products as triples (A, B, C), shapes (r, n, k), (r, k, m) and (r, m, n), |A| = |B| = |C|.

    A and B are rows of the encoders, C is a transposed column of the decoder: in trilinear form the
    product is <A, X> <B, W> <C, Y^T>. A product that vanishes keeps its norms.
    """
    t = algorithm.tile
    parts = [
        algorithm.encode_x.reshape(-1, t.n, t.k),
        algorithm.encode_w.reshape(-1, t.k, t.m),
        algorithm.decode.T.reshape(-1, t.n, t.m).transpose(0, 2, 1),
    ]
    return evened(parts)


def evened(triples: Sequence[Array]) -> Gauge:
    """The same products with |A| = |B| = |C|; one that vanishes keeps its norms."""
    norms = np.sqrt([np.square(part).sum(axis=(1, 2)) for part in triples])
    mean = np.cbrt(norms.prod(axis=0))
    scales = np.where(mean > 0, mean / np.where(norms > 0, norms, 1.0), 1.0)
    a, b, c = (part * scale[:, None, None] for part, scale in zip(triples, scales, strict=True))
    return a, b, c


def least_amplification_gauge(triples: Sequence[Array]) -> Gauge:
    """P (n, n), Q (k, k), R (m, m) that minimise sum |P A Q^-1|^2 |Q B R^-1|^2 |R C P^-1|^2 over the
    products.

    L-BFGS from the identity over all invertible matrices, then Newton's method on the symmetric
    directions. Each is symmetric, positive definite and of determinant 1. Under a second up to side 8.

    Args:
        triples: A (r, n, k), B (r, k, m), C (r, m, n), as of `product_matrices`.

    Returns:
        The gauge; after it every symmetry of the set of products is orthogonal.

    Raises:
        InvalidInput: the infimum is not attained: the products do not span enough.
    """
    # Layers import this file where scipy may be missing.
    from scipy.optimize import minimize

    sides = triples[0].shape[1], triples[1].shape[1], triples[2].shape[1]
    eyes = [np.eye(side) for side in sides]

    def split(flat: Array) -> list[Array]:
        return [
            p.reshape(s, s)
            for p, s in zip(np.split(flat, np.cumsum(np.square(sides))[:-1]), sides, strict=True)
        ]

    def objective(flat: Array) -> tuple[float, Array]:
        gauge = split(flat)
        if max(np.linalg.cond(g) for g in gauge) > _LARGEST_CONDITION:
            return np.inf, np.zeros_like(flat)
        value, moments = amplification_moments(_moved(triples, gauge))
        slopes = [moment @ np.linalg.inv(g).T for moment, g in zip(moments, gauge, strict=True)]
        return float(np.log(value)), 2 * np.concatenate([s.ravel() for s in slopes]) / value

    start = np.concatenate([e.ravel() for e in eyes])
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9}
    )
    gauge = split(found.x)
    gauge = _newton(triples, [g / np.abs(np.linalg.det(g)) ** (1 / len(g)) for g in gauge])
    if max(np.linalg.cond(g) for g in gauge) > np.sqrt(_LARGEST_CONDITION):
        raise InvalidInput(
            "algorithm",
            expected="one whose amplification has a minimum",
            got="one whose best bases are degenerate",
        )
    p, q, r = (_symmetric_part(g) for g in gauge)
    return p, q, r


def balance(algorithm: BilinearAlgorithm) -> BilinearAlgorithm:
    """The algorithm in the bases in which it amplifies rounding errors least, its products of equal norms.

    What it computes stays the same up to float64 rounding; its entries become irrational, so that it is not
    exact any more by our word's meaning. Its provenance names the parent, with its digest and its proof.

    Raises:
        InvalidInput: the amplification has no minimum.
    """
    p, q, r = least_amplification_gauge(product_matrices(algorithm))
    moved = sandwich(algorithm, p.T, q.T, r.T)
    a, b, c = product_matrices(moved)
    rank, outcome = algorithm.rank, verify(algorithm)
    origin = algorithm.provenance.then("changed to the bases of least amplification")
    parent = {"name": algorithm.name, "digest": algorithm.digest, "verified": outcome.message}
    return BilinearAlgorithm(
        algorithm.tile,
        a.reshape(rank, -1),
        b.reshape(rank, -1),
        c.transpose(0, 2, 1).reshape(rank, -1).T,
        f"{algorithm.name or algorithm.tile.slug}-balanced",
        origin.with_parameters({PARENT: parent}),
    )


def inverse_gauge(gauge: Gauge) -> Gauge:
    """(P^-1, Q^-1, R^-1)."""
    p, q, r = (np.linalg.inv(g) for g in gauge)
    return np.asarray(p, float), np.asarray(q, float), np.asarray(r, float)


def _moved(triples: Sequence[Array], gauge: Sequence[Array]) -> list[Array]:
    """(P A Q^-1, Q B R^-1, R C P^-1)."""
    p, q, r = gauge
    inverses = [np.linalg.inv(g) for g in (q, r, p)]
    return [left @ part @ right for left, part, right in zip((p, q, r), triples, inverses, strict=True)]


def amplification_moments(moved: Sequence[Array]) -> tuple[float, list[Array]]:
    """sum |A|^2 |B|^2 |C|^2, and half its derivatives by P, Q and R at the identity: symmetric matrices."""
    squares = np.array([np.square(part).sum(axis=(1, 2)) for part in moved])
    others = [squares[1] * squares[2], squares[2] * squares[0], squares[0] * squares[1]]
    rows = [_weighted_gram(o, part) for o, part in zip(others, moved, strict=True)]
    columns = [_weighted_gram(o, part.transpose(0, 2, 1)) for o, part in zip(others, moved, strict=True)]
    moments = [rows[0] - columns[2], rows[1] - columns[0], rows[2] - columns[1]]
    return float(squares.prod(axis=0).sum()), moments


def _weighted_gram(weights: Array, part: Array) -> Array:
    """sum_r w_r A_r A_r^T for (r, i, j) matrices, as one product of matrices."""
    flat, weighted = (
        p.transpose(1, 0, 2).reshape(part.shape[1], -1) for p in (part, weights[:, None, None] * part)
    )
    out: Array = weighted @ flat.T
    return out


def _newton(triples: Sequence[Array], gauge: list[Array]) -> list[Array]:
    """A few Newton steps on symmetric directions of trace 0, each taken by a matrix exponential."""
    basis = [_symmetric_basis(len(g)) for g in gauge]
    ends = np.cumsum([len(b) for b in basis])[:-1]

    def gradient(at: list[Array], along: Array) -> Array:
        steps = [np.tensordot(part, b, 1) for part, b in zip(np.split(along, ends), basis, strict=True)]
        value, moments = amplification_moments(
            _moved(triples, [_exponential(s) @ g for s, g in zip(steps, at, strict=True)])
        )
        return np.concatenate([np.tensordot(b, m, 2) for b, m in zip(basis, moments, strict=True)]) / value

    size = sum(len(b) for b in basis)
    step, before = 1e-5, np.inf
    if size > _LARGEST_NEWTON:
        return gauge
    for _ in range(_NEWTON_STEPS):
        slope = gradient(gauge, np.zeros(size))
        now = float(np.abs(slope).max(initial=0.0))
        if now < _TOLERANCE or now >= before:
            break
        before = now
        hessian = np.stack(
            [(gradient(gauge, step * e) - gradient(gauge, -step * e)) / (2 * step) for e in np.eye(size)]
        )
        move = -np.linalg.lstsq((hessian + hessian.T) / 2, slope, rcond=1e-7)[0]
        move *= min(1.0, 0.5 / max(float(np.abs(move).max()), 1e-300))
        steps = [np.tensordot(part, b, 1) for part, b in zip(np.split(move, ends), basis, strict=True)]
        gauge = [_exponential(s) @ g for s, g in zip(steps, gauge, strict=True)]
    return gauge


def _symmetric_basis(side: int) -> Array:
    """An orthonormal basis of the symmetric matrices of trace 0, (side (side + 1) / 2 - 1, side, side)."""
    out = []
    for i in range(side):
        for j in range(i):
            matrix = np.zeros((side, side))
            matrix[i, j] = matrix[j, i] = np.sqrt(0.5)
            out.append(matrix)
    for i in range(1, side):
        diagonal = np.concatenate([np.ones(i), [-i], np.zeros(side - i - 1)])
        out.append(np.diag(diagonal / np.linalg.norm(diagonal)))
    return np.array(out).reshape(-1, side, side)


def _exponential(matrix: Array) -> Array:
    """exp of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    out: Array = (vectors * np.exp(values)) @ vectors.T
    return out


def _symmetric_part(gauge: Array) -> Array:
    """S of the polar decomposition gauge = U S."""
    values, vectors = np.linalg.eigh(gauge.T @ gauge)
    out: Array = (vectors * np.sqrt(values)) @ vectors.T
    return out
