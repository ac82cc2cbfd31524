"""An algorithm as a picture: its three factors as heat maps, or its products orbit by orbit.

Positive entries are blue, negative ones orange with a dash, so that the picture can be read without colours.
What does not belong here: computing symmetries (`families.orbits.stabiliser`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stl_algebra.algorithms.bilinear import BilinearAlgorithm
from stl_search.pictures.style import SEEN, SIGNED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from stl_algebra.families.orbits.stabiliser import Stabiliser

Array = NDArray[np.float64]

#: Negative to positive, white at zero.
_COLOURS = LinearSegmentedColormap.from_list("signed", SIGNED)
#: Products side by side, and how many entries lie between two of them, and between their matrices.
_BESIDE, _GAP, _INNER = 8, 2.5, 0.8


def factors_picture(algorithm: BilinearAlgorithm) -> Figure:
    """encode_x, encode_w and decode^T side by side: one row a product, one column an entry of a tile."""
    tile = algorithm.tile
    panels = (
        ("encode_x", algorithm.encode_x, "X", tile.n, tile.k),
        ("encode_w", algorithm.encode_w, "W", tile.k, tile.m),
        ("decode, transposed", algorithm.decode.T, "Y", tile.n, tile.m),
    )
    widths = [factor.shape[1] for _, factor, *_ in panels]
    cell = min(0.19, 9.0 / sum(widths), 14.0 / algorithm.rank)
    figure = Figure(
        figsize=(max(6.0, cell * sum(widths) + 2.2), max(2.4, cell * algorithm.rank + 1.3)),
        layout="constrained",
    )
    all_axes = figure.subplots(1, 3, width_ratios=widths)
    for axes, (title, factor, letter, rows, columns) in zip(all_axes, panels, strict=True):
        largest = float(np.abs(factor).max()) or 1.0
        _draw(axes, factor / largest, (0.0, 0.0), cell)
        axes.set_xlim(0, factor.shape[1])
        axes.set_ylim(algorithm.rank, 0)
        # A line where the next row of the tile begins.
        for row in range(1, rows):
            axes.axvline(row * columns, color="#666666", linewidth=0.7)
        axes.set_xticks([row * columns + columns / 2 for row in range(rows)])
        axes.set_xticklabels(
            [f"{letter} row {row + 1}" if rows <= 4 else str(row + 1) for row in range(rows)]
        )
        axes.tick_params(length=0, labelsize=8)
        axes.set_yticks([])
        axes.set_title(f"{title}, up to {largest:.3g}", fontsize=10)
    all_axes[0].set_ylabel(f"{algorithm.rank} products")
    return figure


def orbits_picture(found: Stabiliser) -> Figure:
    """The products by orbit, each as its matrices for X, W and Z = Y^T in the algorithm's own bases.

    Products of an orbit are one product seen through the group: equal up to changes of bases.
    """
    algorithm, tile = found.algorithm, found.algorithm.tile
    shapes = ((tile.n, tile.k), (tile.k, tile.m), (tile.m, tile.n))
    # The decoder of Y read as the functional on Z = Y^T, the third side of the trilinear form.
    decode = algorithm.decode.T.reshape(-1, tile.n, tile.m).transpose(0, 2, 1).reshape(algorithm.rank, -1)
    sides = (algorithm.encode_x, algorithm.encode_w, decode)
    high = max(rows for rows, _ in shapes)
    wide = sum(columns for _, columns in shapes) + 2 * _INNER
    order = sorted(range(len(found.orbits)), key=lambda i: (-len(found.orbits[i]), found.ranks[i]))
    lines = [math.ceil(len(found.orbits[i]) / _BESIDE) for i in order]
    across = min(_BESIDE, max(len(orbit) for orbit in found.orbits))
    width, height = across * (wide + _GAP), sum(line * (high + _GAP) + 4.0 for line in lines)
    cell = min(0.11, 13.0 / width)
    figure = Figure(figsize=(max(4.0, cell * width + 0.4), cell * height + 0.4), layout="constrained")
    axes = figure.add_subplot()
    top = 0.0
    for i, line in zip(order, lines, strict=True):
        ranks = ", ".join(map(str, found.ranks[i]))
        size = len(found.orbits[i])
        words = f"orbit of {size}" if size > 1 else "fixed product"
        axes.text(0, top + 2.6, f"{words}: matrices of ranks {ranks}", fontsize=15, va="bottom")
        top += 4.0
        for place, product in enumerate(found.orbits[i]):
            row, column = divmod(place, across)
            left, upper = column * (wide + _GAP), top + row * (high + _GAP)
            for (rows, columns), side in zip(shapes, sides, strict=True):
                matrix = side[product].reshape(rows, columns)
                _draw(axes, matrix / (float(np.abs(matrix).max()) or 1.0), (left, upper), cell, frame=True)
                left += columns + _INNER
        top += line * (high + _GAP)
    axes.set_xlim(-0.5, width)
    axes.set_ylim(top, 0)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def _draw(axes: Axes, values: Array, corner: tuple[float, float], cell: float, frame: bool = False) -> None:
    """A matrix with entries from -1 to 1, each of its entries a unit square."""
    left, top = corner
    rows, columns = values.shape
    extent = (left, left + columns, top + rows, top)
    axes.imshow(values, cmap=_COLOURS, vmin=-1, vmax=1, extent=extent, aspect="auto", interpolation="nearest")
    y, x = np.nonzero(values < -SEEN)
    if cell > 0.06:
        dash = (72 * cell * 0.45) ** 2
        axes.scatter(left + x + 0.5, top + y + 0.5, s=dash, marker="_", color="black", linewidths=0.8)
    if frame:
        outline = (
            [left, left + columns, left + columns, left, left],
            [top, top, top + rows, top + rows, top],
        )
        axes.plot(*outline, color="#666666", linewidth=0.5)
