"""Colours of pairs of products that no orthogonal change of bases can alter, and their refinement."""

from __future__ import annotations

import numpy as np

from stl_algebra.algorithms.bilinear import Array
from stl_algebra.groups.group import IntArray

#: Values that differ by less, relative to the largest of their kind, are one value.
_TOLERANCE = 1e-6


def pair_colours(variants: list[list[Array]]) -> list[IntArray]:
    """For each variant, triples of (r, a, b) matrices, an (r, r) array of colours; equal colours, equal
    invariants.

    Inner products of the matrices of two products up to sign, the sign of their product, and inner products
    of their Gram matrices A A^T and A^T A on each side.
    """
    features = np.stack([_features(v) for v in variants])
    codes = np.empty(features.shape, dtype=np.int64)
    for f in range(features.shape[-1]):
        values = features[..., f]
        order = np.sort(values.ravel())
        breaks = order[1:][np.diff(order) > _TOLERANCE * max(float(np.abs(order).max()), 1e-300)]
        codes[..., f] = np.searchsorted(breaks, values, side="right")
    both = np.concatenate([codes, codes.swapaxes(1, 2)], axis=-1)
    _, colours = np.unique(both.reshape(-1, both.shape[-1]), axis=0, return_inverse=True)
    return list(colours.reshape(features.shape[:-1]).astype(np.int64))


def _features(triple: list[Array]) -> Array:
    flat = [part.reshape(len(part), -1) for part in triple]
    inner = [f @ f.T for f in flat]
    found = [*(np.abs(i) for i in inner), np.prod(inner, axis=0)]
    for side in range(3):
        left, right = triple[side], triple[(side + 2) % 3]
        # Two kinds of Gram matrices live on a side: of A from the left and of C from the right.
        grams = [
            np.einsum("rij,rkj->rik", left, left).reshape(len(left), -1),
            np.einsum("rji,rjk->rik", right, right).reshape(len(left), -1),
        ]
        found += [a @ b.T for a in grams for b in grams]
    return np.stack(found, axis=-1)


def refined(
    first: IntArray, second: IntArray, left: IntArray, right: IntArray
) -> tuple[IntArray, IntArray] | None:
    """Stable colours of the points of two coloured graphs, numbered alike; None when they cannot be matched.

    Args:
        first, second: (r, r) colours of pairs.
        left, right: (r,) colours of points to begin with.
    """
    count = 0
    while True:
        rows = []
        spread = int(max(left.max(), right.max())) + 1
        for pairs, colour in ((first, left), (second, right)):
            keys = np.sort(pairs * spread + colour[None, :], axis=1)
            rows.append(np.concatenate([colour[:, None], keys], axis=1))
        _, numbers = np.unique(np.concatenate(rows), axis=0, return_inverse=True)
        left, right = numbers[: len(left)].astype(np.int64), numbers[len(left) :].astype(np.int64)
        if not np.array_equal(np.bincount(left), np.bincount(right)):
            return None
        if int(left.max()) + 1 == count:
            return left, right
        count = int(left.max()) + 1
