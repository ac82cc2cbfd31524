"""Where the elements of a group go in a picture of its Cayley graph.

Layouts show structure: cyclic groups are circles, abelian groups products of circles, groups with a normal
cyclic subgroup concentric rings, and groups with a faithful three-dimensional representation the orbit of a
point, which is a polyhedron.

What does not belong here: drawing (`cayley`).
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from stl_algebra.groups import FiniteGroup
from stl_algebra.groups.words import letters
from stl_algebra.representations import RealType, real_irreps

Positions = NDArray[np.float64]

#: Above this order the careful layout takes too long for what it shows.
_MOST_CAREFUL = 130

#: Longest edge over least distance of vertices above which an orbit makes no readable solid.
_MOST_UNEVEN = 2.0


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the elements are drawn.

    Attributes:
        positions: (|G|, 2) within about [-1, 1].
        nearness: (|G|,) from 0, far away, to 1, near, for pictures of solids; all 1 for plane ones.
        rings: whether elements lie on concentric rings, so that long edges are better bent.
    """

    positions: Positions
    nearness: Positions
    rings: bool = False


def _plane(positions: Positions, rings: bool = False) -> Layout:
    return Layout(positions, np.ones(len(positions)), rings)


def _circle(turns: Positions) -> Positions:
    """Points at these turns, the first on top, clockwise."""
    return np.stack([np.sin(2 * np.pi * turns), np.cos(2 * np.pi * turns)], axis=1)


def layout(group: FiniteGroup) -> Layout:
    """The layout that shows most of the group's structure; the same every time."""
    if group.order == 1:
        return _plane(np.zeros((1, 2)))
    for attempt in (_abelian, _concentric, _polyhedron):
        found = attempt(group)
        if found is not None:
            return found
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(group.order))
    for g in group.generators:
        graph.add_edges_from((a, int(group.table[a, g])) for a in range(group.order))
    careful = group.order <= _MOST_CAREFUL
    places = nx.kamada_kawai_layout(graph) if careful else nx.spring_layout(graph, seed=0)
    return _plane(np.array([places[i] for i in range(group.order)]))


def _powers(group: FiniteGroup, g: int) -> list[int]:
    powers = [0]
    while (following := int(group.table[powers[-1], g])) != 0:
        powers.append(following)
    return powers


def _abelian(group: FiniteGroup) -> Layout | None:
    """Independent generators: circles of circles; generators of order 2 are oblique steps, as in a cube."""
    orders = [int(group.element_orders[g]) for g in group.generators]
    if not group.is_abelian or int(np.prod(orders)) != group.order:
        return None
    positions = np.zeros((group.order, 2))
    members = np.array([0])
    ranked = sorted(range(len(orders)), key=lambda i: -orders[i])
    steps = [np.array(v) for v in ((1.0, 0.0), (0.0, 1.0), (0.42, 0.33), (0.17, -0.24), (0.07, 0.05))]
    radius = 1.0
    twos = 0
    for i in ranked:
        powers = _powers(group, group.generators[i])
        if orders[i] > 2:
            offsets = radius * _circle(np.arange(orders[i]) / orders[i])
            radius *= 0.3
        else:
            vector = steps[twos % len(steps)] * 0.6 ** (len(steps) * (twos // len(steps)))
            offsets = np.array([[0.0, 0.0], (1.0 if radius == 1 else radius * 1.4) * vector])
            twos += 1
        reached = group.table[members[:, None], np.array(powers)]
        positions[reached] = positions[members][:, None] + offsets
        members = reached.ravel()
    positions -= (positions.max(axis=0) + positions.min(axis=0)) / 2
    return _plane(positions / np.abs(positions).max())


def _concentric(group: FiniteGroup) -> Layout | None:
    """Rings are the cosets <a> t of a normal cyclic subgroup <a>, a^i t at angle i; t -> t b is radial."""
    best: list[int] = []
    for g in group.generators:
        powers = _powers(group, g)
        normal = np.isin(group.conjugates[:, g], powers).all()
        if normal and len(powers) > max(2, len(best)):
            best = powers
    if not best or group.order > 8 * len(best):
        return None
    ring: dict[int, int] = {}
    turn = np.zeros(group.order)
    depth = np.zeros(group.order)
    queue = [0]
    while queue:
        t = queue.pop(0)
        if t in ring:
            continue
        number = len(set(ring.values()))
        for i, power in enumerate(best):
            x = int(group.table[power, t])
            ring[x] = number
            turn[x], depth[x] = i / len(best), number
        queue += [int(group.table[t, g]) for g in group.generators if g not in best]
    rings = group.order // len(best)
    radii = 1 - 0.68 * depth / max(rings - 1, 1)
    return _plane(radii[:, None] * _circle(turn), rings=rings > 2)


def _polyhedron(group: FiniteGroup) -> Layout | None:
    """The orbit of a point under a faithful rotation group, with edges of nearly equal length."""
    solid = [
        r.matrices
        for r in real_irreps(group)
        if r.real_type is RealType.REAL
        and r.dimension == 3
        and np.count_nonzero(np.trace(r.matrices, axis1=1, axis2=2) > 3 - 1e-9) == 1
    ]
    if not solid:
        return None
    found = [_even_point(group, matrices) for matrices in solid]
    matrices, (unevenness, point) = min(zip(solid, found, strict=True), key=lambda pair: pair[1][0])
    if unevenness > _MOST_UNEVEN:
        return None
    rng = np.random.default_rng(0)
    orbit = matrices @ point
    # Along the axis of the first generator, tilted so that no vertex hides another.
    axis = np.linalg.svd(matrices[group.generators[0]] - np.eye(3))[2][-1]
    axis = axis if axis @ point > 0 else -axis  # the identity is on the near side
    upright = np.linalg.qr(np.stack([axis, *rng.normal(size=(2, 3))], axis=1))[0][:, ::-1]
    tilts = [Rotation.from_rotvec(0.25 * v / np.linalg.norm(v)).as_matrix() for v in rng.normal(size=(60, 3))]
    projected = [_perspective(orbit @ upright @ tilt) for tilt in tilts]
    best = max(projected, key=lambda p: _least_distance(p[0]))
    return Layout(*best)


def _even_point(group: FiniteGroup, matrices: Positions) -> tuple[float, Positions]:
    """(longest edge over least distance, unit point) of the orbit whose edges are shortest: 1 is uniform."""

    def unevenness(points: Positions) -> Positions:
        units = points / np.linalg.norm(points, axis=-1, keepdims=True)
        lengths = np.linalg.norm(units @ matrices.transpose(0, 2, 1) - units, axis=-1)
        longest, least = lengths[list(group.generators)].max(axis=0), lengths[1:].min(axis=0)
        ratio: Positions = longest / np.maximum(least, 1e-6)
        return ratio

    def of_one(point: Positions) -> float:
        return float(unevenness(point[None])[0])

    starts = np.random.default_rng(0).normal(size=(2000, 3))
    starts = starts[np.argsort(unevenness(starts))[:5]]
    tries = [minimize(of_one, start, method="Nelder-Mead") for start in starts]
    best = min(tries, key=lambda t: float(t.fun))
    return float(best.fun), best.x / np.linalg.norm(best.x)


def _perspective(points: Positions) -> tuple[Positions, Positions]:
    eye = 3.2
    flat = points[:, :2] * (eye / (eye - points[:, 2:]))
    nearness = (points[:, 2] - points[:, 2].min()) / np.ptp(points[:, 2])
    return flat / np.abs(flat).max(), nearness


def _least_distance(points: Positions) -> float:
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    return float(distances[np.triu_indices(len(points), 1)].min())


def edges(group: FiniteGroup, g: int) -> list[tuple[int, int]]:
    """(x, x g) for every x; once for each pair when g has order 2."""
    pairs = ((x, int(group.table[x, g])) for x in range(group.order))
    return [(x, y) for x, y in pairs if group.element_orders[g] > 2 or x < y]


def generator_label(group: FiniteGroup, number: int) -> str:
    """ "a of order 4", as legends have it."""
    return f"{letters(group)[number]} of order {group.element_orders[group.generators[number]]}"
