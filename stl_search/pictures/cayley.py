"""Cayley graphs as pictures: where the elements go, and the drawing as a file.

The edges x -> x g carry the colour of the generator g. Layouts show structure: cyclic groups are circles,
abelian groups products of circles, groups with a normal cyclic subgroup concentric rings, and groups with a
faithful three-dimensional representation the orbit of a point, which is a polyhedron.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from stl_algebra.errors import InvalidInput
from stl_algebra.files import write_atomically
from stl_algebra.groups import FiniteGroup
from stl_algebra.groups.words import letters, words
from stl_algebra.representations import RealType, real_irreps

Positions = NDArray[np.float64]

#: Colours that the common forms of colour blindness keep apart (Okabe and Ito 2008).
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#666666")

#: Above these orders labels, arrows and the careful layout would hide more than they show.
_MOST_LABELS, _MOST_ARROWS, _MOST_CAREFUL = 32, 200, 130

#: Words with more characters than this do not fit into a vertex.
_LONGEST_LABEL = 8

#: Longest edge over least distance of vertices above which an orbit makes no readable solid.
_MOST_UNEVEN = 2.0

FORMATS = (".svg", ".png", ".html")


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


def picture(group: FiniteGroup) -> Figure:
    """The Cayley graph on `group.generators` as a matplotlib figure."""
    placed = layout(group)
    figure = Figure(figsize=(7, 7.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(f"{group.name}, order {group.order}", fontsize=15)
    spelled = words(group) if group.order <= _MOST_LABELS else ()
    labelled = bool(spelled) and max(map(len, spelled)) <= _LONGEST_LABEL
    size = 620.0 if labelled else float(np.clip(2600 / group.order, 6, 90))
    arrows = group.order <= _MOST_ARROWS
    width = 1.8 if group.order <= 60 else 1.0 if group.order <= 200 else 0.5
    for number, g in enumerate(group.generators):
        directed = arrows and group.element_orders[g] > 2
        for x, y in edges(group, g):
            near = float(placed.nearness[[x, y]].mean())
            start, end = placed.positions[x], placed.positions[y]
            bent = placed.rings and float(np.linalg.norm(end - start)) > 0.5 and _radial(start, end)
            axes.add_patch(
                FancyArrowPatch(
                    (start[0], start[1]),
                    (end[0], end[1]),
                    arrowstyle="-|>" if directed else "-",
                    mutation_scale=13 if group.order <= 60 else 7,
                    connectionstyle="arc3,rad=0.22" if bent else "arc3",
                    shrinkA=float(np.sqrt(size)) / 2,
                    shrinkB=float(np.sqrt(size)) / 2,
                    color=PALETTE[number % len(PALETTE)],
                    alpha=0.25 + 0.75 * near,
                    linewidth=width * (0.6 + 0.6 * near),
                    zorder=1 + near,
                )
            )
    axes.scatter(
        placed.positions[:, 0],
        placed.positions[:, 1],
        s=size * (0.5 + 0.5 * placed.nearness),
        c=["#FFD966" if x == 0 else "white" if labelled else "#333333" for x in range(group.order)],
        edgecolors="#333333",
        linewidths=0.9,
        zorder=3,
    )
    if labelled:
        for x, word in enumerate(spelled):
            font = 10 if len(word) < 4 else 8 if len(word) < 6 else 6.5
            axes.annotate(
                _typeset(word), placed.positions[x], ha="center", va="center", fontsize=font, zorder=4
            )
    axes.set_xlim(-1.12, 1.12)
    axes.set_ylim(-1.12, 1.12)
    handles = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], label=generator_label(group, i), linewidth=2.4)
        for i in range(len(group.generators))
    ]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False)
    return figure


def _radial(start: Positions, end: Positions) -> bool:
    """Both ends lie in one direction from the centre, so that a straight edge would cross what is between."""
    cosine = float(start @ end) / float(np.linalg.norm(start) * np.linalg.norm(end) + 1e-12)
    return cosine > 0.99


def _typeset(word: str) -> str:
    """Exponents raised: "a^-1b" as mathematics."""
    return "$" + re.sub(r"\^(-?\d+)", r"^{\1}", word) + "$"


def check_picture_path(path: Path) -> None:
    """Refuse a format that no picture has.

    Raises:
        InvalidInput: another ending than .svg, .png or .html.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput("picture", expected=f"a file name ending in {', '.join(FORMATS)}", got=str(path))


def save_picture(group: FiniteGroup, path: Path) -> Path:
    """Write the Cayley graph to a .svg, .png or (interactive, self-contained) .html file.

    Raises:
        InvalidInput: another ending.
        Unavailable: the file cannot be written.
    """
    check_picture_path(path)
    if path.suffix.lower() == ".html":
        # Plotly takes a while to import and only this needs it.
        import plotly.io

        from stl_search.report.figures import cayley_figure

        return write_atomically(path, plotly.io.to_html(cayley_figure(group), include_plotlyjs=True))
    buffer = io.BytesIO()
    picture(group).savefig(buffer, format=path.suffix.lower()[1:], dpi=160)
    return write_atomically(path, buffer.getvalue())
