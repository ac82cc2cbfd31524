"""Triples of subsets of a group and their triple product property (TPP), exact and approximate.

Cohn and Umans 2003: with S = (s_i), T = (t_l), U = (u_j) in G, map the X entry (i, l) to s_i^-1 t_l, the W
entry (l, j) to t_l^-1 u_j and read the Y entry (i, j) at s_i^-1 u_j. The product in the group algebra is the
matrix product exactly iff s's^-1 t't^-1 u'u^-1 = 1 happens only trivially. When it fails, collisions add
wrong terms (arXiv 2510.22193): the *approximate* TPP.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stl_algebra.algorithms.tile import TileFormat
from stl_algebra.errors import NoCandidate
from stl_algebra.groups.group import FiniteGroup, IntArray


@dataclass(frozen=True, eq=False)
class Triple:
    """Three ordered subsets of a group, of sizes n, k, m.

    Attributes:
        group: the group.
        s, t, u: element numbers, (n,), (k,), (m,), each without repetition.
    """

    group: FiniteGroup
    s: IntArray
    t: IntArray
    u: IntArray

    def elements(self) -> tuple[IntArray, IntArray, IntArray]:
        """Group elements of the X (n, k), W (k, m) and Y (n, m) entries."""
        table, inverse = self.group.table, self.group.inverse
        s, t = inverse[self.s], inverse[self.t]
        return (
            table[s[:, None], self.t[None, :]],
            table[t[:, None], self.u[None, :]],
            table[s[:, None], self.u[None, :]],
        )

    def collisions(self) -> int:
        """Wrong terms: triples of entries (X, W, Y) with x w = y that do not belong together.

        Zero iff the triple product property holds.
        """
        x, w, y = self.elements()
        counts = np.bincount(
            self.group.table[x.reshape(-1, 1), w.reshape(1, -1)].ravel(), minlength=self.group.order
        )
        return int(counts[y].sum()) - len(self.s) * len(self.t) * len(self.u)


def find_triple(group: FiniteGroup, tile: TileFormat, seed: int, steps: int = 1500) -> Triple:
    """A triple of subsets with few collisions, by simulated annealing; stops at the exact TPP.

    Moves replace one element of one subset. The temperature falls geometrically from one tenth of the
    initial number of collisions to below one.

    Raises:
        NoCandidate: the group has fewer elements than a side of the tile.
    """
    sizes = (tile.n, tile.k, tile.m)
    if group.order < max(sizes):
        raise NoCandidate(
            f"group {group.name} of order {group.order} has no subset of {max(sizes)} elements for {tile}"
        )
    rng = np.random.default_rng([seed, group.order, tile.products])
    # The identity may be put into each subset: translating a subset on the left changes nothing.
    subsets = [
        np.concatenate([[0], 1 + rng.choice(group.order - 1, size - 1, replace=False)]) for size in sizes
    ]
    current = Triple(group, *subsets)
    cost = current.collisions()
    best, best_cost = current, cost
    temperatures = np.geomspace(max(cost / 10, 1.0), 0.3, steps)
    for temperature in temperatures:
        if best_cost == 0:
            break
        which = int(rng.integers(3))
        if sizes[which] < 2 or group.order == sizes[which]:
            continue
        parts = [current.s, current.t, current.u]
        changed = parts[which].copy()
        outside = np.setdiff1d(np.arange(group.order), changed)
        changed[int(rng.integers(1, sizes[which]))] = int(rng.choice(outside))
        parts[which] = changed
        proposal = Triple(group, *parts)
        new_cost = proposal.collisions()
        if new_cost <= cost or rng.random() < np.exp((cost - new_cost) / temperature):
            current, cost = proposal, new_cost
            if cost < best_cost:
                best, best_cost = current, cost
    return best
