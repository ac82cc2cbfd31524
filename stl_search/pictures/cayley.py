"""Cayley graphs as pictures, on paper (matplotlib) and interactive (plotly).

The edges x -> x g carry the colour and the kind of line of the generator g. What does not belong here: where
the elements go (`layout`).
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from stl_algebra.files import write_atomically
from stl_algebra.groups import FiniteGroup
from stl_algebra.groups.words import words
from stl_search.pictures.files import IMAGES, check_picture_path, save_figure
from stl_search.pictures.layout import Positions, edges, generator_label, layout
from stl_search.pictures.style import ACCENT, DASHES, PALETTE, PLOTLY_LAYOUT

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Above these orders labels and arrows would hide more than they show.
_MOST_LABELS, _MOST_ARROWS = 32, 200

#: The colour of the identity's vertex.
_IDENTITY = "#FFD966"

#: Words with more characters than this do not fit into a vertex.
_LONGEST_LABEL = 8

FORMATS = (*IMAGES, ".html")


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
                    linestyle=DASHES[number % len(DASHES)][0],
                    alpha=0.25 + 0.75 * near,
                    linewidth=width * (0.6 + 0.6 * near),
                    zorder=1 + near,
                )
            )
    axes.scatter(
        placed.positions[:, 0],
        placed.positions[:, 1],
        s=size * (0.5 + 0.5 * placed.nearness),
        c=[_IDENTITY if x == 0 else "white" if labelled else "#333333" for x in range(group.order)],
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
        Line2D(
            [], [], color=PALETTE[i % len(PALETTE)], linestyle=DASHES[i % len(DASHES)][0],
            label=generator_label(group, i), linewidth=2.4,
        )
        for i in range(len(group.generators))
    ]  # fmt: skip
    if handles:
        if not labelled:
            vertex = Line2D(
                [], [], color=_IDENTITY, marker="o", linestyle="none", label="identity", markersize=9
            )
            vertex.set_markeredgecolor("#333333")
            handles.append(vertex)
        columns = min(4, len(handles))
        figure.legend(
            handles=handles, loc="outside lower center", ncols=columns, frameon=False, handlelength=3
        )
    return figure


def _radial(start: Positions, end: Positions) -> bool:
    """Both ends lie in one direction from the centre, so that a straight edge would cross what is between."""
    cosine = float(start @ end) / float(np.linalg.norm(start) * np.linalg.norm(end) + 1e-12)
    return cosine > 0.99


def _typeset(word: str) -> str:
    """Exponents raised: "a^-1b" as mathematics."""
    return "$" + re.sub(r"\^(-?\d+)", r"^{\1}", word) + "$"


def save_picture(group: FiniteGroup, path: Path) -> Path:
    """Write the Cayley graph to a .svg, .png or (interactive, self-contained) .html file.

    Raises:
        InvalidInput: another ending.
        Unavailable: the file cannot be written.
    """
    check_picture_path(path, FORMATS)
    if path.suffix.lower() == ".html":
        import plotly.io

        page = plotly.io.to_html(
            cayley_figure(group, page=True),
            include_plotlyjs=True,
            default_width="100%",
            default_height="94vh",
            config={"displaylogo": False, "responsive": True},
        )
        # The document's own title and language, for tabs and for readers that speak.
        head = f'<html lang="en"><head><title>Cayley graph of {html.escape(group.name)}</title>'
        return write_atomically(path, page.replace("<html>\n<head>", head, 1))
    return save_figure(picture(group), path, dpi=160)


def cayley_figure(group: FiniteGroup, page: bool = False) -> go.Figure:
    """The Cayley graph of a group, one colour and one kind of line per generator, interactive.

    Args:
        group: any.
        page: it fills a page of its own, with a title; otherwise it has the size of a part of the report.
    """
    # Plotly takes a while to import and only interactive pictures need it.
    import plotly.graph_objects as go

    positions = layout(group).positions
    figure = go.Figure()
    for number, g in enumerate(group.generators):
        xs: list[float | None] = []
        ys: list[float | None] = []
        for a, b in edges(group, g):
            xs += [float(positions[a, 0]), float(positions[b, 0]), None]
            ys += [float(positions[a, 1]), float(positions[b, 1]), None]
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                mode="lines",
                name=generator_label(group, number),
                line={
                    "color": PALETTE[number % len(PALETTE)],
                    "dash": DASHES[number % len(DASHES)][1],
                    "width": 1.6,
                },
                hoverinfo="skip",
            )
        )
        if group.order <= _MOST_ARROWS and group.element_orders[g] > 2:
            figure.add_trace(_arrows(positions, edges(group, g), PALETTE[number % len(PALETTE)]))
    figure.add_trace(
        go.Scatter(
            x=positions[:, 0].tolist(),
            y=positions[:, 1].tolist(),
            mode="markers",
            showlegend=False,
            marker={
                "size": 11,
                "color": [ACCENT if i == 0 else "#ffffff" for i in range(group.order)],
                "line": {"color": "#333", "width": 1.2},
            },
            text=[
                f"{word}, order {order}" + (" (identity)" if i == 0 else "")
                for i, (word, order) in enumerate(zip(words(group), group.element_orders, strict=True))
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    )
    size: dict[str, Any] = {"height": 420}
    if page:
        size = {"autosize": True, "title": {"text": f"{group.name}, order {group.order}", "x": 0.5}}
    figure.update_layout(
        **PLOTLY_LAYOUT,
        **size,
        xaxis_visible=False,
        yaxis_visible=False,
        legend={"orientation": "h", "y": -0.02, "x": 0.5, "xanchor": "center"},
    )
    if page:
        figure.update_layout(margin_t=60)
    figure.update_yaxes(scaleanchor="x")
    return figure


def _arrows(positions: Positions, pairs: list[tuple[int, int]], colour: str) -> go.Scatter:
    """Arrow heads a little beyond the middle of each edge x -> x g, where they hide no vertex."""
    import plotly.graph_objects as go

    xs: list[float | None] = []
    ys: list[float | None] = []
    for a, b in pairs:
        head = positions[a] + 0.6 * (positions[b] - positions[a])
        xs += [float(positions[a, 0]), float(head[0]), None]
        ys += [float(positions[a, 1]), float(head[1]), None]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="markers",
        showlegend=False,
        hoverinfo="skip",
        marker={
            "symbol": "arrow",
            "angleref": "previous",
            "color": colour,
            # Only the second point of each pair is a head.
            "size": [0, 9, 0] * len(pairs),
        },
    )
