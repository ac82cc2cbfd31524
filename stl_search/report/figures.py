"""The pictures of a report: interactive ones (plotly) and the frontier as a file (matplotlib)."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_algebra.algorithms.scores import column_row_nmse
from stl_algebra.exact.catalogue import rank_of_exact
from stl_algebra.groups import FiniteGroup
from stl_algebra.precision import precision
from stl_algebra.representations import fourier_basis
from stl_search.judging.baselines import BASELINES
from stl_search.pictures.style import ACCENT, PLOTLY_LAYOUT, SEEN, SERIES, SIGNED
from stl_search.report.content import Content

#: Below this an error is drawn at the edge of a logarithmic axis.
_FLOOR = 1e-7


def _style(name: str) -> tuple[str, str]:
    """Colour and plotly's dash of a series: the same in every picture; dashed from the ninth baseline on."""
    if name not in BASELINES:
        return ACCENT, "solid"
    number = list(BASELINES).index(name)
    return SERIES[number % len(SERIES)], "solid" if number < len(SERIES) else "dash"


def frontier_series(content: Content, matrices: str) -> dict[str, list[tuple[float, float, str]]]:
    """Name -> (ratio, total error, text) for one pair of matrices; "" is the closed form."""
    dtype = content.run.settings.dtype
    series: dict[str, list[tuple[float, float, str]]] = {}
    if not matrices:
        series["this run"] = [
            (w.algorithm.ratio, w.scores.total(dtype), f"rank {rank}, {w.algorithm.name}")
            for rank, w in content.winners.items()
        ]
        tile = content.chosen.algorithm.tile
        ranks = sorted({*content.winners, *(round(tile.products / r) for r in (1.25, 1.5, 2, 2.5, 3, 4))})
        series["column-row uniform"] = [
            (tile.ratio(r), column_row_nmse(tile, r), "1 - r/nkm") for r in ranks if 0 < r < tile.products
        ]
        exact = rank_of_exact(tile)
        series["exact tiles on a share"] = [
            (tile.ratio(r), 1 - r / exact, f"1 - r/{exact}") for r in ranks if 0 < r < exact
        ]
    else:
        for row in content.rows:
            if row.matrices == matrices:
                name = "this run" if row.kind == "encoders" else row.method
                text = f"rank {row.rank}, {row.method}" if row.kind == "encoders" else row.method
                series.setdefault(name, []).append((row.ratio, row.total, text))
    return {name: sorted(points) for name, points in series.items()}


def frontier_figure(content: Content) -> go.Figure:
    """Total error against multiplication ratio, one view per pair of matrices behind a menu."""
    figure = go.Figure()
    views: list[tuple[str, int]] = []
    for matrices in ["", *(name for name, _ in content.pairs)]:
        count = 0
        for name, points in frontier_series(content, matrices).items():
            mine = name == "this run"
            colour, dash = _style(name)
            figure.add_trace(
                go.Scatter(
                    x=[p[0] for p in points],
                    y=[max(p[1], _FLOOR) for p in points],
                    text=[p[2] for p in points],
                    name=name,
                    visible=not matrices,
                    mode="lines+markers" if len(points) > 1 else "markers",
                    line={"color": colour, "dash": dash, "width": 3 if mine else 1.3},
                    marker={"size": 8 if mine else 6, "symbol": "circle" if len(points) > 1 else "diamond"},
                    hovertemplate="%{text}<br>ratio %{x:.2f}<br>error %{y:.3g}<extra></extra>",
                )
            )
            count += 1
        views.append((matrices or f"{content.chosen.scores.tiles} tiles (closed form)", count))
    buttons, start = [], 0
    for label, count in views:
        shown = [start <= i < start + count for i in range(len(figure.data))]
        buttons.append(
            {
                "label": label.replace("encoder.layer.", "layer "),
                "method": "update",
                "args": [{"visible": shown}],
            }
        )
        start += count
    figure.update_layout(
        **PLOTLY_LAYOUT,
        height=580,
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.14, "yanchor": "top"}],
        xaxis={"title": "multiplication ratio nkm / r", "automargin": True},
        yaxis={
            "title": f"total error at {precision(content.run.settings.dtype).words}",
            "type": "log",
            "dtick": 1,
            "exponentformat": "power",
        },
        # Below the picture, where a phone has room for it.
        legend={
            "orientation": "h",
            "x": 0,
            "y": 0,
            "yanchor": "bottom",
            "yref": "container",
            "font_size": 12,
        },
    )
    figure.update_layout(margin_t=70)
    return figure


def frontier_png(content: Content) -> bytes:
    """The frontier on all pairs as a PNG: small multiples, shared axes."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = ["", *(name for name, _ in content.pairs)][:6]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure, axes = plt.subplots(
        lines,
        columns,
        figsize=(4.3 * columns, 3.5 * lines),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    handles: dict[str, Any] = {}
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    for axis, matrices in zip(axes.flat, names, strict=False):
        for name, points in frontier_series(content, matrices).items():
            mine = name == "this run"
            colour, dash = _style(name)
            (line,) = axis.plot(
                [p[0] for p in points],
                [max(p[1], _FLOOR) for p in points],
                marker="o" if len(points) > 1 else "D",
                markersize=5 if mine else 3.5,
                color=colour,
                linestyle="-" if dash == "solid" else "--",
                linewidth=2.4 if mine else 1,
                zorder=3 if mine else 2,
                label=name,
            )
            handles.setdefault(name, line)
        title = (
            matrices.replace("encoder.layer.", "layer ")
            or f"{content.chosen.scores.tiles} tiles (closed form)"
        )
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.25)
        axis.set_ylim(bottom=max(_FLOOR, 1e-3), top=1.2)
        axis.set_yscale("log")
    figure.supxlabel("multiplication ratio nkm / r")
    figure.supylabel(f"total error at {precision(content.run.settings.dtype).words}")
    figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize=9, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    plt.close(figure)
    return buffer.getvalue()


def _signed(values: NDArray[np.float64], peak: float, **axes: str) -> go.Heatmap:
    """A heat map that can be read without colours: negative entries have a dash where there is room."""
    return go.Heatmap(
        z=values,
        zmin=-peak,
        zmax=peak,
        colorscale=SIGNED,
        showscale=False,
        text=np.where(values < -SEEN * peak, "\N{EN DASH}", ""),
        texttemplate="%{text}",
        hovertemplate="row %{y}, column %{x}: %{z:.3g}<extra></extra>",
        **axes,
    )


def factors_figure(algorithm: BilinearAlgorithm) -> go.Figure:
    """Heat maps of the three factors side by side, one row per product, products scaled to equal norms."""
    norms = [np.linalg.norm(f, axis=1, keepdims=True) for f in algorithm.factors]
    mean = np.prod(norms, axis=0) ** (1 / 3)
    figure = go.Figure()
    titles = ("encode_x", "encode_w", "decode<br>(transposed)")
    width = 1 / 3
    for number, (factor, norm, title) in enumerate(zip(algorithm.factors, norms, titles, strict=True)):
        values = factor * (mean / np.maximum(norm, 1e-300))
        peak = float(np.quantile(np.abs(values), 0.99)) or 1.0
        axis = "" if number == 0 else str(number + 1)
        figure.add_trace(_signed(values, peak, xaxis=f"x{axis}", yaxis=f"y{axis}"))
        figure.update_layout(
            {
                f"xaxis{axis}": {
                    "domain": [number * width + 0.02, (number + 1) * width - 0.02],
                    "title": title,
                },
                f"yaxis{axis}": {
                    "anchor": f"x{axis}",
                    "autorange": "reversed",
                    "title": "product" if number == 0 else "",
                    "showticklabels": number == 0,
                },
            }
        )
    figure.update_layout(**PLOTLY_LAYOUT, height=max(320, 12 * algorithm.rank + 120))
    return figure


def fourier_figure(group: FiniteGroup) -> go.Figure:
    """The real Fourier basis: rows in blocks, columns the group elements."""
    basis = fourier_basis(group)
    peak = float(np.abs(basis.matrix).max())
    figure = go.Figure(_signed(basis.matrix, peak))
    # All at once: adding a thousand lines one by one takes minutes.
    lines = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": b.start - 0.5, "y1": b.start - 0.5}
        | {"line": {"color": "#222", "width": 1}}
        for b in basis.blocks
        if b.start
    ]
    figure.update_layout(
        **PLOTLY_LAYOUT,
        shapes=lines,
        height=420,
        xaxis_title="group element",
        yaxis={
            "autorange": "reversed",
            "tickvals": [(b.start + b.stop - 1) / 2 for b in basis.blocks],
            "ticktext": [b.name for b in basis.blocks],
            "title": "blocks of the group algebra",
        },
    )
    return figure
